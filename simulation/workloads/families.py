"""Children: parents that spawn, twice, and are woken once for each time, when all their children have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from outlast import Cancel, Context, Done, Engine, Machine, Spawn, StepContext, backoff, job, step
from simulation.scene import scene
from simulation.workloads.base import Workload


@job(name="sim.child", max_attempts=2, backoff=backoff.constant(0.2), retention=None)
async def child(ctx: Context, n: int, nap_s: float) -> int | Cancel:
    """Some fail once, some for good, some give up."""
    scene().ran(ctx.id, f"child{ctx.attempt}")
    await asyncio.sleep(nap_s)
    if n % 5 == 1 and ctx.attempt == 0:
        raise ValueError("not yet")
    if n % 7 == 2:
        raise ValueError("never")
    return Cancel("no more") if n % 7 == 4 else n


def outcome(n: int) -> str:
    """How a child ends."""
    return "failed" if n % 7 == 2 else "cancelled" if n % 7 == 4 else "done"


class Family(Machine, name="sim.family", retention=None):
    """Two rounds of children."""

    n: int
    count: int
    nap_s: float
    first: int = 0

    @step
    async def start(self, ctx: StepContext) -> Spawn:
        """The first."""
        scene().ran(ctx.id, "spawn")
        return Spawn([child.new(n=n, nap_s=self.nap_s) for n in range(self.count)], then=self.more)

    @step
    async def more(self, ctx: StepContext) -> Spawn:
        """Adds up, and the second."""
        self.first = await _sum(ctx, self.count)
        return Spawn([child.new(n=n, nap_s=self.nap_s) for n in range(self.n % 3)], then=self.join)

    @step
    async def join(self, ctx: StepContext) -> Done:
        """Adds up."""
        return Done([self.first, await _sum(ctx, self.n % 3)])


async def _sum(ctx: StepContext, count: int) -> int:
    ended = [each async for each in ctx.children]
    if len(ended) != count or any(each.status not in ("done", "failed", "cancelled") for each in ended):
        scene().referee.accuse(f"{ctx.id} went on with {[each.status for each in ended]} of {count} children")
    return sum(each.result for each in ended if each.done)


def _right(count: int) -> int:
    return sum(n for n in range(count) if outcome(n) == "done")


class Families(Workload):
    """Starts parents and waits for what their children add up to."""

    programs = (Family, child)

    async def act(self, engine: Engine) -> None:
        await asyncio.gather(*(self._one(engine, n) for n in range(self.size)))
        self.is_over = True

    async def _one(self, engine: Engine, n: int) -> None:
        await self.pause(self.SPAN_S)
        family = Family(n=n, count=3 + 4 * (n % 3), nap_s=self.dice.random() * 0.3)
        handle = await self.start_once(engine, family, f"family:{n}")
        result = await self.surely(lambda: handle.result(1000))
        if result != [_right(3 + 4 * (n % 3)), _right(n % 3)]:
            self.scene.referee.accuse(f"family {n} ({handle.id}) added up to {result}")

    def check(self) -> Iterator[str]:
        for id, spawned, wanted in self.scene.query(
            "SELECT p.id, (SELECT count(*) FROM outlast_instances AS c WHERE c.parent = p.id),"
            " json_extract(p.state, '$.count') + json_extract(p.state, '$.n') % 3"
            " FROM outlast_instances AS p WHERE p.program = 'sim.family'"
        ):
            if spawned != wanted:
                yield f"family {id} has {spawned} children, not {wanted}"
