"""Children of workflows: called, started, failed, given up, and many."""

import asyncio
from typing import Any

from outlast import (
    TIMEOUT,
    Done,
    Engine,
    Machine,
    call_child,
    each,
    hours,
    job,
    parallel,
    sleep,
    start_child,
    step,
    wait_for_signal,
    workflow,
)
from outlast.errors import ChildFailed
from outlast.testing import assert_done, assert_failed, assert_status, clock_of, crash_before_commit, drain
from tests.engine.given import SOON_S
from tests.workflows.programs import SEEN, Declined, Receipt, charge, ship


@workflow(name="kids.pay")
async def pay(order: int, cents: int) -> Receipt:
    return await charge(order, cents)


@job(name="kids.square", max_attempts=1)
async def square(number: int) -> int:
    return number * number


class Walk(Machine, name="kids.walk"):
    steps: int

    @step
    async def start(self, ctx: Any) -> Any:
        return Done({"steps": self.steps})


@workflow(name="kids.patient")
async def patient() -> str:
    await wait_for_signal("never")
    return "?"


async def test_a_child_s_result_comes_back_typed(hand: Engine, runs: int) -> None:
    seen: list[Any] = []

    @workflow
    async def parent() -> None:
        seen.append(await call_child(pay.new(1, 500)))
        await sleep(60)

    handle = await hand.start(parent.new())
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    await assert_done(hand, handle)
    assert seen == [Receipt(1, 500)] * runs
    assert SEEN == ["charge 1"]


async def test_jobs_and_machines_are_children_too(hand: Engine) -> None:
    @workflow
    async def parent() -> Any:
        return list(await parallel(call_child(square.new(number=5)), call_child(Walk(steps=3))))

    handle = await hand.start(parent.new())
    await drain(hand)

    assert await assert_done(hand, handle) == [25, {"steps": 3}]
    assert [(child.program, child.status) for child in await hand.children(handle)] == [
        ("kids.square", "done"),
        ("kids.walk", "done"),
    ]


async def test_a_child_that_fails_says_how(hand: Engine) -> None:
    @workflow
    async def parent() -> Any:
        try:
            await call_child(pay.new(1, -5))
        except ChildFailed as error:
            return [error.status, error.error["type"].rpartition(".")[2], "Declined" in str(error)]

    handle = await hand.start(parent.new())
    await drain(hand)

    assert await assert_done(hand, handle) == ["failed", "Declined", True]
    assert Declined


async def test_a_child_that_takes_too_long_is_cancelled(hand: Engine) -> None:
    @workflow
    async def parent() -> Any:
        return await call_child(patient.new(), timeout=hours(1)) is TIMEOUT

    handle = await hand.start(parent.new())
    await drain(hand)
    clock_of(hand).jump(hours(1))
    await drain(hand)

    assert await assert_done(hand, handle) is True
    (child,) = await hand.children(handle)
    assert child.status == "cancelled"


async def test_a_started_child_runs_on_alone(hand: Engine) -> None:
    @workflow
    async def parent() -> str:
        return await start_child(patient.new(), correlation_key="kid")

    handle = await hand.start(parent.new())
    await drain(hand)

    id = await assert_done(hand, handle)
    await assert_status(hand, "kid", "waiting")
    found = await hand.find("kid")
    assert found is not None
    assert (found.id, found.parent) == (id, handle.id)


async def test_a_crash_starts_no_child_twice(hand: Engine) -> None:
    @workflow(name="kids.parent")
    async def parent() -> Any:
        await ship(1)  # type: ignore[misc]
        found = await call_child(square.new(number=3))
        await ship(2)  # type: ignore[misc]
        return found

    handle = await hand.start(parent.new())
    with crash_before_commit(hand, "kids.parent", "ship", times=2):
        await drain(hand)

    assert await assert_done(hand, handle) == 9
    assert len(await hand.children(handle)) == 1


async def test_a_tree_is_cancelled_whole(hand: Engine) -> None:
    @workflow
    async def parent() -> Any:
        await call_child(patient.new())

    handle = await hand.start(parent.new())
    await drain(hand)
    await hand.cancel(handle.id, tree=True)

    (child,) = await hand.children(handle)
    assert child.status == "cancelled"


async def test_a_child_that_is_cancelled_fails_its_parent_s_call(hand: Engine) -> None:
    @workflow
    async def parent() -> Any:
        await call_child(patient.new())

    handle = await hand.start(parent.new())
    await drain(hand)
    (child,) = await hand.children(handle)
    await hand.cancel(child.id, "not wanted")
    await drain(hand)

    await assert_failed(hand, handle, "ended as 'cancelled': Cancel: not wanted")


async def test_hundreds_of_children(worker: Engine) -> None:
    async def one(number: int) -> int:
        return await call_child(square.new(number=number))

    @workflow
    async def parent() -> int:
        return sum(await each(range(200), one, concurrency=50))

    handle = await worker.start(parent.new())

    assert await handle.result(100) == sum(number * number for number in range(200))


async def test_signals_and_children_are_heard_while_a_step_of_another_branch_runs(worker: Engine) -> None:
    gate = asyncio.Event()

    @step
    async def long() -> str:
        await gate.wait()
        return "long"

    async def other() -> Any:
        found = [await wait_for_signal("go"), await call_child(square.new(number=2))]
        gate.set()
        return found

    @workflow
    async def both() -> Any:
        return list(await parallel(long(), other()))

    handle = await worker.start(both.new())
    assert await worker.signal(handle, "go", 1) == "delivered"

    assert await handle.result(SOON_S) == ["long", [1, 4]]
