"""`waits` and `sleeps`: workflows that hold nothing but rows, woken by signals, or by time."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from bench import children
from bench.child import Stage
from bench.ends import Ends
from bench.figures import Figures
from bench.places import Database
from bench.waking import CALLERS, park_and_wake
from outlast import Engine, Queue, sleep, wait_for_signal, workflow

N = 5_000
CONCURRENCY: Final = 500
SETTINGS = f"Queue(concurrency={CONCURRENCY}), {CALLERS} senders at once; a unit is a workflow signalled and done"


@workflow(name="bench.waits")
async def waits() -> Any:
    """Waits for a signal."""
    return await wait_for_signal("go")


@workflow(name="bench.sleeps")
async def sleeps(seconds: float) -> None:
    """Sleeps."""
    await sleep(seconds)


def measure(database: Database, n: int) -> list[Figures]:
    """From the first signal to the last end."""
    found = children.run(database, "bench.waits:wake", n=n)
    return [Figures(workload="waits", store=database.store, n=n, **found)]


async def wake(stage: Stage, *, url: str, n: int) -> None:
    """Parks all, then sends to all."""
    await park_and_wake(stage, (waits.new() for _ in range(n)), url=url, concurrency=CONCURRENCY, n=n)


async def doze(stage: Stage, *, url: str, n: int) -> None:
    """All wake within one second, a while from now; how long after the last one's time all are done."""
    engine = Engine(url, queues={"default": Queue(concurrency=CONCURRENCY)})
    ends = Ends(engine, n)
    async with engine:
        wake_at = time.monotonic() + 4 + n / 2_000
        await engine.start_many(sleeps.new(wake_at - time.monotonic() + number / n) for number in range(n))
        while ends.steps < n:  # noqa: ASYNC110  # nobody tells.
            await asyncio.sleep(0.01)
        early_s = wake_at - time.monotonic()
        await stage.ask()
        await asyncio.sleep(max(0.0, early_s))
        ends.begin()
        await ends.over.wait()
        late_s = time.monotonic() - (wake_at + 1)
        await stage.ask(**ends.facts(n), more={"late_s": round(late_s, 2), "parked_early_s": round(early_s, 2)})
