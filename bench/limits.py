"""`limits`: free rows behind a backlog that a key, or a rate, denies; keyed work; a rate's exactness."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from bench import children
from bench.child import Stage
from bench.ends import Ends
from bench.figures import Figures
from bench.places import Database
from bench.programs import BEGUN, HELD, hold, noop, tick
from outlast import Engine, Queue

N = 100_000
FREE: Final = 1_000
KEYS: Final = 1_000
RATE: Final = 1_000
BURST: Final = 100
RATES: Final = {"paced": f"{RATE}/s burst {BURST}", "never": "1/d burst 1"}
SETTINGS = f"{FREE} free rows; {KEYS} keys; a rate of {RATE}/s, burst {BURST}"


def measure(database: Database, n: int) -> list[Figures]:
    """Free rows behind each backlog, against the same rows alone; keyed work; the rate."""
    alone = children.play(database, "bench.limits:free", n=FREE)["per_s"]
    variants = []
    for what, options in (("key", {"concurrency_key": "busy"}), ("rate", {"rate_limit": "never"})):
        children.play(database, "bench.limits:deny", n=n, options=options)
        found = children.run(database, "bench.limits:free", n=FREE, held=options.get("concurrency_key"))
        variants.append(_figures(database, f"free rows behind a {what}", FREE, found, floor=alone, denied=n))
    keyed, paced = max(KEYS, n // 5), max(RATE, n // 10)
    variants.append(_figures(database, "keyed", keyed, children.run(database, "bench.limits:keyed", n=keyed)))
    variants.append(_figures(database, "paced", paced, children.run(database, "bench.limits:paced", n=paced)))
    return variants


def _figures(
    database: Database, variant: str, n: int, found: dict[str, Any], *, floor: float | None = None, **more: Any
) -> Figures:
    more |= found.pop("more", {})
    return Figures(
        workload="limits", store=database.store, n=n, variant=variant, floor=floor or found["per_s"], more=more, **found
    )


async def deny(stage: Stage, *, url: str, n: int, options: dict[str, Any]) -> None:
    """Starts rows that a limit denies, and waits until all of them stand at its gate."""
    async with Engine(url, queues={"busy": 1}, rate_limits=RATES) as engine:
        await stage.ask()
        if key := options.get("concurrency_key"):
            await engine.start(hold.new(), concurrency_key=key)
            while not any(counts.ready for counts in await engine.queues()):  # noqa: ASYNC110  # it comes first.
                await asyncio.sleep(0.01)
        await engine.start_many((noop.new() for _ in range(n)), **options)
        while any(counts.scheduled for counts in await engine.queues()):  # noqa: ASYNC110  # other loops do it.
            await asyncio.sleep(0.05)
        await stage.ask()


async def free(stage: Stage, *, url: str, n: int, held: str | None = None) -> None:
    """Starts free rows behind what is there, and serves them; `held` is a key that a step of its own keeps."""
    engine = Engine(url, queues={"default": Queue(concurrency=100), "warm": 100}, drain_timeout=0.0)
    async with engine:
        if held is not None:
            while not HELD.is_set():  # noqa: ASYNC110  # an event of another loop, in a way.
                await asyncio.sleep(0.01)
        for handle in await engine.start_many((noop.new() for _ in range(n)), queue="warm"):
            await handle.result()
        ends = Ends(engine, n)
        await stage.ask()
        ends.begin()
        await engine.start_many((noop.new() for _ in range(n)), priority=5)
        await ends.over.wait()
        await stage.ask(**ends.facts(n))


async def keyed(stage: Stage, *, url: str, n: int) -> None:
    """Starts and serves work of many keys, one at a time each."""
    engine = Engine(url, queues={"keyed": Queue(concurrency=100)})
    ends = Ends(engine, n)
    async with engine:
        await stage.ask()
        ends.begin()
        for start in range(0, n, 1_000):
            numbers = range(start, min(n, start + 1_000))
            keys = [f"key {number % KEYS}" for number in numbers]
            await asyncio.gather(*(engine.start(noop.new(), queue="keyed", concurrency_key=key) for key in keys))
        await ends.over.wait()
        await stage.ask(**ends.facts(n))


async def paced(stage: Stage, *, url: str, n: int) -> None:
    """Begins steps as fast as the rate lets it."""
    engine = Engine(url, queues={"paced": Queue(concurrency=100)}, rate_limits=RATES)
    ends = Ends(engine, n)
    async with engine:
        await stage.ask()
        ends.begin()
        await engine.start_many((tick.new() for _ in range(n)), queue="paced", rate_limit="paced")
        await ends.over.wait()
        measured_s = BEGUN[-1] - BEGUN[BURST]  # the first were the bucket's own.
        rate = (len(BEGUN) - 1 - BURST) / measured_s
        await stage.ask(**ends.facts(n), more={"error_percent": round(100 * (rate / RATE - 1), 2)})
