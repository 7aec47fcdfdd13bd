"""`enqueue`: how fast one process starts jobs that nobody runs yet."""

from __future__ import annotations

import asyncio
from typing import Final

from bench import children
from bench.child import Stage
from bench.figures import Compared, Figures
from bench.meter import Watch
from bench.places import Database
from bench.programs import noop
from outlast import Engine

N = 200_000
SETTINGS = "commit_batch=500, start_many by 1,000"
CALLERS = 200

# Share of n; rows to a commit in the floor: many callers at once share commits, and so does their floor; and what is
# compared with it. One caller pays for every hiccup of the disk, which the median does not.
_VARIANTS: Final[dict[str, tuple[float, int, Compared]]] = {
    "single": (0.02, 1, "p50_ms"),
    "callers": (0.2, CALLERS, "per_s"),
    "bulk": (1.0, 1_000, "per_s"),
}


def measure(database: Database, n: int) -> list[Figures]:
    """One at a time; 200 callers at once; `start_many`."""
    variants = []
    for variant, (share, rows, compared) in _VARIANTS.items():
        count = max(1, int(n * share))
        floor = children.play(database, f"bench.floor.{database.store}:inserts", n=count, rows=rows)
        found = children.run(database, f"bench.enqueue:{variant}", n=count)
        variants.append(
            Figures(
                workload="enqueue",
                store=database.store,
                n=count,
                compared=compared,
                floor=floor[compared],
                variant=variant,
                **found,
            )
        )
    return variants


async def single(stage: Stage, *, url: str, n: int) -> None:
    """Each start is awaited before the next."""
    await _submit(stage, url, n, callers=1)


async def callers(stage: Stage, *, url: str, n: int) -> None:
    """200 tasks, each of which awaits its own starts."""
    await _submit(stage, url, n, callers=CALLERS)


async def _submit(stage: Stage, url: str, n: int, *, callers: int) -> None:
    async with Engine(url, queues={}) as engine:
        left = iter(range(n))
        await stage.ask()
        watch = Watch()

        async def call() -> None:
            for _ in left:
                with watch.timed():
                    await engine.start(noop.new())

        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(call())
        await stage.ask(**watch.facts(n))


async def bulk(stage: Stage, *, url: str, n: int) -> None:
    """One call of `start_many`, fed by a generator."""
    async with Engine(url, queues={}) as engine:
        await stage.ask()
        watch = Watch()
        await engine.start_many(noop.new() for _ in range(n))
        await stage.ask(**watch.facts(n))
