"""What newcomers write: workflows of every shape, and every mistake that is easily made."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from outlast import (
    Cancel,
    Engine,
    InstanceFailed,
    backoff,
    each,
    parallel,
    sleep,
    step,
    wait_for_all,
    wait_for_signal,
    workflow,
)
from outlast.errors import DefinitionError
from outlast.testing import assert_done, assert_failed, assert_status, by_hand, clock_of, drain
from tests.engine.given import SOON_S, Engines, soon
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


async def test_a_signal_that_comes_while_a_step_of_another_branch_runs_is_heard(worker: Engine) -> None:
    began, stopped = asyncio.Event(), asyncio.Event()

    @step
    async def long() -> None:
        began.set()
        await stopped.wait()

    @step
    async def stop() -> None:
        stopped.set()

    async def watch() -> None:
        await wait_for_signal("stop")
        await stop()

    @workflow
    async def stoppable() -> str:
        await parallel(long(), watch())
        return "stopped"

    handle = await worker.start(stoppable.new())
    await soon(began.wait())
    await worker.signal(handle, "stop")
    try:
        assert await handle.result(10) == "stopped"
    finally:
        stopped.set()


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


# Each of these was a bug once; the comment says where it came from.

# Suspension.


async def test_a_task_group_that_waits_runs_no_finally_step(hand: Engine) -> None:
    # Was: on close, `TaskGroup.__aexit__` awaits again, so the coroutine outlives `close_tasks`. It ends when it is
    # collected, outside of the flow's loop: there `current_flow()` is None and the step is the plain function.
    @workflow
    async def grouped() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(wait_for_signal("go"))
                await sleep(60)
        finally:
            await send(1)

    await hand.start(grouped.new())
    await drain(hand)
    await _collected()

    assert SEEN == []


async def test_an_async_generator_that_waits_runs_no_finally_step(hand: Engine) -> None:
    # Was: a generator that stands at its `yield` is finished by the real loop's hook for generators, where the step is
    # the plain function. `FlowLoop.turn` would have to set hooks of its own (`sys.set_asyncgen_hooks`).
    async def numbers() -> AsyncIterator[int]:
        try:
            yield await reserve_one()
        finally:
            await send(1)

    async def reserve_one() -> int:
        await reserve(1)
        return 1

    @workflow
    async def loops() -> None:
        async for _ in numbers():
            await wait_for_signal("go")

    await hand.start(loops.new())
    await drain(hand)
    await _collected()

    assert SEEN == ["reserve 1"]


async def test_code_that_catches_exceptions_in_a_loop_can_be_suspended(hand: Engine) -> None:
    # Was: what a closing workflow gets from a call is a WorkflowError, an `Exception`. Code that catches those and goes
    # on never ends: the whole process stands still. It must be a BaseException (GeneratorExit, say).
    rounds: list[int] = []

    class EndOfTest(BaseException):
        pass

    @workflow
    async def stubborn() -> None:
        while True:
            try:
                try:
                    await wait_for_signal("go")
                finally:
                    await send(1)
            except Exception:
                rounds.append(1)
                if len(rounds) > 100:
                    raise EndOfTest from None

    await hand.start(stubborn.new())
    await drain(hand)

    assert len(rounds) <= 1


async def test_a_workflow_that_waits_for_nothing_that_can_come_says_so(hand: Engine) -> None:
    # Was: it is parked with no signal and no time to wake: `waiting` for ever, without a sign. `_drive` could fail it
    # when there is nothing to wait for: no step, no wait, no lifetime.
    @workflow
    async def stuck() -> None:
        await asyncio.Event().wait()

    handle = await hand.start(stuck.new())
    await drain(hand)

    await assert_failed(hand, handle, "WorkflowError")


# The same result whenever the code runs again.


async def test_a_race_of_a_signal_and_a_sleep_is_won_by_the_same_one_ever_after(hand: Engine, runs: int) -> None:
    # Was: that a sleep is over is not recorded ("its time has come stays true"), so on a later run both are over at
    # once. `asyncio.wait`, the plain way to write a race, then sees another winner.
    winners: list[str] = []

    @workflow
    async def race() -> None:
        late, paid = asyncio.create_task(sleep(60)), asyncio.create_task(wait_for_signal("paid"))
        done, others = await asyncio.wait({late, paid}, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        winners.append("late" if late in done else "paid")
        await sleep(100)

    handle = await hand.start(race.new())
    await drain(hand)
    await hand.signal(handle, "paid")
    await drain(hand)
    clock_of(hand).jump(200)
    await drain(hand)

    await assert_done(hand, handle)
    assert winners == ["paid"] * runs


async def test_a_race_of_two_steps_is_won_by_the_same_one_ever_after(worker: Engine, runs: int) -> None:
    # Was: recorded results are handed over in the order of the calls, all in one turn, not in the order in which they
    # were recorded (`number`); `as_completed` and `asyncio.wait` see another order than the first time.
    gate = asyncio.Event()
    winners: list[str] = []

    @step
    async def slow() -> str:
        await gate.wait()
        return "slow"

    @step
    async def fast() -> str:
        return "fast"

    @step
    async def open_gate() -> None:
        gate.set()

    @workflow
    async def race() -> None:
        tasks = [asyncio.create_task(slow()), asyncio.create_task(fast())]
        order = []
        for done in asyncio.as_completed(tasks):
            order.append(await done)
            if len(order) == 1:
                await open_gate()
        winners.append(order[0])
        await sleep(0.03)

    await (await worker.start(race.new())).result(SOON_S)

    assert winners == ["fast"] * runs


async def test_a_step_that_changes_its_argument_changes_a_copy(hand: Engine, runs: int) -> None:
    # Was: steps get the workflow's own objects. What a step changes in them is seen until the workflow is resumed, and
    # then no more, for the step is recalled. Arguments would have to go through the codec, as results do.
    seen: list[list[str]] = []

    @step
    async def fill(basket: list[str]) -> None:
        basket.append("apple")

    @workflow
    async def shop() -> None:
        basket: list[str] = []
        await fill(basket)
        seen.append(list(basket))
        await sleep(60)

    await hand.start(shop.new())
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert seen == [[]] * runs


async def test_another_each_in_front_does_not_run_recorded_items_again(store_url: str) -> None:
    # Was: every item's branch is called after the inner function of `each` ("one#3/reserve#1"), so the items of all
    # `each` calls of a branch share their numbers. They should be called after what is called ("reserve").
    def before() -> Any:
        @workflow(name="wf.newcomer")
        async def one() -> None:
            await each([1, 2], reserve)
            await sleep(60)

        return one

    def after() -> Any:
        @workflow(name="wf.newcomer")
        async def two() -> None:
            await each([7, 8, 9], send)
            await each([1, 2], reserve)
            await sleep(60)

        return two

    await _under_new_code(store_url, before(), after())

    assert SEEN == ["reserve 1", "reserve 2", "send 7", "send 8", "send 9"]


# Signals.


async def test_a_look_into_the_inbox_sees_what_came_meanwhile(hand: Engine) -> None:
    # Was: the inbox is what the claim brought, and is looked into again only while steps of other branches run.
    # `timeout=0` never parks, so a loop that works and looks for "stop" never sees it.
    ids: list[str] = []

    @step
    async def work() -> None:
        await hand.signal(ids[0], "stop", "please")

    @workflow
    async def polls() -> Any:
        await work()
        return await wait_for_signal("stop", timeout=0, default="nothing")

    handle = await hand.start(polls.new())
    ids.append(handle.id)
    await drain(hand)

    assert await assert_done(hand, handle) == "please"


async def test_a_signal_called_late_is_no_timeout(hand: Engine) -> None:
    # Was: what `wait_for_all` records, payloads by name, can equal the mark of a timeout, {"late": true}.
    @workflow
    async def waits() -> Any:
        return await wait_for_all("late", timeout=60)

    handle = await hand.start(waits.new())
    await hand.signal(handle, "late", True)
    await drain(hand)

    assert await assert_done(hand, handle) == {"late": True}


# Failure and compensation.


async def test_a_workflow_that_began_to_undo_never_goes_forward_again(store_url: str) -> None:
    # Was: that the workflow has failed is not recorded before its steps are undone. When the undoing waits (for an
    # attempt, a crash, a deploy), the code runs again first; if it does not fail this time, it goes on to the end,
    # with steps undone behind it.
    @step(max_attempts=5, backoff=backoff.constant(60))
    async def undo(number: int) -> None:
        SEEN.append(f"undo {number}")
        if SEEN.count("undo 1") == 1:
            raise ConnectionError

    @step(compensate=undo)
    async def do(number: int) -> None:
        SEEN.append(f"do {number}")

    def before() -> Any:
        @workflow(name="wf.newcomer")
        async def faulty() -> None:
            await do(1)
            await do(2)
            raise ZeroDivisionError

        return faulty

    def after() -> Any:
        @workflow(name="wf.newcomer")
        async def mended() -> None:
            await do(1)
            await do(2)

        return mended

    found = await _under_new_code(store_url, before(), after())

    assert found.status == "compensated"
    assert SEEN == ["do 1", "do 2", "undo 2", "undo 1", "undo 1"]


async def test_no_step_begins_after_the_workflow_s_time_is_up(hand: Engine) -> None:
    # Was: an activation looks at the lifetime only after its first turn has begun steps; so one that comes after a
    # sleep runs although the time was up long before, or while the workflow is being undone.
    @workflow(timeout=60)
    async def short() -> None:
        await sleep(3600)
        await send(1)

    handle = await hand.start(short.new())
    await drain(hand)
    clock_of(hand).jump(7200)
    await drain(hand)

    await assert_failed(hand, handle, "WorkflowTimeout")
    assert SEEN == []


async def test_branches_end_before_their_workflow_is_undone(worker: Engine) -> None:
    # Was: `asyncio.gather` leaves the other branches running when one fails. They run on while compensations run, and
    # what they do then is not undone, for the list of what is to be undone was made before. (`_fail` should close the
    # code's tasks and running steps first.)
    undoing, over = asyncio.Event(), asyncio.Event()

    @step
    async def undo(number: int) -> None:
        SEEN.append(f"undo {number}")
        undoing.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), 0.3)

    @step(compensate=undo)
    async def do(number: int) -> None:
        if number == 2:
            await undoing.wait()
        if number == 3:
            raise ValueError
        SEEN.append(f"do {number}")

    @step
    async def tell() -> None:
        over.set()

    async def branch() -> None:
        await do(2)
        await tell()

    @workflow
    async def both() -> None:
        await do(1)
        await asyncio.gather(branch(), do(3))

    handle = await worker.start(both.new())
    with pytest.raises(InstanceFailed):
        await handle.result(SOON_S)

    assert ("do 2" in SEEN) == ("undo 2" in SEEN), SEEN


@pytest.mark.parametrize("result", [object(), "x" * 300_000], ids=["strange", "large"])
async def test_a_workflow_whose_result_cannot_be_stored_is_undone(hand: Engine, result: Any) -> None:
    # Was: the result is written outside of what `_fail` guards (`Finished(self._write(...))` in `Flow.run`).
    @workflow
    async def strange() -> Any:
        await charge(1, 100)
        return result

    handle = await hand.start(strange.new())
    await drain(hand)

    await assert_status(hand, handle, "compensated")


async def test_a_step_whose_own_task_was_cancelled_has_failed_and_the_rest_is_undone(hand: Engine) -> None:
    # Was: a CancelledError of the step's own making passes `except Exception` in `_execute` and ends the activation as
    # if the workflow had crashed: nothing can catch it, nothing is undone.
    @step
    async def impatient() -> None:
        inner = asyncio.ensure_future(asyncio.Event().wait())
        inner.cancel()
        await inner

    @workflow
    async def shop() -> None:
        await charge(1, 100)
        await impatient()

    handle = await hand.start(shop.new())
    await drain(hand)

    await assert_status(hand, handle, "compensated")


async def test_a_step_in_a_branch_whose_own_task_was_cancelled_does_not_hang_the_workflow(hand: Engine) -> None:
    # Was: as above, but among branches the step's task is just gone: the workflow is parked for ever, for nothing.
    @step
    async def impatient() -> None:
        raise asyncio.CancelledError

    @workflow
    async def shop() -> None:
        await parallel(impatient(), send(1))

    handle = await hand.start(shop.new())
    await drain(hand)

    await assert_status(hand, handle, "failed")


async def test_complete_all_gives_no_exception_as_a_result(hand: Engine) -> None:
    # Was: `_all` looks for `Exception`s among what was gathered; a CancelledError is none and is returned.
    async def cancelled() -> None:
        raise asyncio.CancelledError

    @workflow
    async def both() -> str:
        return repr(await parallel(send(1), cancelled(), on_error="complete_all"))

    handle = await hand.start(both.new())
    await drain(hand)

    await assert_status(hand, handle, "failed")


async def test_a_compensation_gets_what_the_step_returned(hand: Engine) -> None:
    # Was: the workflow and its compensation get the same object; what the code does to it the compensation sees.
    async def undo(result: dict[str, int]) -> None:
        SEEN.append(result)

    @step(compensate=undo)
    async def do() -> dict[str, int]:
        return {"cents": 100}

    @workflow
    async def shop() -> None:
        receipt = await do()
        receipt["cents"] = 0
        raise ValueError

    await hand.start(shop.new())
    await drain(hand)

    assert SEEN == [{"cents": 100}]


async def test_retry_gives_a_workflow_that_ran_out_of_time_new_time(hand: Engine) -> None:
    # Was: `~timeout` stays in the journal with its old time; a retry fails again at once.
    @workflow(timeout=60)
    async def waits() -> Any:
        return await wait_for_signal("paid")

    handle = await hand.start(waits.new())
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)
    await assert_failed(hand, handle, "WorkflowTimeout")
    await hand.retry(handle.id)
    await drain(hand)

    await assert_status(hand, handle, "waiting")


class Picky(Exception):
    """Cannot be made from its message."""

    def __new__(cls, code: object) -> "Picky":
        if not isinstance(code, int):
            raise ValueError("a code, please")
        return super().__new__(cls, code)


class Final(Exception):
    """Has no heirs."""

    def __init_subclass__(cls) -> None:
        raise RuntimeError("no heirs")


class ReadOnly(Exception):
    """Has a property where StepFailed has an attribute."""

    @property
    def error(self) -> str:
        return "mine"


@pytest.mark.parametrize("made", [Picky(5), Final("x"), ReadOnly("x")], ids=lambda made: type(made).__name__)
async def test_an_exception_of_any_kind_is_caught_in_the_workflow(hand: Engine, made: Exception) -> None:
    # Was: `failure_of` makes a class and an instance of it and lets pass what that raises (only TypeError is caught).
    # It ends the workflow at once, uncaught and not undone, with an error that has nothing to do with the step's.
    @step
    async def bad() -> None:
        raise made

    @workflow
    async def careful() -> str:
        try:
            await bad()
        except Exception as error:
            return str(error)
        return "?"

    handle = await hand.start(careful.new())
    await drain(hand)

    assert "step 'bad' failed: tests.workflows.test_newcomer." in await assert_done(hand, handle)


_LEAVES = """
import asyncio, sys
from outlast import Engine, InstanceFailed, parallel, step, workflow

