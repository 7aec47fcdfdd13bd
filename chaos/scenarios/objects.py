"""Calls of objects by the processes that own them and by others, while all of these are killed and frozen."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final, NamedTuple

import psycopg

from chaos.arena import MUTANT_S, Arena, stage
from chaos.faults import Fault
from chaos.history import now_us
from chaos.members import Member
from chaos.place import PostgresPlace
from chaos.report import Report
from chaos.scenarios.freezes import FREEZE_LEASES, await_taken_over, has_node


class Size(NamedTuple):
    """How much of it: objects, calls made, kills; of these every so-manyth is followed by a freeze."""

    cells: int
    calls: int
    kills: int
    freeze_every: int


SIZES: Final = {
    ("sqlite", "full"): Size(1_000, 1_000_000, 200, 8),
    ("sqlite", "ci"): Size(300, 3_000, 4, 2),
    ("postgres", "full"): Size(1_000, 1_000_000, 200, 8),
    ("postgres", "ci"): Size(300, 3_000, 4, 2),
}
WORKERS: Final = 3
CALLERS: Final = 1
"""Processes that own nothing."""
CALLS: Final = 24
"""That each process makes at the same time."""
LEASE_S: Final = 0.6
_PATIENCE_S: Final = 10.0


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Kills and freezes processes, and cuts connections, as calls are answered. Each object stays one object."""
    size = SIZES[store, scale]

    def act(arena: Arena) -> None:
        arena.options = {"resident_objects": 400, "statement_timeout": 10.0}
        for _ in range(WORKERS):
            arena.serve(size.cells, CALLS)
        callers = [arena.serve(size.cells, CALLS, role="caller") for _ in range(CALLERS)]
        for number in range(1, size.kills + 1):
            await_answers(arena, size.calls * number // (size.kills + 1))
            arena.strike()
            arena.serve(size.cells, CALLS)
            if number % size.freeze_every == 0:
                freeze(arena)
            if number % 2 == 0:
                cut(arena)
            if number % 5 == 4:
                arena.strike(callers)
                callers = [arena.serve(size.cells, CALLS, role="caller")]
        await_answers(arena, size.calls)
        finish(arena)
        tolds = Counter(told.word for watch in arena.watches.values() for told in watch.look().tolds.values())
        arena.more["answers"] = ", ".join(f"{count:,} {word}" for word, count in sorted(tolds.items()))
        arena.more["calls_per_s"] = round(sum(tolds.values()) / (time.monotonic() - arena.began_at))

    return stage("objects", act, store=store, scale=scale, seed=seed, lease_s=LEASE_S, mutation=mutation)


def await_answers(arena: Arena, count: int) -> None:
    """Waits until so many calls were over, in the whole run."""
    arena.await_so(
        lambda: sum(len(watch.look().tolds) for watch in arena.watches.values()) >= count,
        timeout_s=120.0,
        what=f"{count} answers",
    )


def freeze(arena: Arena) -> None:
    """Stops a worker that is at work and in no transaction until others have taken over, and lets it go on."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and (victim := arena.catch()) is not None:
        if has_node(arena, victim) and not holds_locks(arena, victim):
            fault = Fault("freeze", victim.name, now_us())
            arena.faults.append(fault)
            time.sleep(arena.lease_s * arena.dice.uniform(*FREEZE_LEASES))
            await_taken_over(arena, [fault])
            fault.until_us = now_us()
            victim.let_go()
            return
        victim.let_go()
        time.sleep(0.01)


def holds_locks(arena: Arena, victim: Member) -> bool:
    """Whether nobody could take over from it, as long as it stands still."""
    if isinstance(arena.place, PostgresPlace):
        return arena.place.is_in_transaction(victim.name)
    return arena.place.is_held_by(victim.pid)


def cut(arena: Arena) -> None:
    """Ends some connections to the server."""
    at_us = now_us()
    if arena.place.cut():
        arena.faults.append(Fault("cut", None, at_us, now_us()))


def finish(arena: Arena) -> None:
    """Faults have ended: waits until all calls are answered and all that is owed has come, then ends all processes."""
    for member in arena.members:
        member.let_go()
    (arena.folder / "stop").touch()
    arena.await_so(
        lambda: all(member.watch.look().is_idle for member in arena.members), timeout_s=60.0, what="all answers"
    )
    arena.await_so(
        lambda: not _owed(arena),
        timeout_s=60.0 if arena.mutation is None else MUTANT_S,
        what="all alarms and one-way calls",
    )
    arena.end()


def _owed(arena: Arena) -> int:
    try:
        return arena.place.owed()
    except psycopg.Error:
        return -1
