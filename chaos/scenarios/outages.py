"""SIGKILL of the Postgres postmaster under load, and its return."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.place import PostgresPlace
from chaos.report import Report

LEASE_S: Final = 1.0


class Size(NamedTuple):
    """How much of it: jobs started, and kills of the postmaster."""

    jobs: int
    kills: int


SIZES: Final = {"full": Size(20_000, 20), "ci": Size(1_300, 2)}
WORKERS: Final = 4
LONG_EVERY: Final = 4
"""Every fourth outage lasts longer than two leases: then every lease in the database looks long expired."""


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Kills the server under work, waits, starts it again. No worker dies, so none may lose a claim."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        assert isinstance(arena.place, PostgresPlace)
        server = arena.place.server
        arena.crashes_may_count = False
        arena.options = {"connect_timeout": 2.0}
        feeder = arena.feed(size.jobs, nap_s=(0.0, 0.1))
        for _ in range(WORKERS):
            arena.hire()
        for number in range(1, size.kills + 1):
            arena.wait(0.2)
            before = arena.commits()
            arena.allow(size.jobs * number // size.kills)
            # In the middle of these: an outage that hits nothing is none.
            some = size.jobs / size.kills * arena.dice.uniform(0.05, 0.5)
            arena.await_commits(before + round(some), patience_s=30.0)
            with arena.fault("outage"):
                server.kill_postmaster()
                is_long = number % LONG_EVERY == 2
                time.sleep(arena.lease_s * (arena.dice.uniform(2.1, 3.0) if is_long else arena.dice.uniform(0.0, 0.8)))
                server.start()
            arena.await_commit()
        arena.finish(feeder, patience_s=60.0)

    return stage("outages", act, store=store, scale=scale, seed=seed, lease_s=LEASE_S, mutation=mutation)
