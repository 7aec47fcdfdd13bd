"""Signals: machines that read the numbers they are sent."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import field

from outlast import Await, Done, Engine, Machine, Next, StepContext, step
from simulation.scene import scene
from simulation.workloads.base import Workload

MAILS = 6


class Box(Machine, name="sim.box", retention=None):
    """Reads until it has enough. Even boxes use up at once, odd ones by going on."""

    n: int
    want: int
    nap_s: float
    got: list[int] = field(default_factory=list)
    bored: int = 0

    @step
    async def start(self, ctx: StepContext) -> Await | Done:
        """Waits for more."""
        if len(self.got) >= self.want:
            return Done(self.got)
        return Await("mail", then=self.read, timeout=1.5 if self.n % 4 == 1 else None)

    @step
    async def read(self, ctx: StepContext) -> Await | Next | Done:
        """Takes what came."""
        scene().ran(ctx.id, f"read{len(self.got)}")
        await asyncio.sleep(self.nap_s)
        self.bored += not ctx.awaited
        self.got = [*self.got, *(signal.payload for signal in ctx.awaited)]
        if self.n % 2 or len(self.got) >= self.want:
            return Next(self.start)
        ctx.consume(*ctx.awaited)
        return Await("mail")


class Boxes(Workload):
    """Sends each box its numbers, each until it is told that it was accepted; some are more than the box wants."""

    programs = (Box,)

    async def act(self, engine: Engine) -> None:
        await asyncio.gather(*(self._one(engine, n) for n in range(self.size)))
        self.is_over = True

    async def _one(self, engine: Engine, n: int) -> None:
        await self.pause(self.SPAN_S / 2)
        box = Box(n=n, want=MAILS - 2 * (n % 3 == 0), nap_s=self.dice.random() * 0.05)
        handle = await self.start_once(engine, box, f"box:{n}")
        sends = [self._send(engine, handle.id, number) for number in range(MAILS)]
        await asyncio.gather(*sends)
        await self.surely(lambda: handle.result(1000))

    async def _send(self, engine: Engine, id: str, number: int) -> None:
        await self.pause(self.SPAN_S / 2)
        answer = await self.surely(lambda: engine.signal(id, "mail", number, dedup_key=str(number)))
        self.scene.referee.tell("sent", id, number, str(answer))
        if number % 3 == 0:  # once more, by somebody who does not know; perhaps after it was read.
            await self.pause(2.0)
            await self.surely(lambda: engine.signal(id, "mail", number, dedup_key=str(number)))

    def check(self) -> Iterator[str]:
        for id, text, status, result in self.scene.query(
            "SELECT id, state, status, result FROM outlast_instances WHERE program = 'sim.box'"
        ):
            state = json.loads(text)
            read = Counter(state["got"])
            if status != "done" or json.loads(result) != state["got"]:
                yield f"box {id} is {status} with {result}, having read {state['got']}"
            mails = self.scene.query("SELECT payload, consumed_us FROM outlast_signals WHERE instance = ?", id)
            used = Counter(int(payload) for payload, at_us in mails if at_us is not None)
            if read != used:
                yield f"box {id} has read {sorted(read.elements())} and used up {sorted(used.elements())}"
            if any(count > 1 for count in read.values()):
                yield f"box {id} has read a mail twice: {state['got']}"
            if len(mails) > MAILS:
                yield f"box {id} was sent {MAILS} mails and holds {len(mails)}"
