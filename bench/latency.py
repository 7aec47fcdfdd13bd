"""`latency`: from the start of a job to its result, when nothing else is going on."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from bench import children, meter
from bench.child import Stage
from bench.children import Child
from bench.figures import Figures
from bench.meter import Watch
from bench.places import Database
from bench.programs import echo
from outlast import Engine, Queue

N = 500
SETTINGS = "Queue(concurrency=100), pauses of 2 to 12 ms"


def measure(database: Database, n: int) -> list[Figures]:
    """Submitted in the worker's own process; submitted in another one."""
    dice = Random(n)
    pauses_s = [dice.uniform(0.002, 0.012) for _ in range(n)]
    return [_same_process(database, n, pauses_s), _across_processes(database, n, pauses_s)]


def _same_process(database: Database, n: int, pauses_s: list[float]) -> Figures:
    floor = children.play(database, f"bench.floor.{database.store}:round_trips", n=n, pauses_s=pauses_s)
    found = children.run(database, "bench.latency:both", n=n, pauses_s=pauses_s)
    return _figures(database, "same process", n, floor, found)


def _across_processes(database: Database, n: int, pauses_s: list[float]) -> Figures:
    if database.store == "postgres":
        with Child("bench.floor.postgres:serve", url=database.url) as server:
            server.hear()
            floor = children.play(database, "bench.floor.postgres:submit", n=n, pauses_s=pauses_s)
    else:  # SQLite has no way to tell another process: its floor is the three commits, with no wait between them.
        floor = children.play(database, "bench.floor.sqlite:round_trips", n=n, pauses_s=pauses_s)
    before = database.counts()
    with Child("bench.latency:worker", url=database.url) as worker:
        worker.hear()
        found = children.play(database, "bench.latency:submitter", n=n, pauses_s=pauses_s)
        worker.nod()
        of_worker = worker.hear()
        worker.nod()
        counts = worker.hear()
    for name, count in counts.items():
        found[name] += count
    return _figures(database, "across processes", n, floor, found | of_worker | database.counts_since(before))


def _figures(database: Database, variant: str, n: int, floor: dict[str, Any], found: dict[str, Any]) -> Figures:
    # How many it does a second says how long the pauses are, and nothing else.
    return Figures(
        workload="latency",
        store=database.store,
        n=n,
        compared="p50_ms",
        floor=floor["p50_ms"],
        variant=variant,
        more={"floor_p99_ms": round(floor["p99_ms"], 3)},
        **(found | {"per_s": None}),
    )


async def both(stage: Stage, *, url: str, n: int, pauses_s: list[float]) -> None:
    """Worker and submitter in one process."""
    async with Engine(url, queues={"default": Queue(concurrency=100)}) as engine:
        await _submit(stage, engine, n, pauses_s)


async def submitter(stage: Stage, *, url: str, n: int, pauses_s: list[float]) -> None:
    """An engine that only submits."""
    async with Engine(url, queues={}) as engine:
        await _submit(stage, engine, n, pauses_s)


async def worker(stage: Stage, *, url: str) -> None:
    """An engine that only works, until told to stop."""
    async with Engine(url, queues={"default": Queue(concurrency=100)}):
        before_s = meter.cpu_s()
        await stage.ask()
        await stage.ask(worker_cpu_s=meter.cpu_s() - before_s, rss_mb=meter.peak_rss_mb())


async def _submit(stage: Stage, engine: Engine, n: int, pauses_s: list[float]) -> None:
    await (await engine.start(echo.new("first"))).result(timeout=60)  # Statements are prepared, code is warm.
    await stage.ask()
    watch = Watch()
    for pause_s in pauses_s:
        await asyncio.sleep(pause_s)
        with watch.timed():
            handle = await engine.start(echo.new("word"))
            await handle.result()
    await stage.ask(**watch.facts(n))