@step
async def leave() -> None:
    sys.exit(3)

@step
async def stay() -> None: ...

@workflow
async def leaves(how: str) -> None:
    await (leave() if how == "alone" else parallel(leave(), stay()))

async def main() -> None:
    async with Engine("sqlite:///leaves.db") as engine:
        try:
            await (await engine.start(leaves.new(sys.argv[1]))).result(5)
        except InstanceFailed as error:
            print(error.error["type"])

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["alone", "parallel"])
def test_a_step_that_calls_sys_exit_ends_itself_and_not_the_worker(tmp_path: Path, how: str) -> None:
    # Was: a SystemExit or KeyboardInterrupt of a task passes through the whole event loop. A job runs in a task that
    # catches it; a step's task (`Calls._execute`) does not.
    ran = subprocess.run(
        [sys.executable, "-c", _LEAVES, how], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )

    assert (ran.returncode, ran.stdout) == (0, "SystemExit\n")


# What is said about mistakes.


async def test_a_step_in_a_plain_class_is_refused(hand: Engine) -> None:
    # Was: `@step` in a class body marks a machine's step, whatever the class: in a workflow it is the plain method,
    # not recorded, and runs again at each resume. (With options it is a Step that does not know its object: "missing 1
    # required positional argument".) A `__set_name__` could refuse it, or bind it.
    try:

        class Bank:
            @step
            async def pay(self, number: int) -> None:
                SEEN.append(f"pay {number}")
    except (DefinitionError, RuntimeError):  # Python 3.11 wraps what `__set_name__` raises.
        return

    @workflow
    async def shop() -> None:
        await Bank().pay(1)
        await sleep(60)

    handle = await hand.start(shop.new())
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert SEEN in ([], ["pay 1"])
    assert (await hand.get(handle.id)).status in ("done", "failed")


