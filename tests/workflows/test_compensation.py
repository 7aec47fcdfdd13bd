"""What is undone when a workflow fails: newest first, recorded, and not stopped by a failure."""

from typing import Any

from outlast import Engine, sleep, step, workflow
from outlast.testing import assert_failed, assert_status, clock_of, crash_before_commit, drain
from tests.workflows.programs import SEEN, Declined, saga


async def test_what_was_done_is_undone_newest_first(hand: Engine) -> None:
    handle = await hand.start(saga.new(bad=3))
    await drain(hand)

    found = await assert_status(hand, handle, "compensated")
    assert found.error is not None
    assert "Declined: order 3" in found.error["message"]
    assert SEEN == ["reserve 1", "charge 1", "charge 2", "charge 3", "refund 2 200", "refund 1 100"]


async def test_an_error_of_the_workflow_s_own_code_undoes_too(hand: Engine) -> None:
    handle = await hand.start(saga.new(bad=0))
    await drain(hand)

    found = await assert_status(hand, handle, "compensated")
    assert found.error is not None
    assert found.error["message"] == "and then"
    assert SEEN[-3:] == ["refund 3 300", "refund 2 200", "refund 1 100"]


async def test_with_nothing_to_undo_it_just_fails(hand: Engine) -> None:
    handle = await hand.start(saga.new(bad=1))
    await drain(hand)

    await assert_failed(hand, handle, "Declined: order 1")


async def test_a_compensation_that_fails_stops_no_other(hand: Engine) -> None:
    async def undo(number: int) -> None:
        SEEN.append(f"undo {number}")
        if number == 2:
            raise ValueError("cannot")

    @step(compensate=undo)
    async def do(number: int) -> int:
        return number

    @workflow
    async def three() -> None:
        for number in range(1, 4):
            await do(number)
        raise Declined

    handle = await hand.start(three.new())
    await drain(hand)

    await assert_status(hand, handle, "compensation_failed")
    assert SEEN == ["undo 3", "undo 2", "undo 1"]


async def test_compensations_have_attempts_of_their_own_and_are_recorded(hand: Engine) -> None:
    @step(max_attempts=2)
    async def undo(result: int) -> None:
        SEEN.append(f"undo {result}")
        if SEEN.count(f"undo {result}") < 2:
            raise ValueError("not yet")

    @step(compensate=undo)
    async def do(number: int) -> int:
        return number * 10

    @workflow
    async def two() -> None:
        await do(1)
        await sleep(60)
        await do(2)
        raise Declined

    handle = await hand.start(two.new())
    for _ in range(4):
        await drain(hand)
        clock_of(hand).jump(61)

    await assert_status(hand, handle, "compensated")
    assert SEEN == ["undo 20", "undo 20", "undo 10", "undo 10"]


async def test_a_crash_before_the_failure_undoes_nothing_twice(hand: Engine) -> None:
    handle = await hand.start(saga.new(bad=3))
    with crash_before_commit(hand, saga, "reserve"):
        await drain(hand)

    await assert_status(hand, handle, "compensated")
    assert SEEN == ["reserve 1", *["reserve 1", "charge 1", "charge 2", "charge 3", "refund 2 200", "refund 1 100"]]


async def test_a_crash_before_a_compensation_is_recorded_runs_that_one_again(hand: Engine) -> None:
    handle = await hand.start(saga.new(bad=3))
    with crash_before_commit(hand, saga, "refund"):
        await drain(hand)

    await assert_status(hand, handle, "compensated")
    assert [seen for seen in SEEN if seen.startswith("charge")] == ["charge 1", "charge 2", "charge 3"]
    assert [seen for seen in SEEN if seen.startswith("refund")] == ["refund 2 200", "refund 2 200", "refund 1 100"]


async def test_retry_begins_anew_after_a_compensation_and_where_it_failed_otherwise(hand: Engine) -> None:
    good: list[Any] = []

    @step
    async def first() -> int:
        SEEN.append("first")
        return 1

    @step
    async def second() -> int:
        SEEN.append("second")
        if not good:
            raise Declined
        return 2

    @workflow
    async def both() -> int:
        return await first() + await second()

    handle = await hand.start(both.new())
    await drain(hand)
    await assert_failed(hand, handle)
    good.append(1)
    await hand.retry(handle.id)
    await drain(hand)
    assert await handle.result(10) == 3
    assert SEEN == ["first", "second", "second"]

    SEEN.clear()
    undone = await hand.start(saga.new(bad=2))
    await drain(hand)
    await hand.retry(undone.id)
    await drain(hand)
    await assert_status(hand, undone, "compensated")
    assert SEEN.count("reserve 1") == 2
