"""The workflows that crash runs are made of: trips, one right end for each, and what their steps write down.

A step returns by which claim it was run, and so the journal says which of its runs it holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from chaos.programs import HERE, answer, nap
from outlast import backoff, call_child, parallel, sleep, step, wait_for_signal, workflow
from outlast._kernel.program import DOING

CHILD_BASE: Final = 2_000_000
"""A child's number is that of its trip, plus this."""
SIGNAL: Final = "go"
FAILURE: Final = "~failure"
UNDO: Final = "~undo/"
SLEEP_S: Final = 0.03
LAST: Final = "ship#1"
"""The step that is told what all the others returned."""


class Place(NamedTuple):
    """Where a key of a trip's journal belongs: its branch (the first part of the path), and how far on it is there."""

    branch: str
    stage: int
    undo: str | None = None


PLACES: Final = {
    "reserve#1": Place("", 0, "release"),
    "charge#1": Place("", 1, "refund"),
    "left#1/pack#1": Place("left", 2, "unpack"),
    "left#1/label#1": Place("left", 3),
    "right#1/inform#1": Place("right", 2, "retract"),
    "right#1/sleep#1": Place("right", 3),
    "right#1/weigh#1": Place("right", 4),
    f"signal:{SIGNAL}#1": Place("", 5),
    "child": Place("", 6),
    LAST: Place("", 7),
}
"""All keys of a trip that goes well. That of the child ends with its program: see `child_key`."""


class LostInTransit(Exception):
    """What some trips end with."""


@contextmanager
def marked() -> Iterator[list[int]]:
    """A step writes down that its code begins and ends. Gives what it returns: its trip's claim, by number."""
    here, doing = HERE.get(), DOING.get()
    if here is None or doing is None:
        raise RuntimeError("a trip's step was called outside of a worker")
    history, id, epoch = here
    history.write("begin", id, epoch, *doing)
    try:
        yield [epoch]
    finally:
        history.write("over", id, epoch, *doing)


def _undo(name: str) -> Callable[..., Any]:
    async def undo(nap_s: float, result: list[int]) -> list[int]:
        with marked() as mine:
            await asyncio.sleep(nap_s)
            return [*mine, *result]

    undo.__name__ = name
    return step(undo)


@step(compensate=_undo("release"))
async def reserve(nap_s: float) -> list[int]:
    """Begins."""
    with marked() as mine:
        await asyncio.sleep(nap_s)
        return mine


@step(compensate=_undo("refund"))
def charge(nap_s: float) -> list[int]:
    """Runs on a thread."""
    with marked() as mine:
        time.sleep(nap_s)
        return mine


@step(compensate=_undo("unpack"))
async def pack(nap_s: float) -> list[int]:
    """The left branch's first."""
    with marked() as mine:
        await asyncio.sleep(nap_s)
        return mine


@step
async def label(nap_s: float, fails: bool) -> list[int]:
    """Fails, in some trips, while the other branch runs."""
    with marked() as mine:
        await asyncio.sleep(nap_s)
        if fails:
            raise LostInTransit("label")
        return mine


@step(compensate=_undo("retract"))
async def inform(nap_s: float) -> list[int]:
    """The right branch's first."""
    with marked() as mine:
        await asyncio.sleep(nap_s)
        return mine


@step(max_attempts=2, backoff=backoff.constant(0.02))
async def weigh(nap_s: float) -> list[int]:
    """Always fails at first."""
    with marked() as mine:
        await asyncio.sleep(nap_s)
        if (DOING.get() or ("", 0))[1] == 0:
            raise RuntimeError("the first attempt always fails")
        return mine


@step
async def ship(nap_s: float, told: list[list[int]], fails: bool) -> list[list[int]]:
    """Ends the trip, or fails when all is done. Gives back what the others returned, too."""
    with marked() as mine:
        await asyncio.sleep(nap_s)
        if fails:
            raise LostInTransit("ship")
        return [mine, *told]


@step
async def carry(nap_s: float) -> list[int]:
    """A parcel's only step."""
    with marked() as mine:
        await asyncio.sleep(nap_s)
        return mine


@workflow(retention=None)
async def parcel(n: int, nap_s: float) -> int:
    """The child of every second trip; that of the others is a job."""
    await carry(nap_s)
    return answer(n)


@workflow(retention=None)
async def trip(n: int, nap_s: float) -> int:
    """Steps in a row, two branches, waits, a child, and for some a failure that undoes what was done."""

    async def left() -> list[list[int]]:
        return [await pack(nap_s), await label(nap_s, fails_at(n) == "label")]

    async def right() -> list[list[int]]:
        informed = await inform(nap_s)
        await sleep(SLEEP_S)
        return [informed, await weigh(nap_s)]

    told = [await reserve(nap_s)]
    told.append(await charge(nap_s))  # type: ignore[misc]  # a plain function: in a workflow it is awaited like any.
    for branch in await parallel(left(), right()):
        told += branch
    if await wait_for_signal(SIGNAL) != n:
        raise RuntimeError("this signal was for another trip")
    child = (parcel if n % 2 else nap).new(n=CHILD_BASE + n, nap_s=nap_s)
    if await call_child(child) != answer(CHILD_BASE + n):
        raise RuntimeError("this child was another trip's")
    _, *shipped = await ship(nap_s, told, fails_at(n) == "ship")
    if shipped != told:
        raise RuntimeError("a step's result is not what it returned")
    return answer(n)


TOLD: Final = ("reserve#1", "charge#1", "left#1/pack#1", "left#1/label#1", "right#1/inform#1", "right#1/weigh#1")
"""The steps whose results `ship` is told, in that order."""


def fails_at(n: int) -> str | None:
    """The step at which a trip fails; None: it goes well."""
    return {2: "label", 3: "ship", 6: "ship", 7: "label"}.get(n % 10)


def child_key(n: int) -> str:
    """The key of a trip's child."""
    return "child:parcel#1" if n % 2 else "child:nap#1"


def status_of(n: int) -> str:
    """How a trip ends."""
    return "done" if fails_at(n) is None else "compensated"
