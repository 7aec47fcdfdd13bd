"""Starts: one alone waits for nobody, many share a transaction, and each hears its own answer."""

import asyncio
from typing import Any

import pytest

from outlast._model import NewInstance
from outlast._runtime import gather as module
from outlast._runtime.events import Events
from outlast._runtime.intake import Intake
from outlast._world import SystemWorld
from outlast.errors import StoreError, StoreUnavailable
from tests.runtime.stage import soon, turns
from tests.store.given import Given

BATCH_MAX = 10


class Held:
    """Holds the database's answers back, and notes how many rows came at once."""

    def __init__(self, given: Given) -> None:
        self.sizes: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.errors: list[Exception] = []
        self._real = given.store.instances.add
        given.store.instances.add = self._add  # type: ignore[method-assign]

    async def _add(self, rows: Any) -> Any:
        self.sizes.append(len(rows))
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        return await self._real(rows)


@pytest.fixture
async def held(given: Given) -> Held:
    return Held(given)


@pytest.fixture
def intake(given: Given, held: Held, events: Events) -> Intake:
    return Intake(given.store.instances, batch_max=BATCH_MAX, events=events, world=SystemWorld())


def _begin(intake: Intake, rows: list[NewInstance]) -> asyncio.Task[Any]:
    return asyncio.create_task(intake.add(rows))


async def test_one_alone_is_inserted_at_once_and_by_itself(given: Given, held: Held, intake: Intake) -> None:
    row = given.new()

    assert await soon(intake.add([row])) == []

    assert held.sizes == [1]
    assert intake.tasks() == []
    assert await given.status(row.id) == "ready"


async def test_those_who_come_meanwhile_share_the_next_transaction(given: Given, held: Held, intake: Intake) -> None:
    held.gate.clear()
    adding = [_begin(intake, [given.new()]) for _ in range(6)]
    await turns()
    assert held.sizes == [1]
    held.gate.set()

    assert await soon(asyncio.gather(*adding)) == [[]] * 6
    assert held.sizes == [1, 5]
    assert await given.store.instances.totals() == {"ready": 6}


async def test_a_transaction_has_its_limit_and_a_call_is_never_cut(given: Given, held: Held, intake: Intake) -> None:
    held.gate.clear()
    counts = [1, 4, 5, 3, 25, 2]
    adding = [_begin(intake, [given.new() for _ in range(count)]) for count in counts]
    await turns()
    held.gate.set()

    await soon(asyncio.gather(*adding))

    assert held.sizes == [1, 9, 3, 25, 2]
    assert await given.store.instances.totals() == {"ready": 40}


async def test_each_hears_of_its_own_conflicts(given: Given, held: Held, intake: Intake) -> None:
    holder = await given.one(key="taken")
    held.gate.clear()
    first = _begin(intake, [given.new()])
    mine = _begin(intake, [given.new(key="free")])
    refused_row = given.new(key="taken")
    theirs = _begin(intake, [given.new(), refused_row])
    await turns()
    held.gate.set()

    assert await soon(first) == []
    assert await soon(mine) == []
    (refused,) = await soon(theirs)
    assert (refused.id, refused.key, refused.holder) == (refused_row.id, "taken", holder)


async def test_a_refused_row_costs_only_its_own_caller(given: Given, held: Held, intake: Intake) -> None:
    held.gate.clear()
    adding = [_begin(intake, [given.new()]) for _ in range(4)]
    await turns()
    # The first goes alone; the other three together, then each by itself: the second of them is at fault.
    held.errors = []
    real = held._real

    async def picky(rows: Any) -> Any:
        if any(row.id == bad for row in rows):
            raise StoreError("value out of range")
        return await real(rows)

    bad = intake._pending[1][0][0].id
    held._real = picky
    held.gate.set()

    answers = await soon(asyncio.gather(*adding, return_exceptions=True))
    assert [isinstance(answer, StoreError) for answer in answers] == [False, False, True, False]
    assert await given.store.instances.totals() == {"ready": 3}


async def test_an_outage_is_waited_out(given: Given, held: Held, intake: Intake) -> None:
    held.errors = [StoreUnavailable("away"), StoreUnavailable("away")]

    assert await soon(intake.add([given.new()])) == []

    assert held.sizes == [1, 1, 1]


async def test_a_long_outage_is_told_to_every_caller(
    given: Given, held: Held, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GIVE_UP_S", 0.0)
    held.errors = [StoreUnavailable("away")] * 9
    adding = [_begin(intake, [given.new()]) for _ in range(3)]

    answers = await soon(asyncio.gather(*adding, return_exceptions=True))

    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3


async def test_a_caller_who_leaves_takes_nobody_along(given: Given, held: Held, intake: Intake) -> None:
    held.gate.clear()
    alone, leaver, stayer = (_begin(intake, [given.new()]) for _ in range(3))
    await turns()

    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    held.gate.set()

    assert await soon(asyncio.gather(alone, stayer)) == [[], []]


async def test_when_the_one_alone_leaves_the_others_go_on(given: Given, held: Held, intake: Intake) -> None:
    held.gate.clear()
    alone, one, two = (_begin(intake, [given.new()]) for _ in range(3))
    await turns()

    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    held.gate.set()

    assert await soon(asyncio.gather(one, two)) == [[], []]


async def test_settled_waits_for_all_that_was_taken(given: Given, held: Held, intake: Intake) -> None:
    held.gate.clear()
    adding = [_begin(intake, [given.new()]) for _ in range(3)]
    await turns()
    settled = asyncio.create_task(intake.settled())
    await turns()
    assert not settled.done()

    held.gate.set()
    await soon(settled)

    assert await given.store.instances.totals() == {"ready": 3}
    await soon(asyncio.gather(*adding))
    await soon(intake.settled())


async def test_closing_refuses_what_waits_and_what_comes(given: Given, held: Held, intake: Intake) -> None:
    held.gate.clear()
    adding = [_begin(intake, [given.new()]) for _ in range(3)]
    await turns()

    intake.close()
    held.gate.set()

    answers = await soon(asyncio.gather(*adding, return_exceptions=True))
    assert answers[0] == []  # it had begun.
    assert [type(answer) for answer in answers[1:]] == [StoreUnavailable] * 2
    with pytest.raises(StoreUnavailable, match="the engine was closed while this start was under way"):
        await soon(intake.add([given.new()]))
