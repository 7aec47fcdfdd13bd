"""The machines that crash runs are made of. As with the jobs, there is one right end for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import field
from typing import Any, Final

from chaos.programs import JOBS, answer
from outlast import Await, Done, Machine, Next, Spawn, StepContext, step

CHAIN: Final = tuple(f"step_{place}" for place in range(20))
"""The steps of a chain."""
CHILD_BASE: Final = 1_000_000
"""A child's number is its parent's, times this, and its place."""
NEED_LESS: Final = 2
"""Signals that every third box does not wait for: it ends with them in its inbox, or before they come."""


def _link(place: int) -> Callable[..., Any]:
    def go_on(machine: Any) -> Next | Done:
        machine.trail = [*machine.trail, place]
        if place == len(CHAIN) - 1:
            return Done({"answer": answer(machine.n), "trail": machine.trail})
        # Now and then by way of the queue: another process may take it from there.
        return Next(CHAIN[place + 1], inline=False if place % 5 == 2 else None)

    async def wait(machine: Any, ctx: StepContext) -> Next | Done:
        await asyncio.sleep(machine.nap_s)
        return go_on(machine)

    def chew(machine: Any, ctx: StepContext) -> Next | Done:
        time.sleep(machine.nap_s)
        return go_on(machine)

    function: Callable[..., Any] = chew if place % 7 == 3 else wait
    function.__name__ = CHAIN[place]
    return step(function)


class _Links:
    """The steps of a chain, as a base to inherit."""


for _place, _name in enumerate(CHAIN):
    setattr(_Links, _name, _link(_place))


class Chain(_Links, Machine, name="chain", initial=CHAIN[0], retention=None):
    """Twenty steps in a row; each adds its place to the trail."""

    n: int
    nap_s: float
    trail: list[int] = field(default_factory=list)


class Box(Machine, name="box", retention=None):
    """Reads the numbers it is sent until it has enough of them.

    Even boxes use them up as they wait for more, odd ones by going on to the next step.
    """

    n: int
    nap_s: float
    want: int
    got: list[int] = field(default_factory=list)

    @step
    async def start(self, ctx: StepContext) -> Await | Done:
        """Waits for more, unless there are enough."""
        if len(self.got) >= self.want:
            return Done(self.got)
        return Await("mail", then=self.read)

    @step
    async def read(self, ctx: StepContext) -> Await | Next | Done:
        """Takes what came."""
        await asyncio.sleep(self.nap_s)
        self.got = [*self.got, *(signal.payload for signal in ctx.awaited)]
        if self.n % 2 or len(self.got) >= self.want:
            return Next(self.start)
        ctx.consume(*ctx.awaited)
        return Await("mail")


class Family(Machine, name="family", retention=None):
    """Starts children of all kinds and adds up what came of them."""

    n: int
    nap_s: float
    children: int

    @step
    async def start(self, ctx: StepContext) -> Spawn:
        """Starts them."""
        return Spawn([_child(self.n, place, self.nap_s) for place in range(self.children)], then=self.join)

    @step
    async def join(self, ctx: StepContext) -> Done:
        """Adds up."""
        ended = [child async for child in ctx.children if child.done]
        return Done({"ended": len(ended), "sum": sum(child.result for child in ended)})


def _child(parent: int, place: int, nap_s: float) -> Any:
    job = JOBS["stumble" if place % 10 == 3 else "chew" if place % 5 == 1 else "nap"]
    return job.new(n=parent * CHILD_BASE + place, nap_s=round(nap_s * (place % 8 + 1) / 8, 4))


def box_key(n: int) -> str:
    """The correlation key of a box."""
    return f"box:{n}"


def new_box(n: int, nap_s: float, mails: int) -> Box:
    """A box that is sent so many signals."""
    return Box(n=n, nap_s=nap_s, want=max(1, mails - NEED_LESS) if n % 3 == 0 else mails)
