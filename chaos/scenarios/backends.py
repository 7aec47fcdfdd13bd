"""SIGKILL of single Postgres processes, of the postmaster, and shutdowns without a checkpoint, under load."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

import psycopg

from chaos.arena import Arena, stage
from chaos.place import PostgresPlace
from chaos.report import Report
from harness.postgres import PostgresServer
from harness.waiting import eventually


class Size(NamedTuple):
    """How much of it: jobs started, kills of the postmaster, of other processes, and shutdowns at once."""

    jobs: int
    postmasters: int
    backends: int
    shutdowns: int


SIZES: Final = {"full": Size(60_000, 100, 500, 20), "ci": Size(800, 1, 2, 1)}
LEASE_S: Final = 1.0
WORKERS: Final = 3
BACK_S: Final = 5.0 + LEASE_S
"""Seconds within which work has to go on, from when the server is back, in 99 of 100 cases."""
LONG_EVERY: Final = 4
"""Every fourth time the server stays away for more than two leases."""
CHECKPOINTER_EVERY: Final = 5
"""Of the single processes, every fifth is the checkpointer; the others are whatever else runs, sessions most times."""
_UP_S: Final = 30.0
_PROCESSES: Final = (
    "SELECT pid, backend_type FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    " AND (backend_type <> 'client backend' OR application_name LIKE 'outlast %')"
)


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Crashes the server again and again, each time in another way. No worker dies, so none may lose a claim."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        assert isinstance(arena.place, PostgresPlace)
        server = arena.place.server
        arena.crashes_may_count = False
        arena.options = {"connect_timeout": 2.0}
        feeder = arena.feed(size.jobs, nap_s=(0.0, 0.3))
        for _ in range(WORKERS):
            arena.hire()
        strikes: list[Callable[[Arena, PostgresServer, int], str]] = []
        strikes += [_kill_one] * size.backends + [_kill_postmaster] * size.postmasters
        strikes += [_shut_down] * size.shutdowns
        arena.dice.shuffle(strikes)
        counts: Counter[str] = Counter()
        for number, strike in enumerate(strikes, 1):
            arena.allow(size.jobs * number // len(strikes))
            arena.wait(0.05)
            arena.busy(WORKERS, patience_s=10.0)  # a crash that hits nothing is none.
            with arena.fault("outage"):
                counts[strike(arena, server, number)] += 1
            arena.await_commit_or_end()
        arena.finish(feeder, patience_s=60.0)
        _tell(arena, counts)

    return stage("backends", act, store=store, scale=scale, seed=seed, lease_s=LEASE_S, mutation=mutation)


def _kill_one(arena: Arena, server: PostgresServer, number: int) -> str:
    """Kills one process; the server then ends all others, recovers and goes on. Returns what it was."""
    checkpointer, pid, kind = _choose(server, arena.dice, checkpointer=number % CHECKPOINTER_EVERY == 0)
    server.kill_backend(pid)

    def recovered() -> bool:
        try:
            return _choose(server, arena.dice, checkpointer=True)[0] != checkpointer
        except (psycopg.Error, IndexError):
            return False

    eventually(recovered, timeout=_UP_S, what="the server to recover")
    return kind


def _choose(server: PostgresServer, dice: Random, *, checkpointer: bool) -> tuple[int, int, str]:
    """The checkpointer's number, and one of the server's processes: its number and kind."""
    with psycopg.connect(server.url(), autocommit=True, connect_timeout=2) as connection:
        found = connection.execute(_PROCESSES).fetchall()
    its = next(pid for pid, kind in found if kind == "checkpointer")
    chosen = (its, "checkpointer") if checkpointer else dice.choice(found)
    return its, *chosen


def _kill_postmaster(arena: Arena, server: PostgresServer, number: int) -> str:
    server.kill_postmaster()
    _stay_away(arena, server, number)
    return "postmaster"


def _shut_down(arena: Arena, server: PostgresServer, number: int) -> str:
    server.stop_at_once()
    _stay_away(arena, server, number)
    return "shutdown at once"


def _stay_away(arena: Arena, server: PostgresServer, number: int) -> None:
    is_long = number % LONG_EVERY == 2
    time.sleep(arena.lease_s * (arena.dice.uniform(2.1, 2.5) if is_long else arena.dice.uniform(0.0, 0.5)))
    server.start()


def _tell(arena: Arena, counts: Counter[str]) -> None:
    commits_us = sorted(at_us for watch in arena.watches.values() for at_us, _ in watch.look().commits.values())
    backs_s = []
    for fault in arena.faults:
        up_us = fault.until_us or fault.at_us
        backs_s.append((min((at_us for at_us in commits_us if at_us > up_us), default=up_us) - up_us) / 1e6)
    p99_s = sorted(backs_s)[max(0, -(-len(backs_s) * 99 // 100) - 1)]
    if p99_s > BACK_S:
        arena.said.append(f"slow: in one of 100 cases work went on {p99_s:.1f} s after the server, not {BACK_S:g} s")
    arena.more = {"work goes on after, p99 s": round(p99_s, 2), "killed": dict(counts)}
