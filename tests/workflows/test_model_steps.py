"""What other models of workflows promise of steps and decisions: attempts, queues, undoing, ways that lead back."""

import asyncio
from typing import Any

import pytest

from outlast import Engine, backoff, call_child, days, hours, parallel, sleep, step, wait_for_signal, workflow
from outlast.errors import InstanceFailed
from outlast.testing import assert_done, assert_failed, assert_status, clock_of, crash_before_commit, drain
from tests.engine.given import SOON_S, Ear
from tests.workflows.programs import SEEN, Declined, charge, flaky, reserve, retries, ship


async def test_a_step_is_tried_once_unless_told_otherwise(hand: Engine) -> None:
    @workflow
    async def shop() -> None:
        await charge(1, -1)

    handle = await hand.start(shop.new())
    await drain(hand)

    await assert_failed(hand, handle, "Declined: order 1")
    assert SEEN == ["charge 1"]


async def test_attempts_that_failed_count_through_a_crash(hand: Engine) -> None:
    handle = await hand.start(retries.new(good_at=9))
    await drain(hand)
    clock_of(hand).jump(61)
    with crash_before_commit(hand, retries, flaky):
        await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    await assert_failed(hand, handle, "ValueError: not yet")
    assert SEEN.count("flaky") == 4  # three attempts, of which a crash repeated one.


async def test_a_step_that_is_tried_again_says_so_in_the_journal(hand: Engine) -> None:
    handle = await hand.start(retries.new(good_at=3))
    await drain(hand)

    found = (await hand.steps(handle))[1]

    assert (found.key, found.status, found.attempt) == ("flaky#1", "retrying", 1)
    assert found.error is not None
    assert found.error["message"] == "not yet: 1"
    assert found.wake_at is not None
    assert found.duration_s is not None


async def test_an_attempt_that_failed_leaves_no_data_to_the_next(hand: Engine) -> None:
    @step(max_attempts=2, backoff=backoff.constant(0))
    async def fill(basket: list[str]) -> list[str]:
        basket.append("apple")
        SEEN.append(list(basket))
        if len(SEEN) == 1:
            raise Declined
        return basket

    @workflow
    async def shop() -> list[list[str]]:
        basket: list[str] = []
        return [await fill(basket), basket]

    handle = await hand.start(shop.new())
    await drain(hand)

    assert await assert_done(hand, handle) == [["apple"], []]
    assert SEEN == [["apple"], ["apple"]]


async def test_waits_between_attempts_grow_as_told(hand: Engine) -> None:
    @step(max_attempts=4, backoff=backoff.exponential(base=60, cap=150))
    async def fails() -> None:
        SEEN.append(len(SEEN))
        raise Declined

    @workflow
    async def shop() -> None:
        await fails()

    handle = await hand.start(shop.new())
    await drain(hand)
    for wait_s in (60, 120, 150):
        before = len(SEEN)
        clock_of(hand).jump(wait_s - 5)
        await drain(hand)
        assert len(SEEN) == before
        clock_of(hand).jump(6)
        await drain(hand)
        assert len(SEEN) == before + 1

    await assert_failed(hand, handle)


async def test_a_workflow_goes_to_its_own_queue_unless_told_otherwise(hand: Engine) -> None:
    @workflow(queue="slow")
    async def shop() -> None: ...

    one, two = await hand.start(shop.new()), await hand.start(shop.new(), queue="quick", priority=-3)

    assert [(found.queue, found.priority) for found in (await one.get(), await two.get())] == [
        ("slow", 0),
        ("quick", -3),
    ]


async def test_what_was_done_is_undone_when_its_time_is_up(hand: Engine) -> None:
    @workflow(timeout=hours(2))
    async def shop() -> None:
        await charge(1, 100)
        await wait_for_signal("never")

    handle = await hand.start(shop.new())
    await drain(hand)
    clock_of(hand).jump(hours(2))
    await drain(hand)

    found = await assert_status(hand, handle, "compensated")
    assert found.error is not None
    assert found.error["type"] == "outlast.errors.WorkflowTimeout"
    assert SEEN == ["charge 1", "refund 1 100"]


async def test_what_was_undone_is_in_the_journal(hand: Engine) -> None:
    @workflow
    async def shop() -> None:
        await charge(1, 100)
        raise Declined

    handle = await hand.start(shop.new())
    await drain(hand)

    await assert_status(hand, handle, "compensated")
    found = [(step.key, step.branch, step.status) for step in await hand.steps(handle) if step.kind == "step"]
    assert found == [("charge#1", "", "done"), ("~undo/charge#1/refund#1", "~undo/charge#1", "done")]


