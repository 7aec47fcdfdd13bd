"""Jobs and machines: steps in a row, some behind concurrency keys, some that fail before they succeed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import field

from outlast import Context, Done, Engine, Machine, Next, Retry, StepContext, backoff, job, step
from simulation.scene import scene
from simulation.workloads.base import Workload

LINKS = 6
KEYS = {"chain:a": 1, "chain:b": 2, "chain:c": 3}


class Flaky(Exception):
    """A step that fails, this time."""


@job(name="sim.job", max_attempts=4, backoff=backoff.constant(0.3), retention=None)
async def work(n: int, nap_s: float, ctx: Context) -> int:
    """Fails twice if its number says so."""
    scene().ran(ctx.id, f"work{ctx.attempt}")
    await asyncio.sleep(nap_s)
    if n % 7 == 3 and ctx.attempt < 2:
        raise Flaky(str(ctx.attempt))
    return n * n


class Chain(Machine, name="sim.chain", retention=None):
    """Each step adds its place to the trail."""

    n: int
    nap_s: float
    trail: list[int] = field(default_factory=list)

    @step
    async def start(self, ctx: StepContext) -> Next | Done | Retry:
        """One link."""
        place = len(self.trail)
        scene().ran(ctx.id, f"link{place}")
        await asyncio.sleep(self.nap_s)
        if self.n % 5 == 2 and place == 2 and ctx.attempt < 1:
            return Retry(0.2)
        self.trail = [*self.trail, place]
        if len(self.trail) == LINKS:
            return Done(self.trail)
        return Next(self.start, inline=False if (self.n + place) % 3 == 0 else None)


class Chains(Workload):
    """Starts them under keys of their own, and waits for every result."""

    programs = (work, Chain)
    slots = KEYS

    async def act(self, engine: Engine) -> None:
        await asyncio.gather(*(self._one(engine, n) for n in range(self.size)))
        self.is_over = True

    async def _one(self, engine: Engine, n: int) -> None:
        await self.pause(self.SPAN_S)
        nap_s = self.dice.random() * 0.3
        options = {} if n % 3 else {"concurrency_key": sorted(KEYS)[n % len(KEYS)]}
        what = Chain(n=n, nap_s=nap_s) if n % 2 else work.new(n=n, nap_s=nap_s)
        handle = await self.surely(
            lambda: engine.start(
                what, correlation_key=f"chain:{n}", on_conflict="return", correlation_scope="always", **options
            )  # type: ignore[arg-type]
        )
        result = await self.surely(lambda: handle.result(1000))
        if result != (list(range(LINKS)) if n % 2 else n * n):
            self.scene.referee.accuse(f"chain {n} ({handle.id}) ended with {result}")

    def check(self) -> Iterator[str]:
        rows = self.scene.query(
            "SELECT id, correlation_key, status, crashes, attempt FROM outlast_instances"
            " WHERE program IN ('sim.job', 'sim.chain')"
        )
        if len(rows) != self.size:
            yield f"{self.size} chains were started, {len(rows)} are there"
        yield from (f"chain {id} has ended as {status}" for id, _, status, _, _ in rows if status != "done")
