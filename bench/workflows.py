"""`workflows`: how many workflows of three recorded steps a second one worker takes, and how long one of them takes."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final

from bench import children
from bench.child import Stage
from bench.ends import Ends
from bench.figures import Figures
from bench.meter import Watch
from bench.places import Database
from outlast import Engine, Queue, step, workflow

N = 10_000
IDLE_N: Final = 300
"""Workflows that are started one after the other, when nothing else is going on."""
CONCURRENCY: Final = 500
SETTINGS = f"workflows of 3 steps that do nothing, Queue(concurrency={CONCURRENCY}); a unit is a workflow"


@step(name="bench.nothing")
async def nothing(number: int) -> int:
    """Does nothing."""
    return number


@workflow(name="bench.three")
async def three() -> int:
    """Three steps."""
    return await nothing(1) + await nothing(2) + await nothing(3)


def measure(database: Database, n: int) -> list[Figures]:
    """All workflows from their first step to their end."""
    children.play(database, "bench.workflows:load", n=n)
    found = children.run(database, "bench.workflows:drain", n=n)
    dice = Random(n)
    alone = children.play(
        database, "bench.workflows:idle", pauses_s=[dice.uniform(0.002, 0.012) for _ in range(min(n, IDLE_N))]
    )
    idle = {f"idle_{name}": round(alone[name], 3) for name in ("p50_ms", "p99_ms")}
    return [Figures(workload="workflows", store=database.store, n=n, more=idle, **found)]


async def load(stage: Stage, *, url: str, n: int) -> None:
    """Fills the queue."""
    async with Engine(url, queues={}) as engine:
        await stage.ask()
        await engine.start_many(three.new() for _ in range(n))
        await stage.ask()


async def drain(stage: Stage, *, url: str, n: int) -> None:
    """Serves the queue until every workflow has ended."""
    engine = Engine(url, queues={"default": Queue(concurrency=CONCURRENCY)})
    ends = Ends(engine, n)
    await engine.tables()  # the driver is imported now: that is a process's start, and no workflow's.
    await stage.ask()
    ends.begin()
    async with engine:
        await ends.over.wait()
        await stage.ask(**ends.facts(n))


async def idle(stage: Stage, *, url: str, pauses_s: list[float]) -> None:
    """From start to result in one process, each after a pause."""
    async with Engine(url, queues={"default": Queue(concurrency=CONCURRENCY)}) as engine:
        await (await engine.start(three.new())).result(timeout=60)  # Statements are prepared, code is warm.
        await stage.ask()
        watch = Watch()
        for pause_s in pauses_s:
            await asyncio.sleep(pause_s)
            with watch.timed():
                await (await engine.start(three.new())).result()
        await stage.ask(**watch.facts(len(pauses_s)))
