"""`fair`: one tenant's deep backlog, and ten rows of another."""

from __future__ import annotations

import asyncio
from typing import Any

from bench import children
from bench.child import Stage
from bench.ends import Ends
from bench.figures import Figures, quantile_ms
from bench.places import Database
from bench.programs import BEGUN, nap, tick
from outlast import Engine, Queue

N = 100_000
TEN = 10
SETTINGS = "Queue(concurrency=10); steps of 1 ms; times from the small tenant's start until its steps begin"


def measure(database: Database, n: int) -> list[Figures]:
    """The ten rows, started while the backlog is being worked off."""
    children.play(database, "bench.fair:load", n=n)
    found = children.run(database, "bench.fair:serve", n=n)
    return [Figures(workload="fair", store=database.store, n=TEN, compared="p50_ms", **found)]


async def load(stage: Stage, *, url: str, n: int) -> None:
    """The big tenant's rows."""
    async with Engine(url, queues={}) as engine:
        await stage.ask()
        await engine.start_many((nap.new() for _ in range(n)), fair_key="big")
        await stage.ask()


async def serve(stage: Stage, *, url: str, n: int) -> None:
    """Works; a moment later the small tenant comes."""
    engine = Engine(url, queues={"default": Queue(concurrency=10)}, drain_timeout=0.0)
    some = Ends(engine, min(n, 200))
    async with engine:
        await stage.ask()
        some.begin()
        await some.over.wait()
        began = asyncio.get_running_loop().time()
        handles = await engine.start_many((tick.new() for _ in range(TEN)), fair_key="small")
        for handle in handles:
            await handle.result()
        times = [moment - began for moment in BEGUN]
        facts: dict[str, Any] = {"p50_ms": quantile_ms(times, 0.5), "p99_ms": quantile_ms(times, 0.99)}
        await stage.ask(**some.facts(min(n, 200)) | {"per_s": None}, **facts, more={"last_ms": max(times) * 1_000})
