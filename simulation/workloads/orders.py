"""Operators: chains that are cancelled, paused, resumed and retried at any moment, and run under rate limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import field
from typing import ClassVar

from outlast import Done, Engine, Machine, Next, StepContext, step
from outlast.errors import IllegalMove, InstanceCancelled, NotFound
from simulation.scene import scene
from simulation.workloads.base import Workload

LINKS = 8
DEEDS = ("pause", "resume", "cancel", "retry", "pause", "resume", "retry")


class Order(Machine, name="sim.order", retention=None):
    """A chain; some of its steps take a token."""

    nap_s: float
    trail: list[int] = field(default_factory=list)

    @step
    async def start(self, ctx: StepContext) -> Next | Done:
        """One link."""
        scene().ran(ctx.id, f"link{len(self.trail)}")
        await asyncio.sleep(self.nap_s)
        self.trail = [*self.trail, len(self.trail)]
        if len(self.trail) >= LINKS:
            return Done(self.trail)
        return Next(self.start, rate_limit="sim" if len(self.trail) % 4 == 1 else None)


class Orders(Workload):
    """Starts orders and interferes; at the end each is sent on until it is done."""

    programs = (Order,)
    rates: ClassVar = {"sim": "20/s"}

    async def act(self, engine: Engine) -> None:
        await asyncio.gather(*(self._one(engine, n) for n in range(self.size)))
        self.is_over = True

    async def _one(self, engine: Engine, n: int) -> None:
        await self.pause(self.SPAN_S / 2)
        order = Order(nap_s=self.dice.random() * 0.2)
        handle = await self.start_once(engine, order, f"order:{n}")
        self.scene.referee.retried.add(handle.id)
        for _ in range(self.dice.randrange(6)):
            await self.pause(2.0)
            await self._do(engine, handle.id, self.dice.choice(DEEDS))
        while True:
            await self._do(engine, handle.id, "resume")
            try:
                result = await self.surely(lambda: handle.result(1000))
                break
            except InstanceCancelled:
                await self._do(engine, handle.id, "retry")
        if result != list(range(LINKS)):
            self.scene.referee.accuse(f"order {handle.id} ended with {result}")

    async def _do(self, engine: Engine, id: str, deed: str) -> None:
        async def act() -> None:
            try:
                await getattr(engine, deed)(id)
            except (IllegalMove, NotFound):
                pass

        await self.surely(act)
        self.scene.referee.tell("deed", id, deed)

    def check(self) -> Iterator[str]:
        for id, status, paused in self.scene.query(
            "SELECT id, status, paused_us FROM outlast_instances WHERE program = 'sim.order'"
        ):
            if status != "done" or paused is not None:
                yield f"order {id} is {status}, paused: {paused}"
