"""Rounds, and the patience with which trouble is waited out."""

import asyncio
from typing import Any

import pytest

from outlast._runtime.events import Events
from outlast._runtime.patience import TRANSIENT, Patience
from outlast._runtime.rounds import Rounds, wait_for_event
from outlast._world import SystemWorld
from outlast.errors import SchemaError, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from tests.runtime.stage import Clock, Heard, soon, turns


class Actor:
    """Answers what it was given, in order; then an hour."""

    name = "actor"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.beats = 0
        self.news = asyncio.Event()

    async def beat(self) -> float:
        self.beats += 1
        self.news.set()
        answer = self.answers.pop(0) if self.answers else 3_600.0
        if isinstance(answer, BaseException):
            raise answer
        return float(answer)

    async def has_beaten(self, count: int) -> None:
        async with asyncio.timeout(20):
            while self.beats < count:
                self.news.clear()
                await self.news.wait()


def _run(actor: Actor, events: Events, loops: list[asyncio.Task[Any]]) -> Rounds:
    rounds = Rounds(actor, events=events, world=SystemWorld())
    loops.append(asyncio.create_task(rounds.run()))
    return rounds


async def test_the_first_round_is_at_once_and_the_next_when_it_says(
    events: Events, loops: list[asyncio.Task[Any]]
) -> None:
    actor = Actor(0.0, 0.01, 3_600.0)

    _run(actor, events, loops)

    await actor.has_beaten(3)
    await turns()
    assert actor.beats == 3


async def test_a_wake_comes_before_the_time(events: Events, loops: list[asyncio.Task[Any]]) -> None:
    actor = Actor()
    rounds = _run(actor, events, loops)
    await actor.has_beaten(1)

    rounds.wake()
    rounds.wake()
    await actor.has_beaten(2)
    await turns()

    assert actor.beats == 2


async def test_a_wake_during_a_round_is_not_lost(events: Events, loops: list[asyncio.Task[Any]]) -> None:
    beating, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Actor):
        async def beat(self) -> float:
            if self.beats == 0:
                beating.set()
                await go_on.wait()
            return await super().beat()

    actor = Slow()
    rounds = _run(actor, events, loops)
    await soon(beating.wait())
    rounds.wake()
    go_on.set()

    await actor.has_beaten(2)


@pytest.mark.parametrize(
    "error", [*(kind("away") for kind in TRANSIENT), StoreError("odd"), ZeroDivisionError("a bug")]
)
async def test_trouble_is_told_once_and_waited_out(
    events: Events, loops: list[asyncio.Task[Any]], heard: Heard, error: Exception
) -> None:
    actor = Actor(error, error)

    _run(actor, events, loops)
    await actor.has_beaten(3)
    await turns()

    names = [name for name, _ in heard.all]
    assert (names.count("store.away"), names.count("store.back")) == (1, 1)
    assert names.count("loop.failed") == (0 if isinstance(error, TRANSIENT) else 2)


async def test_a_cancelled_loop_ends(events: Events) -> None:
    actor = Actor()
    task = asyncio.create_task(Rounds(actor, events=events, world=SystemWorld()).run())
    await actor.has_beaten(1)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_event_is_waited_for_and_not_cleared() -> None:
    event = asyncio.Event()
    assert not await wait_for_event(event, 0.001)
    assert not await wait_for_event(event, -1)

    event.set()

    assert await wait_for_event(event, 0)
    assert await wait_for_event(event, 3_600)
    assert event.is_set()


def test_what_is_transient_is_the_trouble_of_the_whole_database() -> None:
    assert set(TRANSIENT) == {StoreUnavailable, StoreFull, StoreReadOnly, SchemaError}


def test_waits_grow_to_a_bound_and_begin_anew_when_it_is_well(clock: Clock, heard: Heard) -> None:
    events = Events("")
    events.listen(heard)
    patience = Patience("who", events, clock)
    error = StoreUnavailable("away")

    waits = [patience.next_s(error) for _ in range(200)]
    patience.well()
    patience.well()
    again = patience.next_s(error)

    ceilings = [min(5.0, 0.05 * 2 ** (turn + 1)) for turn in range(200)]
    assert all(0.25 * ceiling <= wait <= ceiling for wait, ceiling in zip(waits, ceilings, strict=True))
    assert len(set(waits[20:])) > 100  # jitter: processes must not come back in step.
    assert again <= 0.1
    assert [name for name, _ in heard.all] == ["store.away", "store.back", "store.away"]


async def test_what_is_no_trouble_of_the_database_passes_through(clock: Clock, events: Events) -> None:
    async def refuse() -> None:
        raise StoreError("value out of range")

    with pytest.raises(StoreError, match="out of range"):
        await Patience("who", events, clock).until_done(refuse)


async def test_patience_ends_where_it_was_told_to(events: Events) -> None:
    calls: list[int] = []

    async def away() -> None:
        calls.append(1)
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        await soon(Patience("who", events, SystemWorld()).until_done(away, give_up_s=0.2))
    assert len(calls) >= 2

    with pytest.raises(StoreUnavailable):
        await soon(Patience("who", events, SystemWorld()).until_done(away, give_up_s=0.0))