async def test_the_engine_is_refused_in_a_workflow_s_own_code(worker: Engine, store_url: str) -> None:
    # Was: the engine's tasks and futures mix with the flow's loop. The workflow waits for ever, or fails with a
    # sentence about asyncio.sleep although the instance was started, and a pooled connection may be left unusable.
    @workflow
    async def child() -> None: ...

    @workflow
    async def parent() -> str:
        return (await worker.start(child.new())).id

    handle = await worker.start(parent.new())

    with pytest.raises(InstanceFailed, match=r"WorkflowError.*in a step"):
        await handle.result(10)
    assert [found.program for found in await worker.list()] == ["parent"]


async def test_an_outcome_of_jobs_and_machines_is_no_result_of_a_step(hand: Engine) -> None:
    # Was: `return Cancel("no")`, right in a job, is stored as {"reason": "no"} here, and the workflow goes on.
    @step
    async def charge_card() -> Any:
        return Cancel("no such card")

    @workflow
    async def shop() -> Any:
        return await charge_card()

    handle = await hand.start(shop.new())
    await drain(hand)

    await assert_status(hand, handle, "failed")


async def test_a_step_s_result_has_the_limit_of_all_that_is_stored(hand: Engine) -> None:
    # Was: `payload_bytes_max` holds for arguments, results of instances and signals, not for results of steps.
    @step
    async def large() -> str:
        return "x" * 3_000_000

    @workflow
    async def shop() -> int:
        return len(await large())

    handle = await hand.start(shop.new())
    await drain(hand)

    await assert_failed(hand, handle, "the limit is 262,144")


