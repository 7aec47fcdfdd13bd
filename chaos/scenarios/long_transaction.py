"""A transaction that stays open and pins what it has seen: dead rows cannot be cleaned up while it lasts."""

from __future__ import annotations

from typing import Final, NamedTuple

import psycopg

from chaos.arena import Arena, stage
from chaos.arrivals import Arrivals
from chaos.gauges import percentile
from chaos.history import now_us
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: minutes, jobs a second, seconds before and after, and what is noise, in milliseconds."""

    minutes: float
    per_s: float
    aside_s: float
    slack_ms: float


SIZES: Final = {"full": Size(5.0, 500.0, 20.0, 5.0), "ci": Size(0.03, 150.0, 1.0, 500.0)}
WORKERS: Final = 2
NAP_S: Final = (0.0, 0.02)
TIMES: Final = 10.0
"""Claims may take so many times as long."""
BACK_TIMES: Final = 2.0
BACK_S: Final = 120.0
"""For so long after it they may still take longer than `BACK_TIMES`."""


def run(*, store: str, scale: str, seed: int, mutation: str | None = None, minutes: float | None = None) -> Report:
    """Jobs come in steadily before, while and after. Claims stay quick, and are as before soon after."""
    size = SIZES[scale] if minutes is None else SIZES[scale]._replace(minutes=minutes)

    def act(arena: Arena) -> None:
        arena.crashes_may_count = False
        arena.gauged = True
        feeder = arena.feed(None, nap_s=NAP_S, shares={"nap": 1.0}, later=0.0)
        for _ in range(WORKERS):
            arena.hire(concurrency=50)
        arena.await_so(lambda: bool(feeder.watch.look().ups_us), timeout_s=20.0, what="a feeder")
        arrivals = Arrivals(arena, size.per_s)
        arrivals.go_on(size.aside_s / 2)
        began_us = now_us()
        arrivals.go_on(size.aside_s)
        before_ms = claims_ms(arena, began_us, now_us())
        with psycopg.connect(arena.place.url) as connection, arena.fault("pin"):
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SELECT count(*) FROM outlast.instances")
            arrivals.go_on(size.minutes * 60.0)
            window_us = round(max(size.aside_s, size.minutes * 6.0) * 1e6)  # the last tenth: it only gets worse.
            pinned_ms = claims_ms(arena, now_us() - window_us, now_us())
            connection.rollback()
        after_ms = come_back(arena, arrivals, size, before_ms)
        arrivals.end()
        arena.finish(feeder, patience_s=60.0)
        arena.more |= {"minutes": size.minutes, "claims, p99": f"{before_ms:.1f} ms before"}
        arena.more["pinned"] = f"{pinned_ms:.1f} ms"
        arena.more["after"] = f"{after_ms:.1f} ms"
        if pinned_ms > before_ms * TIMES + size.slack_ms:
            arena.said.append(f"slow: p99 of claims was {before_ms:.1f} ms and is {pinned_ms:.1f} ms")

    return stage("long-transaction", act, store=store, scale=scale, seed=seed, lease_s=5.0, mutation=mutation)


def come_back(arena: Arena, arrivals: Arrivals, size: Size, before_ms: float) -> float:
    """Waits until claims are as quick as before. Returns what they take then."""
    for _ in range(max(1, round(BACK_S / size.aside_s))):
        since_us = now_us()
        arrivals.go_on(size.aside_s)
        after_ms = claims_ms(arena, since_us, now_us())
        if after_ms <= before_ms * BACK_TIMES + size.slack_ms:
            return after_ms
    arena.said.append(f"slow: {BACK_S:g} s after it p99 of claims is {after_ms:.1f} ms, and was {before_ms:.1f} ms")
    return after_ms


def claims_ms(arena: Arena, since_us: int, until_us: int) -> float:
    """The 99th percentile of how long looks for work took, in milliseconds, in that time."""
    stories = [watch.look() for watch in arena.watches.values()]
    found = [took for story in stories for at_us, took, _ in story.claimed if since_us <= at_us <= until_us]
    return percentile(found, 0.99) / 1e3
