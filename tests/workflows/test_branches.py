"""Branches at the same time: results in order, errors in two ways, thousands of items."""

import asyncio
from typing import Any

import pytest

from outlast import Engine, each, parallel, sleep, step, workflow
from outlast.testing import assert_done, assert_failed, clock_of, drain
from tests.engine.given import SOON_S, soon
from tests.workflows.programs import SEEN, Declined, charge, many, ship


async def test_items_run_some_at_a_time_and_come_back_in_order(worker: Engine) -> None:
    running: list[int] = []
    most: list[int] = []

    @step
    async def work(item: int) -> int:
        running.append(item)
        most.append(len(running))
        await asyncio.sleep(0)
        running.remove(item)
        return item * item

    @workflow
    async def squares() -> list[int]:
        return await each(range(50), work, concurrency=4)

    handle = await worker.start(squares.new())

    assert await handle.result(SOON_S) == [item * item for item in range(50)]
    assert max(most) <= 4


async def test_a_thousand_items(hand: Engine) -> None:
    handle = await hand.start(many.new(1_000))
    await drain(hand)

    assert await assert_done(hand, handle) == sum(range(1_000))
    assert len(SEEN) == 1_000


@pytest.mark.parametrize("kind", ["parallel", "each"])
async def test_the_first_failure_gives_the_others_up(worker: Engine, kind: str) -> None:
    gone = asyncio.Event()

    @step
    async def work(item: int) -> None:
        if item == 1:
            raise Declined("one")
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    @workflow
    async def both() -> str:
        try:
            if kind == "each":
                await each(range(2), work, concurrency=2)
            else:
                await parallel(work(0), work(1))
        except Declined as error:
            return str(error)
        return "?"

    handle = await worker.start(both.new())

    assert "Declined: one" in await handle.result(SOON_S)
    await soon(gone.wait())


async def test_all_may_end_before_the_errors_are_raised(hand: Engine) -> None:
    @workflow
    async def both() -> Any:
        try:
            await parallel(charge(1, -1), ship(2), charge(3, -1), on_error="complete_all")  # type: ignore[arg-type]
        except* Declined as group:
            found = [group.message, len(group.exceptions)]
        return found

    handle = await hand.start(both.new())
    await drain(hand)

    assert await assert_done(hand, handle) == ["2 of 3 branches failed", 2]
    assert sorted(SEEN) == ["charge 1", "charge 3", "ship 2"]


async def test_a_failed_branch_is_recalled_without_running_the_others_again(hand: Engine) -> None:
    @workflow
    async def both() -> str:
        try:
            await parallel(ship(1), charge(2, -1))  # type: ignore[arg-type]
        except Declined:
            await sleep(60)
        return "over"

    handle = await hand.start(both.new())
    await drain(hand)
    before = sorted(SEEN)
    clock_of(hand).jump(61)
    await drain(hand)

    assert await assert_done(hand, handle) == "over"
    assert sorted(SEEN) == before


async def test_branches_that_are_no_steps_are_told_apart_by_their_name(hand: Engine) -> None:
    async def fulfil(number: int) -> list[int]:
        return [await ship(number), await ship(number + 10)]  # type: ignore[misc]

    @workflow
    async def both() -> Any:
        first = await ship(0)  # type: ignore[misc]
        return [first, *await asyncio.gather(*(fulfil(number) for number in range(1, 4)))]

    handle = await hand.start(both.new())
    await drain(hand)

    assert await assert_done(hand, handle) == [0, [1, 11], [2, 12], [3, 13]]


async def test_wrong_options_are_refused(hand: Engine) -> None:
    @workflow
    async def both(how: str) -> None:
        if how == "parallel":
            await parallel(ship(1), on_error="whatever")  # type: ignore[arg-type]
        else:
            await each([1], ship, concurrency=0)  # type: ignore[arg-type]

    for how, complaint in (("parallel", "on_error"), ("each", "concurrency")):
        handle = await hand.start(both.new(how))
        await drain(hand)
        await assert_failed(hand, handle, complaint)
