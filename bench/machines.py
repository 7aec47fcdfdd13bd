"""`machines`: how many durable steps a second one worker takes machines through."""

from __future__ import annotations

from typing import Any, Final

from bench import children
from bench.child import Stage
from bench.ends import Ends
from bench.figures import Figures
from bench.places import Database
from outlast import Done, Engine, Machine, Next, Queue, step

N = 10_000
STEPS: Final = 20
SETTINGS = f"machines of {STEPS} steps, Queue(concurrency=100); a unit is a step"


class Walk(Machine, name="bench.walk"):
    """Takes steps that do nothing."""

    left: int = STEPS

    @step
    async def start(self, ctx: Any) -> Any:
        """One of them."""
        self.left -= 1
        return Next(self.start) if self.left else Done()


def measure(database: Database, n: int) -> list[Figures]:
    """All machines from their first step to their end."""
    children.play(database, "bench.machines:load", n=n)
    found = children.run(database, "bench.machines:walk", n=n)
    return [Figures(workload="machines", store=database.store, n=n * STEPS, **found)]


async def load(stage: Stage, *, url: str, n: int) -> None:
    """Fills the queue."""
    async with Engine(url, queues={}) as engine:
        await stage.ask()
        await engine.start_many(Walk() for _ in range(n))
        await stage.ask()


async def walk(stage: Stage, *, url: str, n: int) -> None:
    """Serves the queue until every machine has ended."""
    engine = Engine(url, queues={"default": Queue(concurrency=100)})
    ends = Ends(engine, n)
    await stage.ask()
    ends.begin()
    async with engine:
        await ends.over.wait()
        await stage.ask(**ends.facts(n * STEPS))
