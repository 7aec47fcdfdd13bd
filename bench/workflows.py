"""`workflows`: how many workflows of three recorded steps a second one worker takes from start to result."""

from __future__ import annotations

from typing import Final

from bench import children
from bench.child import Stage
from bench.ends import Ends
from bench.figures import Figures
from bench.places import Database
from outlast import Engine, Queue, step, workflow

N = 10_000
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
    return [Figures(workload="workflows", store=database.store, n=n, **found)]


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
    await stage.ask()
    ends.begin()
    async with engine:
        await ends.over.wait()
        await stage.ask(**ends.facts(n))
