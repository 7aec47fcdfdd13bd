"""Schedules: one instance for each tick, whoever fires it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from outlast import Engine, job
from outlast._world import instant
from simulation.workloads.base import Workload
from simulation.world import BEGIN_US

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
            await self.pause(1.0)
        await asyncio.sleep(10.0)
        self._from_s, self._to_s = began_s, self.scene.universe.now - 5.0
        self.is_over = True

    def check(self) -> Iterator[str]:
        rows = self.scene.query("SELECT correlation_key FROM outlast_instances WHERE program = 'sim.tick'")
        ran = Counter(key.partition("@")[2] for (key,) in rows)
        yield from (f"the tick of {moment} ran {count} times" for moment, count in ran.items() if count > 1)
        # Up to one lease before and after, whoever looks may do so by a clock of its own.
        for decided_us, newest in self.scene.query(
            "SELECT decided_us, (SELECT max(correlation_key) FROM outlast_instances WHERE program = 'sim.tick')"
            " FROM outlast_schedules"
        ):
            if newest is not None and f"{instant(decided_us):%Y-%m-%dT%H:%M:%SZ}" < newest.partition("@")[2]:
                yield f"a tick of {newest} ran, and ticks are decided up to {instant(decided_us)} only"
        moment = instant(BEGIN_US + int(self._from_s + 1) * 1_000_000)
        last = instant(BEGIN_US + int(self._to_s) * 1_000_000)
        while moment < last:
            if moment.second % EVERY_S == 0 and f"{moment:%Y-%m-%dT%H:%M:%SZ}" not in ran:
                yield f"the tick of {moment} never ran; {sorted(ran)[:3]}"
            moment += timedelta(seconds=1)
