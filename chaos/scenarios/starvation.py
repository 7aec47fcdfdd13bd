"""Very many instances at the head of the queue that may not run: whoever may must not wait for them."""

from __future__ import annotations

import asyncio
import time
from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.evidence import Pace
from chaos.gauges import percentile, waits_s
from chaos.programs import JOBS
from chaos.report import Report
from outlast import Engine


class Size(NamedTuple):
    """How much of it: instances that may not run, jobs that may, seconds that they come in, and what is noise."""

    barred: int
    jobs: int
    lasts_s: float
    slack_s: float


SIZES: Final = {"full": Size(100_000, 2_000, 10.0, 0.02), "ci": Size(5_000, 100, 1.0, 2.0)}
WORKERS: Final = 2
TIMES: Final = 2.0
"""Starts may take so many times as long as without them."""
PACE: Final = Pace(1 / 3_600, 1.0)
_BATCH: Final = 5_000
_FORGET: Final = {
    "sqlite": "DELETE FROM outlast_instances WHERE rate_limit LIKE 'barred%'",
    "postgres": "DELETE FROM outlast.instances WHERE rate_limit LIKE 'barred%'",
}


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Jobs come in before and after; those that may not run are thrown away in the end."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        arena.crashes_may_count = False
        arena.paces = {"barred": PACE}
        arena.options = {"rate_limits": {"barred": "1/h burst 1"}}
        for _ in range(WORKERS):
            arena.hire()
        before_s = trickle(arena, size)
        began_at = time.monotonic()
        asyncio.run(bar(arena, size.barred))
        arena.more["barred"] = f"{size.barred:,} in {time.monotonic() - began_at:.1f} s"
        after_s = trickle(arena, size)
        arena.await_so(lambda: left(arena) <= size.barred, timeout_s=30.0, what="the last jobs")
        arena.place.tamper(_FORGET[store])
        arena.end()
        arena.more["start after, p99"] = f"{before_s * 1e3:.1f} ms without them, {after_s * 1e3:.1f} ms behind them"
        if after_s > before_s * TIMES + size.slack_s:
            arena.said.append(f"starved: p99 of starts is {after_s:.3f} s, and was {before_s:.3f} s without them")

    return stage("starvation", act, store=store, scale=scale, seed=seed, lease_s=5.0, mutation=mutation)


def trickle(arena: Arena, size: Size) -> float:
    """Starts jobs at a pace at which there are always free hands. Returns the 99th percentile of their waits."""
    purse = f"purse-{len(arena.watches)}"
    feeder = arena.feed(size.jobs, nap_s=(0.0, 0.01), shares={"nap": 1.0}, purse=purse, later=0.0)
    arena.await_so(lambda: bool(feeder.watch.look().ups_us), timeout_s=20.0, what="a feeder")
    began_at = time.monotonic()
    while (passed_s := time.monotonic() - began_at) < size.lasts_s:
        arena.allow(1 + int(size.jobs * passed_s / size.lasts_s), purse=purse)
        time.sleep(0.01)
    arena.allow(size.jobs, purse=purse)
    arena.await_exit(feeder, timeout_s=60.0)
    wanted = set(feeder.watch.look().starts)

    def waits() -> dict[str, float]:
        found = waits_s([watch.look() for watch in arena.watches.values()])
        return {id: wait_s for id, wait_s in found.items() if id in wanted}

    arena.await_so(lambda: len(waits()) == len(wanted), timeout_s=30.0, what="the start of every job")
    return percentile(list(waits().values()), 0.99)


async def bar(arena: Arena, count: int) -> None:
    """Inserts instances that come before all others and may not run: their rate limit lets one through in an hour."""
    async with Engine(arena.place.url, programs=[JOBS["nap"]], queues={}, **arena.options) as engine:
        for start in range(0, count, _BATCH):
            numbers = range(-start - 1, -min(count, start + _BATCH) - 1, -1)
            starts = [JOBS["nap"].new(n=n, nap_s=0.0) for n in numbers]
            await engine.start_many(starts, rate_limit="barred", priority=-10)


def left(arena: Arena) -> int:
    """How many instances have not ended."""
    return sum(arena.place.live().values())