async def test_decisions_nest_and_lead_back(hand: Engine) -> None:
    @workflow
    async def shop(kind: str) -> list[Any]:
        went: list[Any] = []
        while len(went) < 3:
            match kind:
                case "stock" if not went:
                    went.append(await reserve(1))
                case "stock":
                    if len(went) == 1:
                        went.append((await charge(1, 100)).cents)
                        await sleep(60)
                    else:
                        went.append(await ship(1))  # type: ignore[misc]
                case _:
                    break
        return went

    stock, other = await hand.start(shop.new("stock")), await hand.start(shop.new("other"))
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert await assert_done(hand, stock) == ["stock 1", 100, 1]
    assert await assert_done(hand, other) == []
    assert SEEN == ["reserve 1", "charge 1", "ship 1"]


async def test_errors_of_branches_can_be_had_beside_results(hand: Engine) -> None:
    @workflow
    async def shop() -> list[str]:
        found = await asyncio.gather(reserve(1), charge(2, -1), reserve(3), return_exceptions=True)
        await sleep(60)
        return [type(one).__name__ if isinstance(one, BaseException) else str(one) for one in found]

    handle = await hand.start(shop.new())
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert await assert_done(hand, handle) == ["stock 1", "Declined", "stock 3"]
    assert sorted(SEEN) == ["charge 2", "reserve 1", "reserve 3"]


async def test_branches_may_run_in_other_queues(hand: Engine) -> None:
    @workflow
    async def part(number: int) -> str:
        return await reserve(number)

    @workflow
    async def whole() -> list[str]:
        return list(await parallel(call_child(part.new(1), queue="a"), call_child(part.new(2), queue="b")))

    handle = await hand.start(whole.new())
    await drain(hand)

    assert await assert_done(hand, handle) == ["stock 1", "stock 2"]
    assert [child.queue for child in await hand.children(handle)] == ["a", "b"]


async def test_the_call_of_a_child_is_in_the_journal(hand: Engine) -> None:
    @workflow
    async def part() -> int:
        return 5

    @workflow
    async def whole() -> int:
        return await call_child(part.new())

    handle = await hand.start(whole.new())
    await drain(hand)

    (child,) = await hand.children(handle)
    (found,) = await hand.steps(handle)
    assert (found.key, found.kind, found.status) == ("child:part#1", "child", "done")
    assert (found.value["id"], found.value["status"], found.value["result"]) == (child.id, "done", 5)


async def test_a_parent_that_is_cancelled_alone_leaves_its_children(hand: Engine) -> None:
    @workflow
    async def part() -> Any:
        return await wait_for_signal("go")

    @workflow
    async def whole() -> Any:
        return await call_child(part.new())

    handle = await hand.start(whole.new())
    await drain(hand)
    await hand.cancel(handle.id, "not wanted")

    (child,) = await hand.children(handle)
    assert child.status == "waiting"
    found = await assert_status(hand, handle, "cancelled")
    assert found.error is not None
    assert found.error["message"] == "not wanted"


async def test_a_cancelled_workflow_undoes_nothing(hand: Engine) -> None:
    @workflow
    async def shop() -> None:
        await charge(1, 100)
        await sleep(days(1))

    handle = await hand.start(shop.new())
    await drain(hand)
    await hand.cancel(handle.id)
    await drain(hand)

    await assert_status(hand, handle, "cancelled")
    assert SEEN == ["charge 1"]


async def test_each_recorded_step_is_told_once_it_is_committed(worker: Engine) -> None:
    ear = Ear(worker)
    tries: list[int] = []

    @step(max_attempts=2, backoff=backoff.constant(0))
    async def second_time() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("not yet")
        return 1

    @step
    async def never() -> None:
        raise KeyError("no")

    @workflow(name="model.told")
    async def told() -> None:
        await second_time()
        await never()

    handle = await worker.start(told.new())
    with pytest.raises(InstanceFailed):
        await handle.result(SOON_S)

    await ear.hears("step.recorded", key="never#1", status="failed")
    heard = ear.all("step.recorded", id=handle.id, program="model.told", queue="default")
    assert [(said["key"], said["status"], said["attempt"], said["error"]) for said in heard] == [
        ("second_time#1", "retrying", 1, "ValueError: not yet"),
        ("second_time#1", "done", 1, None),
        ("never#1", "failed", 1, "KeyError: 'no'"),
    ]
    assert all(said["duration_s"] >= 0 for said in heard)


async def test_a_life_is_told_by_events(worker: Engine) -> None:
    ear = Ear(worker)

    @workflow(name="model.shop")
    async def shop() -> Any:
        await reserve(1)
        return await wait_for_signal("go")

    handle = await worker.start(shop.new())
    await ear.hears("instance.started", id=handle.id, program="model.shop")
    await ear.hears("step.stop", id=handle.id, kind="await")
    await worker.signal(handle, "go", 1)
    assert await handle.result(SOON_S) == 1

    await ear.hears("signal.sent", id=handle.id, signal="go", result="delivered")
    await ear.hears("step.stop", id=handle.id, kind="done")
    await ear.hears("instance.ended", id=handle.id, status="done")