async def test_the_error_of_a_branch_that_nobody_awaits_is_told(hand: Engine, caplog: Any) -> None:
    # Was: `FlowLoop.call_exception_handler` drops everything, also what asyncio would have logged.
    async def forgotten() -> None:
        raise ValueError("nobody hears me")

    @workflow
    async def shop() -> None:
        asyncio.create_task(forgotten())  # noqa: RUF006
        await send(1)

    await hand.start(shop.new())
    await drain(hand)
    await _collected()

    assert "nobody hears me" in caplog.text


# Shutdown.


async def test_a_closing_engine_lets_the_running_step_end_and_begins_no_other(engines: Engines) -> None:
    # Was: a workflow goes on with step after step until `drain_timeout` is over, and is then cut in the middle of one.
    engine = await engines.open(drain_timeout=5.0)
    began = asyncio.Event()
    ended: list[int] = []

    @step
    async def work(number: int) -> None:
        SEEN.append(number)
        began.set()
        await asyncio.to_thread(time.sleep, 0.01)
        ended.append(number)

    @workflow
    async def long() -> None:
        for number in range(1_000):
            await work(number)

    await engine.start(long.new())
    await soon(began.wait())
    await engine.close()

    assert len(SEEN) <= 3
    assert ended == SEEN


async def _collected() -> None:
    """Lets go what nobody holds any more, and lets what that begins end."""
    for _ in range(3):
        gc.collect()
        await asyncio.sleep(0)
