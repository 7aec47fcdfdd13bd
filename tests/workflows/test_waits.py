"""Waiting: for time and for signals, early and late, in branches, through restarts."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from outlast import (
    TIMEOUT,
    Engine,
    hours,
    parallel,
    sleep,
    sleep_until,
    wait_for_all,
    wait_for_any,
    wait_for_signal,
    workflow,
)
from outlast.testing import assert_awaiting, assert_done, assert_failed, assert_status, clock_of, drain
from tests.engine.given import SOON_S
from tests.workflows.programs import SEEN, payment, reserve, ship


async def test_a_signal_ends_the_wait(hand: Engine) -> None:
    handle = await hand.start(payment.new(3600))
    await drain(hand)
    await assert_awaiting(hand, handle, "paid")

    assert await hand.signal(handle, "paid", {"cents": 5}) == "delivered"
    await drain(hand)

    assert await assert_done(hand, handle) == {"cents": 5}
    assert SEEN == ["reserve 1", "ship 1"]
    assert [signal.consumed_at is not None for signal in await hand.signals(handle)] == [True]


async def test_a_signal_that_came_first_counts(hand: Engine) -> None:
    handle = await hand.start(payment.new(3600))
    await hand.signal(handle, "paid", 1)
    await hand.signal(handle, "paid", 2)
    await drain(hand)

    assert await assert_done(hand, handle) == 1
    assert len([signal for signal in await hand.signals(handle) if signal.consumed_at is None]) == 1


async def test_a_deadline_ends_it_with_the_default_and_stays_ended(hand: Engine, runs: int) -> None:
    seen: list[Any] = []

    @workflow
    async def waits() -> str:
        seen.append(await wait_for_signal("paid", timeout=hours(1)))
        await sleep(hours(1))
        return "over"

    handle = await hand.start(waits.new())
    await drain(hand)
    clock_of(hand).jump(hours(1))
    await drain(hand)
    await hand.signal(handle, "paid", "too late")
    clock_of(hand).jump(hours(1))
    await drain(hand)

    assert await assert_done(hand, handle) == "over"
    assert seen == [TIMEOUT] * runs
    assert not TIMEOUT


async def test_the_first_of_several(hand: Engine) -> None:
    @workflow
    async def waits() -> Any:
        return [await wait_for_any("a", "b"), await wait_for_any("a", "b", timeout=60, default=None)]

    handle = await hand.start(waits.new())
    await drain(hand)
    await assert_awaiting(hand, handle, ["a", "b"])
    await hand.signal(handle, "b", 2)
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert await assert_done(hand, handle) == [["b", 2], None]


async def test_all_of_several_in_any_order(hand: Engine) -> None:
    @workflow
    async def waits() -> Any:
        return await wait_for_all("a", "b", "c", timeout=60)

    handle = await hand.start(waits.new())
    await drain(hand)
    for name in ("c", "a", "a"):
        await hand.signal(handle, name, name.upper())
        await drain(hand)
        await assert_status(hand, handle, "waiting")
    await hand.signal(handle, "b", "B")
    await drain(hand)

    assert await assert_done(hand, handle) == {"a": "A", "b": "B", "c": "C"}
    assert len([signal for signal in await hand.signals(handle) if signal.consumed_at is None]) == 1


async def test_until_an_instant(hand: Engine) -> None:
    @workflow
    async def naps(until: datetime) -> str:
        await sleep_until(until)
        await sleep_until(datetime(2020, 1, 1, tzinfo=UTC))
        return "awake"

    handle = await hand.start(naps.new(clock_of(hand).now() + timedelta(hours=3)))
    await drain(hand)
    clock_of(hand).jump(hours(2.9))
    await drain(hand)
    await assert_status(hand, handle, "waiting")
    clock_of(hand).jump(hours(0.2))
    await drain(hand)

    assert await assert_done(hand, handle) == "awake"


async def test_branches_wait_side_by_side(hand: Engine) -> None:
    async def one() -> str:
        await sleep(hours(1))
        return await reserve(1)

    async def two() -> Any:
        return await wait_for_signal("go")

    @workflow
    async def waits() -> Any:
        return list(await parallel(one(), two(), ship(5)))  # type: ignore[arg-type]

    handle = await hand.start(waits.new())
    await drain(hand)
    assert SEEN == ["ship 5"]
    found = await assert_awaiting(hand, handle, "go")
    assert found.wake_at is not None
    await hand.signal(handle, "go", "went")
    await drain(hand)
    await assert_status(hand, handle, "waiting")
    clock_of(hand).jump(hours(1))
    await drain(hand)

    assert await assert_done(hand, handle) == ["stock 1", "went", 5]
    assert SEEN == ["ship 5", "reserve 1"]


async def test_code_that_waits_is_left_through_its_finally_and_does_nothing_by_it(hand: Engine) -> None:
    @workflow
    async def tidy() -> str:
        try:
            await wait_for_signal("go")
        except Exception:
            SEEN.append("caught")
        finally:
            await ship(1)
        return "over"

    handle = await hand.start(tidy.new())
    await drain(hand)
    assert SEEN == []
    await hand.signal(handle, "go")
    await drain(hand)

    assert await assert_done(hand, handle) == "over"
    assert SEEN == ["ship 1"]


async def test_the_whole_workflow_has_a_time(hand: Engine) -> None:
    @workflow(timeout=hours(2))
    async def slow() -> None:
        await sleep(hours(1))
        await wait_for_signal("never")

    handle = await hand.start(slow.new())
    for _ in range(3):
        await drain(hand)
        clock_of(hand).jump(hours(1))

    await assert_failed(hand, handle, "WorkflowTimeout: the workflow ran longer than its timeout of 7200 s")


async def test_a_worker_wakes_it_in_time_and_by_signal(worker: Engine) -> None:
    @workflow
    async def waits() -> Any:
        await sleep(0.03)
        first = await wait_for_signal("go")
        second = await wait_for_signal("never", timeout=0.03, default="late")
        return [first, second]

    handles = [await worker.start(waits.new()) for _ in range(20)]
    for number, handle in enumerate(handles):
        assert await worker.signal(handle, "go", number) == "delivered"

    found = await asyncio.gather(*(handle.result(SOON_S) for handle in handles))
    assert found == [[number, "late"] for number in range(20)]


@pytest.mark.parametrize("names", [(), ("a", "a"), ("",)])
async def test_bad_names_are_refused(hand: Engine, names: tuple[str, ...]) -> None:
    @workflow
    async def waits() -> None:
        await wait_for_any(*names)

    handle = await hand.start(waits.new())
    await drain(hand)

    await assert_failed(hand, handle, "ConfigError")
