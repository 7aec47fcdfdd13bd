"""`backlog`: what a claim costs in a table that is full of rows it does not want."""

from __future__ import annotations

from typing import Any, Final

from bench import children
from bench.child import Stage
from bench.figures import Figures
from bench.meter import Watch
from bench.places import Database
from bench.programs import noop
from outlast import Engine, days
from outlast._model import Settlement

N = 1_000_000
SETTINGS = "a claim of 100 and its release, by the store alone"
READY: Final = 1_000
BATCH: Final = 100
ROUNDS: Final = 200
WARM: Final = 10
FINISH_BATCH: Final = 500
NODE: Final = "bench"
KNOWN: Final = [f"{noop.name}@{noop.version}"]


def measure(database: Database, n: int) -> list[Figures]:
    """Claims from 1,000 ready rows that stand alone; then from the same ones behind `n` finished and `n` / 5 others."""
    others = max(1, n // 10)
    children.play(database, "bench.backlog:fill", n=READY)
    floor = children.play(database, "bench.backlog:claim")
    children.play(database, "bench.backlog:finish", n=n)
    children.play(database, "bench.backlog:fill", n=others, days_ahead=30)
    children.play(database, "bench.backlog:fill", n=others, queue="other")
    rows = {"finished": n, "scheduled": others, "in_other_queue": others}
    variants = [_figures(database, "as left", floor, rows)]
    if database.vacuum():
        variants.append(_figures(database, "vacuumed", floor, rows))
    return variants


def _figures(database: Database, variant: str, floor: dict[str, Any], rows: dict[str, int]) -> Figures:
    found = children.run(database, "bench.backlog:claim")
    return Figures(
        workload="backlog",
        store=database.store,
        n=ROUNDS,
        compared="p50_ms",
        floor=floor["p50_ms"],
        variant=variant,
        more=rows,
        **found,
    )


async def claim(stage: Stage, *, url: str) -> None:
    """Claims 100 and gives them back, 200 times."""
    async with Engine(url, queues={}) as engine:
        claims = engine._store.claims
        await engine._store.leases.register(NODE, "host", 1, 600.0)

        async def turn() -> None:
            taken = await claims.take("default", NODE, KNOWN, BATCH, 30.0)
            await claims.release([(one.id, one.epoch) for one in taken])
            if len(taken) != BATCH:
                raise RuntimeError(f"claimed {len(taken)}, expected {BATCH}")

        for _ in range(WARM):  # Statements are prepared, code is warm.
            await turn()
        await stage.ask()
        watch = Watch()
        for _ in range(ROUNDS):
            with watch.timed():
                await turn()
        await stage.ask(**watch.facts(ROUNDS))


async def fill(stage: Stage, *, url: str, n: int, queue: str = "default", days_ahead: int = 0) -> None:
    """Adds rows: ready ones, or some that are due in the future."""
    async with Engine(url, queues={}) as engine:
        await stage.ask()
        later = days(days_ahead) if days_ahead else None
        await engine.start_many((noop.new() for _ in range(n)), queue=queue, schedule_in=later)
        await stage.ask()


async def finish(stage: Stage, *, url: str, n: int) -> None:
    """Adds rows that go before all others, claims them and completes them, as a worker would."""
    async with Engine(url, queues={}) as engine:
        await stage.ask()
        await engine._store.leases.register(NODE, "host", 1, 600.0)
        await engine.start_many((noop.new() for _ in range(n)), priority=-1)
        claims, left = engine._store.claims, n
        while left:
            taken = await claims.take("default", NODE, KNOWN, min(FINISH_BATCH, left), 30.0)
            done = [Settlement(one.id, one.epoch, "done", 0, "null", retention_s=86_400.0) for one in taken]
            await claims.commit(done)
            left -= len(taken)
        await stage.ask()
