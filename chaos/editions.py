"""Two editions of one application, which a rolling deployment has alive side by side, and what must come of both.

The first knows version 1 of everything. The second

* has a tour of version 2 only, which upgrades what began as version 1;
* has changed the code of a visit of version 1 in a way that both can go on with, and has a version 2 beside it;
* has a stamp of version 2 beside that of version 1.
"""

from __future__ import annotations

import asyncio
from dataclasses import field
from typing import Any, Final

from chaos.programs import answer
from chaos.trips import marked
from outlast import Done, Machine, Next, StepContext, job, sleep, step, upgrade, workflow
from outlast._kernel.program import Program

SHARES: Final = {"tour": 0.4, "visit": 0.4, "stamp": 0.2}
"""What a feeder of either edition starts, by program."""
STOPS: Final = 8
"""The steps of a tour."""
VISIT_S: Final = 0.5
"""How long a visit sleeps between its steps."""


class OldTour(Machine, name="tour", initial="travel", retention=None):
    """Goes from stop to stop, and counts them."""

    n: int
    nap_s: float
    trail: list[int] = field(default_factory=list)

    @step
    async def travel(self, ctx: StepContext) -> Next | Done:
        """One stop. Every second time by way of the queue: another process may take it from there."""
        await asyncio.sleep(self.nap_s)
        self.trail = [*self.trail, len(self.trail)]
        if len(self.trail) < STOPS:
            return Next(self.travel, inline=False if len(self.trail) % 2 else None)
        if self.trail != list(range(STOPS)):
            raise RuntimeError(f"these are not the stops of a tour: {self.trail}")
        return Done(answer(self.n))


class Tour(Machine, name="tour", version=2, initial="travel", retention=None):
    """The same; it writes its stops down by name."""

    n: int
    nap_s: float
    names: list[str] = field(default_factory=list)

    @upgrade(from_version=1)
    @staticmethod
    def names_for_numbers(old: dict[str, Any]) -> dict[str, Any]:
        """What an instance of the first edition has seen."""
        return {"n": old["n"], "nap_s": old["nap_s"], "names": [f"stop {number}" for number in old["trail"]]}

    @step
    async def travel(self, ctx: StepContext) -> Next | Done:
        """One stop."""
        await asyncio.sleep(self.nap_s)
        self.names = [*self.names, f"stop {len(self.names)}"]
        if len(self.names) < STOPS:
            return Next(self.travel, inline=False if len(self.names) % 2 else None)
        if self.names != [f"stop {number}" for number in range(STOPS)]:
            raise RuntimeError(f"these are not the stops of a tour: {self.names}")
        return Done(answer(self.n))


@step
async def knock(nap_s: float) -> list[int]:
    """Begins a visit."""
    with marked() as mine:
        await asyncio.sleep(nap_s)
        return mine


@step
async def greet(nap_s: float) -> list[int]:
    """What only the second edition does."""
    with marked() as mine:
        await asyncio.sleep(nap_s)
        return mine


@step
async def leave(nap_s: float, told: list[int]) -> list[int]:
    """Ends a visit. Gives back what it was told, too."""
    with marked() as mine:
        await asyncio.sleep(nap_s)
        return [*mine, *told]


@workflow(name="visit", retention=None)
async def old_visit(n: int, nap_s: float) -> int:
    """Two steps, and a sleep between them."""
    told = await knock(nap_s)
    await sleep(VISIT_S)
    return _told(n, told, await leave(nap_s, told))


def _changed_visit() -> Program:
    """A definition of its own, as another release of the same module has it."""

    @workflow(name="visit", retention=None)
    async def visit(n: int, nap_s: float) -> int:
        """The same, with a step added: either edition goes on with what the other has begun."""
        told = await knock(nap_s)
        await greet(nap_s)
        await sleep(VISIT_S)
        return _told(n, told, await leave(nap_s, told))

    return visit


@workflow(name="visit", version=2, retention=None)
async def visit(n: int, nap_s: float) -> int:
    """A call of the same step added in front, which version 1 could not have gone on with."""
    first = await knock(nap_s)
    await sleep(VISIT_S)
    told = first + await knock(nap_s)
    return _told(n, told, await leave(nap_s, told))


def _told(n: int, told: list[int], found: list[int]) -> int:
    if found[1:] != told:
        raise RuntimeError("a step's result is not what it returned")
    return answer(n)


@job(name="stamp", retention=None)
async def old_stamp(n: int, nap_s: float) -> int:
    """Waits on the event loop."""
    await asyncio.sleep(nap_s)
    return answer(n)


@job(name="stamp", version=2, retention=None)
async def stamp(n: int, nap_s: float, colour: str) -> int:
    """The same, with an argument that version 1 does not have."""
    await asyncio.sleep(nap_s)
    return answer(n)


EDITIONS: Final[dict[int, tuple[Program, ...]]] = {
    0: (),
    1: (OldTour.outlast_program, old_visit, old_stamp),
    2: (Tour.outlast_program, _changed_visit(), visit, old_stamp, stamp),
}
"""What a process of each edition knows; 0: none of this."""


def new(edition: int, name: str, *, n: int, nap_s: float) -> Any:
    """One instance as an edition starts it."""
    match name, edition:
        case "tour", 1:
            return OldTour(n=n, nap_s=nap_s)
        case "tour", _:
            return Tour(n=n, nap_s=nap_s)
        case "visit", _:
            return (old_visit if edition == 1 else visit).new(n=n, nap_s=nap_s)
    return old_stamp.new(n=n, nap_s=nap_s) if edition == 1 else stamp.new(n=n, nap_s=nap_s, colour="blue")
