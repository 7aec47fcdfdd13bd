"""Every hint between processes is dropped: what is left is looking now and then."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.gauges import percentile, waits_s
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: jobs started, seconds that they come in, workflows beside them, and what a start may be late."""

    jobs: int
    lasts_s: float
    trips: int
    slack_s: float


SIZES: Final = {"full": Size(2_000, 20.0, 200, 0.05), "ci": Size(60, 1.5, 10, 2.0)}
POLL_S: Final = 0.25
WORKERS: Final = 2
NAP_S: Final = (0.0, 0.01)
LATE: Final = 1.1
"""A start may take so many polls."""


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Everything is done, and what nobody was told of begins within a poll."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        arena.crashes_may_count = False
        arena.deaf = True
        arena.options = {"poll_interval": POLL_S, "max_poll_interval": POLL_S}
        feed_and_measure(arena, size)

    return stage("deaf", act, store=store, scale=scale, seed=seed, lease_s=2.0, mutation=mutation)


def feed_and_measure(arena: Arena, size: Size) -> None:
    """Starts jobs at a pace at which there are always free hands, then workflows that wait for signals and children."""
    feeder = arena.feed(size.jobs, nap_s=NAP_S, shares={"nap": 1.0}, later=0.0)
    for _ in range(WORKERS):
        arena.hire()
    for member in arena.members:
        arena.await_so(lambda watch=member.watch: bool(watch.look().ups_us), timeout_s=20.0, what="an engine")  # type: ignore[misc]
    began_at = time.monotonic()
    with arena.fault("deaf"):
        while (passed_s := time.monotonic() - began_at) < size.lasts_s:
            arena.allow(1 + int(size.jobs * passed_s / size.lasts_s))
            time.sleep(0.01)
        arena.allow(size.jobs)
        arena.await_exit(feeder, timeout_s=30.0)
        trips = arena.feed(size.trips, nap_s=NAP_S, program="trip", purse="trips")
        arena.allow(size.trips, purse="trips")
        arena.finish(trips, patience_s=120.0)
    judge(arena, size)


def judge(arena: Arena, size: Size) -> None:
    """Whether all jobs began in time."""
    programs = {id: name for watch in arena.watches.values() for id, (name, _) in watch.look().starts.items()}
    waits = [
        wait_s
        for id, wait_s in waits_s([watch.look() for watch in arena.watches.values()]).items()
        if programs[id] == "nap"
    ]
    late_s = percentile(waits, 0.99)
    arena.more["start after, p50"] = f"{percentile(waits, 0.5):.3f} s"
    arena.more["p99"] = f"{late_s:.3f} s, looking every {POLL_S:g} s"
    if late_s > POLL_S * LATE + size.slack_s:
        arena.said.append(f"late: one start in a hundred took {late_s:.3f} s, with a look every {POLL_S:g} s")
