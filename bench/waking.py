"""Instances that wait for a signal, and how long it takes to send to all of them until all are done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

from bench import meter
from bench.child import Stage
from bench.ends import Ends
from outlast import Engine, Queue

CALLERS: Final = 500
"""Who sends at once."""


async def park_and_wake(stage: Stage, starts: Iterable[Any], *, url: str, concurrency: int, n: int) -> None:
    """Parks all, then sends to all. `starts` describes `n` instances, each of which waits for the signal "go"."""
    engine = Engine(url, queues={"default": Queue(concurrency=concurrency)})
    ends = Ends(engine, n)
    async with engine:
        before_mb = meter.rss_mb()
        handles = await engine.start_many(starts)
        while ends.steps < n:  # noqa: ASYNC110  # nobody tells.
            await asyncio.sleep(0.01)
        parked_mb = meter.rss_mb()
        await stage.ask()
        ends.begin()
        left = iter(handles)

        async def send() -> None:
            for handle in left:
                await engine.signal(handle, "go", 1)

        began = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(CALLERS)))
        sent_s = time.perf_counter() - began
        await ends.over.wait()
        more = {
            "seconds": round(ends.seconds, 2),
            "sent_per_s": round(n / sent_s),
            "rss_before_mb": before_mb,
            "rss_parked_mb": parked_mb,
        }
        await stage.ask(**ends.facts(n), more=more)
