"""Races at full speed: two threads, each with a connection of its own, begin within microseconds of each other.

The lab stops between statements; this does not, and so also meets what happens within them.
"""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from outlast._model import Claim, Committed, Receipt, Signal
from outlast._store.postgres.store import PostgresStore
from outlast.config import make_config
from tests.lab.check import Rows
from tests.lab.lab import Lab
from tests.lab.mutants import Mutant, rewritten
from tests.store.given import NODE, NOON_US, PinnedWorld, settlement
from tests.store.outcomes import parked

OFFSET_US_MAX = 1_500
"""How much later one may begin than the other, in microseconds."""
_BATCH = 100
"""Instances that are made at once; each is a race of its own."""
_PATIENCE_S = 30.0

Side = Callable[[PostgresStore, Any], Awaitable[None]]
Wrong = Callable[[Rows, list[Any]], Iterator[str]]


@dataclass
class Score:
    """What came of races.

    Attributes:
        races: How many were run.
        lost: How many went wrong.
        first, second: How often this or that side was the first to end.
        findings: What was wrong.
    """

    races: int = 0
    lost: int = 0
    first: int = 0
    second: int = 0
    findings: list[str] = field(default_factory=list)


class Racer:
    """A thread with a loop and a store, which begins when all are there, and a little later if it is told to."""

    def __init__(self, url: str, name: str, start: threading.Barrier, mutant: Mutant | None) -> None:
        self._url, self._name, self._start, self._mutant = url, name, start, mutant
        self.ended_at: list[float] = []

    def run(self, side: Side, subjects: list[Any], offsets_us: list[int]) -> None:
        """One race after the other."""
        asyncio.run(self._run(side, subjects, offsets_us))

    async def _run(self, side: Side, subjects: list[Any], offsets_us: list[int]) -> None:
        store = PostgresStore(make_config(self._url, {"name": self._name, "doorbell": "local"}), PinnedWorld())
        if self._mutant is not None:
            sql: Any = store.claims._desk.sql
            for change in self._mutant.changes:
                sql[change.statement] = rewritten(sql, change)
        try:
            await store.open()
            for subject, offset_us in zip(subjects, offsets_us, strict=True):
                self._start.wait(_PATIENCE_S)
                begin = time.perf_counter() + offset_us / 1_000_000
                while time.perf_counter() < begin:
                    pass
                await side(store, subject)
                self.ended_at.append(time.perf_counter())
        except BaseException:
            self._start.abort()
            raise
        finally:
            await store.close()


async def race(
    lab: Lab,
    url: str,
    kind: str,
    count: int,
    *,
    seed: int = 1,
    mutant: Mutant | None = None,
    stop_at_first: bool = False,
) -> Score:
    """Runs races of a kind, and says what came of them."""
    make, first, second, wrong = KINDS[kind]
    dice, score = random.Random(f"{seed} {kind}"), Score()
    lab.world.pin()
    while score.races < count and not (score.lost and stop_at_first):
        await lab.clear()
        await lab.given.node(NODE)
        subjects = await make(lab, min(_BATCH, count - score.races))
        lab.world.pin()
        ends = await asyncio.to_thread(_run_both, url, (first, second), subjects, dice, mutant)
        score.races += len(subjects)
        score.first += sum(a < b for a, b in zip(*ends, strict=True))
        score.second += sum(a >= b for a, b in zip(*ends, strict=True))
        found = [*wrong(await lab.rows(), subjects)]
        score.lost += len(found)
        score.findings += found[: 10 - len(score.findings)]
    return score


def _run_both(
    url: str, sides: tuple[Side, Side], subjects: list[Any], dice: random.Random, mutant: Mutant | None
) -> list[list[float]]:
    start = threading.Barrier(2)
    racers = [Racer(url, f"racer{number}", start, mutant) for number in range(2)]
    offsets = [(dice.randrange(OFFSET_US_MAX), dice.randrange(OFFSET_US_MAX)) for _ in subjects]
    with ThreadPoolExecutor(2, "racer") as pool:
        runs = [
            pool.submit(racer.run, side, subjects, [each[number] for each in offsets])
            for number, (racer, side) in enumerate(zip(racers, sides, strict=True))
        ]
    for run in runs:
        run.result()
    return [racer.ended_at for racer in racers]


@dataclass
class Subject:
    """What a race is about: an instance, its claim, the signal that is sent to it, and what each side was told."""

    number: int
    id: str
    claim: Claim
    signal: Signal
    receipt: Receipt | None = None
    committed: Committed | None = None


async def _running(lab: Lab, count: int) -> list[Subject]:
    claims = await lab.given.claimed(count)
    return [
        Subject(number, claim.id, claim, Signal(lab.world.new_id(), "go", "1", claim.id))
        for number, claim in enumerate(claims)
    ]


async def _waiting(lab: Lab, count: int) -> list[Subject]:
    subjects = await _running(lab, count)
    parks = [parked(each.claim, "go", wake_s=10.0 * each.number) for each in subjects]
    assert (await lab.given.store.claims.commit(parks)).stale == []
    return subjects


async def _park(store: PostgresStore, subject: Subject) -> None:
    subject.committed = await store.claims.commit([parked(subject.claim, "go")])


async def _done(store: PostgresStore, subject: Subject) -> None:
    subject.committed = await store.claims.commit([settlement(subject.claim, retention_s=None)])


async def _deadline(store: PostgresStore, subject: Subject) -> None:
    """Wakes this very instance: those before it are awake, and those behind it are not due yet."""
    await store.timers.promote(1, NOON_US + subject.number * 10_000_000)


async def _send(store: PostgresStore, subject: Subject) -> None:
    (subject.receipt,) = await store.signals.send([subject.signal])


def _lost_wakeups(rows: Rows, subjects: list[Subject]) -> Iterator[str]:
    statuses = {row["id"]: row["status"] for row in rows["instances"]}
    for each in subjects:
        if each.receipt is None or each.receipt.result != "delivered" or statuses[each.id] != "ready":
            yield f"lost wake-up: {each.id} is {statuses[each.id]}, its signal: {each.receipt}"


def _lost_signals(rows: Rows, subjects: list[Subject]) -> Iterator[str]:
    stored = {letter["id"] for letter in rows["signals"]}
    done = {row["id"] for row in rows["instances"] if row["status"] == "done"}
    for each in subjects:
        if each.id not in done:
            yield f"outcome: {each.id} is not done"
        elif each.receipt is None or (each.receipt.result == "delivered") != (each.signal.id in stored):
            yield f"signal: {each.receipt}, and it is {'' if each.signal.id in stored else 'not '}stored"


def _wakes(rows: Rows, subjects: list[Subject]) -> Iterator[str]:
    woken = Counter(
        entry["after"]["id"]
        for entry in rows["history"]
        if (entry["before"]["status"], entry["after"]["status"]) == ("waiting", "ready")
    )
    unread = {letter["id"] for letter in rows["signals"] if letter["consumed_at"] is None}
    for each in subjects:
        if woken[each.id] != 1:
            yield f"wake: {each.id} was woken {woken[each.id]} times"
        elif each.signal.id not in unread:
            yield f"signal: {each.receipt}, and it is not there"


KINDS: dict[str, tuple[Callable[[Lab, int], Awaitable[list[Subject]]], Side, Side, Wrong]] = {
    "park": (_running, _park, _send, _lost_wakeups),
    "done": (_running, _done, _send, _lost_signals),
    "deadline": (_waiting, _deadline, _send, _wakes),
}
"""What races with a signal: how instances are made, the two sides, and what is wrong afterwards."""
