"""`fanout`: one parent, many children, one join."""

from __future__ import annotations

from typing import Any

from bench import children
from bench.child import Stage
from bench.ends import Ends
from bench.figures import Figures
from bench.places import Database
from bench.programs import noop
from outlast import Done, Engine, Machine, Queue, Spawn, step

N = 100_000
SETTINGS = "Queue(concurrency=100); a unit is a child; seconds from the start of the parent to its end"


class Parent(Machine, name="bench.parent"):
    """Spawns children that do nothing, and looks at none."""

    children: int

    @step
    async def start(self, ctx: Any) -> Any:
        """Spawns."""
        return Spawn((noop.new() for _ in range(self.children)), then=self.join)

    @step
    async def join(self, ctx: Any) -> Any:
        """Runs once, when all have ended."""
        return Done()


def measure(database: Database, n: int) -> list[Figures]:
    """From the start of the parent to its end."""
    found = children.run(database, "bench.fanout:join", n=n)
    return [Figures(workload="fanout", store=database.store, n=n, **found)]


async def join(stage: Stage, *, url: str, n: int) -> None:
    """The parent, its children and the join in one process."""
    engine = Engine(url, queues={"default": Queue(concurrency=100)}, lease=60)
    ends = Ends(engine, n + 1)
    async with engine:
        await stage.ask()
        ends.begin()
        parent = await engine.start(Parent(children=n))
        await ends.over.wait()
        await parent.result()
        found = await parent.get()
        more = {"seconds": round(ends.seconds, 2), "parent_claims": found.epoch}
        await stage.ask(**ends.facts(n), more=more)
