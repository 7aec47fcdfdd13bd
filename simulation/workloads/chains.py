"""Jobs and machines: steps in a row, some behind concurrency keys, some that fail before they succeed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import field

from outlast import Context, Done, Engine, Machine, Next, Retry, StepContext, backoff, job, step
from outlast.errors import ResultTimeout, StoreError
from simulation.scene import scene
from simulation.workloads.base import Workload

LINKS = 6
KEYS = {"chain:a": 1, "chain:b": 2, "chain:c": 3}


class Flaky(Exception):
    """A step that fails, this time."""


@job(name="sim.job", max_attempts=4, backoff=backoff.constant(0.3), retention=None)
async def work(ctx: Context, n: int, nap_s: float) -> int:
    """Fails twice if its number says so."""
    scene().ran(ctx.id, f"work{ctx.attempt}")
    await asyncio.sleep(nap_s)
    if n % 7 == 3 and ctx.attempt < 2:
        raise Flaky(str(ctx.attempt))
    return n * n


@job(name="sim.long", retention=None)
async def last(ctx: Context, n: int, nap_s: float) -> int:
    """Lasts longer than a lease: whoever was frozen comes back while the next one is at it."""
    scene().ran(ctx.id, "last")
    await asyncio.sleep(nap_s)
    return n * n


@job(name="sim.asks", retention=None)
async def ask(ctx: Context, n: int, nap_s: float) -> int:
    """Starts another, from a worker, and waits for what comes of it."""
    scene().ran(ctx.id, "ask")
    engine: Engine = asyncio.get_running_loop().owner.engine  # type: ignore[attr-defined]
    while True:
        try:
            handle = await engine.start(
                work.new(n=n, nap_s=nap_s),
                correlation_key=f"asked:{n}",
                correlation_scope="always",
                on_conflict="return",
            )
            result = await handle.result(5.0)
            break
        except (StoreError, ResultTimeout):
            await asyncio.sleep(0.1)
    ((status, text),) = scene().query("SELECT status, result FROM outlast_instances WHERE id = ?", handle.id)
    if status != "done" or text != str(result):
        scene().referee.accuse(f"{ctx.id} was told that {handle.id} is done with {result}; it is {status} with {text}")
    return result


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
        stored = scene().held(ctx.id, "json_array_length(state, '$.trail')")
        if stored not in (None, place):
            scene().referee.accuse(f"{ctx.id} runs link {place}, and {stored} are stored")
        await asyncio.sleep(self.nap_s)
        if self.n % 5 == 2 and place == 2 and ctx.attempt < 1:
            return Retry(0.2)
        self.trail = [*self.trail, place]
        if len(self.trail) == LINKS:
            return Done(self.trail)
        return Next(self.start, inline=False if (self.n + place) % 3 == 0 else None)


class Chains(Workload):
    """Starts them under keys of their own, and waits for every result."""

    programs = (work, last, ask, Chain)
    slots = KEYS
    _bare_starts = 0

    async def act(self, engine: Engine) -> None:
        starts = [self._one(engine, n) for n in range(self.size)]
        await asyncio.gather(*starts, *(self._bare(engine) for _ in range(self.size // 3)))
        self.is_over = True

    async def _bare(self, engine: Engine) -> None:
        """A start without any key, once: what was not acknowledged may be there, but never twice."""
        await self.pause(self.SPAN_S)
        self._bare_starts += 1
        try:
            handle = await engine.start(work.new(n=1, nap_s=0.05))
        except StoreError:
            return
        result = await self.surely(lambda: handle.result(1000))
        if result != 1:
            self.scene.referee.accuse(f"a start without a key ({handle.id}) ended with {result}")

    async def _one(self, engine: Engine, n: int) -> None:
        await self.pause(self.SPAN_S)
        nap_s = self.dice.random() * (1.5 + self.dice.random() * 2.5 if n % 12 == 4 else 0.3)
        options = {} if n % 3 else {"concurrency_key": sorted(KEYS)[n % len(KEYS)]}
        kind = last if n % 12 == 4 else ask if n % 12 == 8 else work
        what = Chain(n=n, nap_s=nap_s) if n % 2 else kind.new(n=n, nap_s=nap_s)
        handle = await self.start_once(engine, what, f"chain:{n}", **options)
        result = await self.surely(lambda: handle.result(1000))
        if result != (list(range(LINKS)) if n % 2 else n * n):
            self.scene.referee.accuse(f"chain {n} ({handle.id}) ended with {result}")

    def check(self) -> Iterator[str]:
        rows = self.scene.query(
            "SELECT id, program, status, commits, json_extract(state, '$.n') FROM outlast_instances"
            " WHERE correlation_key LIKE 'chain:%'"
        )
        ((bare,),) = self.scene.query("SELECT count(*) FROM outlast_instances WHERE correlation_key IS NULL")
        if bare > self._bare_starts and self.is_alone:
            yield f"{self._bare_starts} starts without a key made {bare} instances"
        if len(rows) != self.size:
            yield f"{self.size} chains were started, {len(rows)} are there"
        for id, program, status, commits, n in rows:
            wanted = LINKS + (n % 5 == 2) if program == "sim.chain" else 3 if program == "sim.job" and n % 7 == 3 else 1
            if status != "done" or commits != wanted:
                yield f"chain {id} is {status} after {commits} commits, not {wanted}"
