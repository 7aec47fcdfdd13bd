"""What newcomers write: workflows of every shape, and every mistake that is easily made."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from outlast import (
    Engine,
    each,
    parallel,
    sleep,
    step,
    wait_for_signal,
    workflow,
)
from outlast.testing import assert_done, assert_failed, assert_status, by_hand, clock_of, drain
from tests.engine.given import soon
from tests.workflows.programs import SEEN, charge, reserve


@step
async def send(number: int) -> int:
    SEEN.append(f"send {number}")
    return number


async def test_gathers_within_gathers_run_each_step_once(hand: Engine) -> None:
    async def leaf(number: int) -> int:
        return await send(number)

    async def node(number: int) -> Any:
        return await asyncio.gather(leaf(number), asyncio.gather(leaf(number + 1), send(number + 2)))

    @workflow
    async def nested() -> Any:
        found = await asyncio.gather(node(1), node(10))
        await sleep(60)
        return found

    handle = await hand.start(nested.new())
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert await assert_done(hand, handle) == [[1, [2, 3]], [10, [11, 12]]]
    assert len(SEEN) == 6


async def test_branches_may_talk_through_queues_locks_and_semaphores(hand: Engine) -> None:
    @workflow
    async def pipeline() -> list[int]:
        queue: asyncio.Queue[int | None] = asyncio.Queue()
        two, found = asyncio.Semaphore(2), []

        async def produce(first: int) -> None:
            async with two:
                await queue.put(await send(first))

        async def consume() -> None:
            while (item := await queue.get()) is not None:
                found.append(item)
                await reserve(item)

        consumer = asyncio.create_task(consume())
        await asyncio.gather(*(produce(number) for number in range(5)))
        await queue.put(None)
        await consumer
        async with asyncio.Lock():
            await sleep(60)
        return sorted(found)

    handle = await hand.start(pipeline.new())
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert await assert_done(hand, handle) == [0, 1, 2, 3, 4]
    assert len(SEEN) == 10


async def test_recursion_as_deep_as_python_goes(hand: Engine) -> None:
    async def tree(depth: int) -> int:
        if depth == 0:
            return await send(1)
        return sum(await asyncio.gather(tree(depth - 1), tree(depth - 1)))

    async def endless() -> None:
        await endless()

    @workflow
    async def recursive(depth: int) -> int:
        if depth < 0:
            await endless()
        return await tree(depth)

    grown, fallen = await hand.start(recursive.new(6)), await hand.start(recursive.new(-1))
    await drain(hand)

    assert await assert_done(hand, grown) == 64
    await assert_failed(hand, fallen, "RecursionError")


async def test_a_context_manager_of_steps_is_left_when_it_is_over_and_not_when_it_waits(hand: Engine) -> None:
    @step
    async def release() -> None:
        SEEN.append("release")

    @contextlib.asynccontextmanager
    async def held() -> AsyncIterator[None]:
        await reserve(1)
        try:
            yield
        finally:
            await release()

    @workflow
    async def holds() -> None:
        async with held():
            await wait_for_signal("go")

    handle = await hand.start(holds.new())
    await drain(hand)
    assert SEEN == ["reserve 1"]
    await hand.signal(handle, "go")
    await drain(hand)

    await assert_done(hand, handle)
    assert SEEN == ["reserve 1", "release"]


async def test_five_thousand_items(worker: Engine) -> None:
    @workflow
    async def all_of_them() -> int:
        return len(await each(range(5_000), send, concurrency=50))

    handle = await worker.start(all_of_them.new())

    assert await handle.result(60) == 5_000
    assert len(set(SEEN)) == len(SEEN) == 5_000


async def test_a_cancelled_workflow_stops_its_step_and_commits_nothing_of_it(worker: Engine) -> None:
    began, left = asyncio.Event(), asyncio.Event()

    @step
    async def long() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    @workflow
    async def charged() -> None:
        await charge(1, 100)
        await long()

    handle = await worker.start(charged.new())
    await soon(began.wait())
    await worker.cancel(handle.id)
    await soon(left.wait())

    assert (await worker.get(handle.id)).status == "cancelled"
    assert SEEN == ["charge 1"]


async def test_steps_that_stood_one_after_the_other_may_stand_side_by_side(store_url: str) -> None:
    def before() -> Any:
        @workflow(name="wf.newcomer")
        async def one_by_one() -> None:
            await reserve(1)
            await send(2)
            await sleep(60)

        return one_by_one

    def after() -> Any:
        @workflow(name="wf.newcomer")
        async def together() -> None:
            await parallel(reserve(1), send(2))
            await sleep(60)

        return together

    await _under_new_code(store_url, before(), after())

    assert SEEN == ["reserve 1", "send 2"]


async def _under_new_code(url: str, before: Any, after: Any, *, jump_s: float = 61) -> Any:
    """Runs an instance until it waits, and on with the new code. How it is then."""
    async with by_hand(url=url, programs=[before]) as old:
        handle = await old.start(before.new())
        await drain(old)
        await assert_status(old, handle, "waiting")
    async with by_hand(url=url, programs=[after]) as new:
        clock_of(new).jump(jump_s)
        await drain(new)
        return await new.get(handle.id)
