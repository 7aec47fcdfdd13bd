"""Schedules: one instance for each tick, whoever fires it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from outlast import Engine, job
from simulation.workloads.base import Workload

EVERY_S = 2


@job(name="sim.tick", retention=None)
async def tick() -> None:
    """What is due."""


class Ticks(Workload):
    """A schedule that catches up with all it missed."""

    programs = (tick,)

    async def act(self, engine: Engine) -> None:
        await self.surely(
            lambda: engine.schedule(tick.new(), f"*/{EVERY_S} * * * * *", name="sim", catch_up="all", overlap="allow")
        )
        began_s = self.scene.universe.now
        await asyncio.sleep(EVERY_S * self.size)
        while not self.scene.calm:
            await asyncio.sleep(1.0)
        await asyncio.sleep(10.0)
        self._from_s, self._to_s = began_s, self.scene.universe.now - 5.0
        self.is_over = True

    def check(self) -> Iterator[str]:
        ran = [at_us for (at_us,) in self.scene.query("SELECT state FROM outlast_instances WHERE program = 'sim.tick'")]
        wanted = int((self._to_s - self._from_s) / EVERY_S)
        if len(ran) < wanted - 1:
            yield f"of at least {wanted - 1} ticks {len(ran)} came"
        if len(ran) > (self.scene.universe.now - self._from_s) / EVERY_S + 1:
            yield f"{len(ran)} ticks came in {self.scene.universe.now - self._from_s:.1f} s"
