"""Steps: recorded once, recalled afterwards, tried again, and failing like the function itself."""

import asyncio
import contextvars
from typing import Any

import pytest

from outlast import Engine, InstanceFailed, backoff, current_step, days, job, sleep, step, workflow
from outlast.errors import DefinitionError, StepFailed, WorkflowError
from outlast.testing import assert_done, assert_failed, assert_status, clock_of, drain, prune, run_step_twice
from outlast.testing import crash_after_commit as after
from outlast.testing import crash_before_commit as before
from tests.engine.given import SOON_S, Table
from tests.workflows.programs import SEEN, Declined, Receipt, charge, order, reserve, retries, ship, side_by_side

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


async def test_steps_run_once_though_the_code_runs_again(hand: Engine) -> None:
    handle = await hand.start(order.new(7))
    assert (await drain(hand)).await_ == 1
    found = await assert_status(hand, handle, "waiting")
    assert SEEN == ["reserve 7", "charge 7"]
    assert found.wake_at is not None

    clock_of(hand).jump(3600)
    await drain(hand)

    assert await assert_done(hand, handle) == {"stock": "stock 7", "cents": 500, "shipped": 7}
    assert SEEN == ["reserve 7", "charge 7", "ship 7"]


async def test_a_worker_runs_it_to_the_end(worker: Engine, table: Table) -> None:
    handle = await worker.start(retries.new(good_at=1))

    assert await handle.result(SOON_S) == 1

    notes = table.query("SELECT key, kind, status, number, attempt, value FROM {journal} ORDER BY number")
    assert notes == [("reserve#1", "step", "done", 1, 0, '"stock 1"'), ("flaky#1", "step", "done", 2, 0, "1")]


async def test_each_step_is_committed_before_the_next_begins(worker: Engine, table: Table) -> None:
    seen: list[Any] = []

    @step
    async def look() -> int:
        seen.append(table.query("SELECT count(*) FROM {journal}")[0][0])
        return len(seen)

    @workflow
    async def looks() -> list[int]:
        return [await look(), await look(), await look()]

    assert await (await worker.start(looks.new())).result(SOON_S) == [1, 2, 3]
    assert seen == [0, 1, 2]


async def test_failed_attempts_wait_without_a_worker_and_count_through_suspension(hand: Engine) -> None:
    handle = await hand.start(retries.new(good_at=3))

    assert (await drain(hand)).await_ == 1
    assert SEEN == ["reserve 1", "flaky"]
    clock_of(hand).jump(61)
    assert (await drain(hand)).await_ == 1
    clock_of(hand).jump(61)
    await drain(hand)

    assert await assert_done(hand, handle) == 3
    assert SEEN == ["reserve 1", "flaky", "flaky", "flaky"]


async def test_after_the_last_attempt_the_error_is_raised_in_the_workflow(hand: Engine) -> None:
    handle = await hand.start(retries.new(good_at=9))
    for _ in range(3):
        await drain(hand)
        clock_of(hand).jump(61)

    error = await assert_failed(hand, handle, "step 'flaky' failed: ValueError: not yet: 3")
    assert error["type"] == "ValueError"
    assert SEEN.count("flaky") == 3


async def test_an_error_keeps_its_class_now_and_when_it_is_recalled(hand: Engine, runs: int) -> None:
    caught: list[Any] = []

    @workflow
    async def shop(cents: int) -> str:
        try:
            await charge(1, cents)
        except Declined as error:
            caught.append((isinstance(error, StepFailed), type(error).__name__, str(error), error.step))
            await sleep(60)
            return "declined"
        return "paid"

    handle = await hand.start(shop.new(-5))
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert await assert_done(hand, handle) == "declined"
    what = "step 'charge' failed: tests.workflows.programs.Declined: order 1"
    assert caught == [(True, "Declined", what, "charge")] * runs
    assert SEEN == ["charge 1"]


async def test_results_come_back_typed_and_read_back(hand: Engine, runs: int) -> None:
    seen: list[Any] = []

    @workflow
    async def shop() -> None:
        seen.append(await charge(1, 5))
        await sleep(60)

    await hand.start(shop.new())
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert seen == [Receipt(1, 5)] * runs


async def test_branches_of_every_kind(hand: Engine) -> None:
    handle = await hand.start(side_by_side.new(3))
    for _ in range(3):
        await drain(hand)
        clock_of(hand).jump(8)

    assert await assert_done(hand, handle) == ["stock 3", 100, 1, 2, "stock 7", "stock 8"]
    assert sorted(SEEN) == ["charge 3", "reserve 3", "reserve 7", "reserve 8", "ship 1", "ship 2"]


@pytest.mark.parametrize("name", ["reserve", "charge", "ship"])
async def test_a_crash_before_a_step_is_recorded_runs_that_step_again_and_no_other(hand: Engine, name: str) -> None:
    handle = await hand.start(order.new(7))
    with before(hand, order, name):
        await drain(hand)
        clock_of(hand).jump(3601)
        await drain(hand)

    await assert_done(hand, handle)
    ran = ["reserve 7", "charge 7", "ship 7"]
    assert sorted(SEEN) == sorted([*ran, f"{name} 7"])


@pytest.mark.parametrize("name", ["reserve", "charge", "ship"])
async def test_a_crash_after_a_step_is_recorded_runs_nothing_again(hand: Engine, name: str) -> None:
    handle = await hand.start(order.new(7))
    with after(hand, order, name):
        await drain(hand)
        clock_of(hand).jump(3601)
        await drain(hand)

    await assert_done(hand, handle)
    assert SEEN == ["reserve 7", "charge 7", "ship 7"]


async def test_a_process_that_wakes_up_too_late_records_nothing(hand: Engine, store_url: str) -> None:
    handle = await hand.start(order.new(7))
    with run_step_twice(hand, order, charge):
        await drain(hand)

    assert SEEN == ["reserve 7", "charge 7", "charge 7"]
    await assert_status(hand, handle, "waiting")


async def test_outside_of_workflows_they_are_the_plain_functions() -> None:
    assert await reserve(1) == "stock 1"
    assert ship(2) == 2
    with pytest.raises(Declined):
        await charge(1, cents=-1)


async def test_a_step_that_another_step_calls_is_the_plain_function(hand: Engine, table: Table) -> None:
    @step
    async def outer() -> str:
        return f"{await reserve(1)}, {ship(2)}"

    @workflow
    async def nested() -> str:
        return await outer()

    handle = await hand.start(nested.new())
    await drain(hand)

    assert await assert_done(hand, handle) == "stock 1, 2"


async def test_a_result_that_cannot_be_stored_fails_with_its_path(hand: Engine) -> None:
    @step
    async def bad() -> Any:
        return {"a": [object()]}

    @workflow
    async def shop() -> None:
        await bad()

    handle = await hand.start(shop.new())
    await drain(hand)

    await assert_failed(hand, handle, r"the result of step 'bad' holds an object at $.a[0]")


async def test_a_step_has_a_timeout(worker: Engine) -> None:
    @step(timeout=0.02)
    async def endless() -> None:
        await asyncio.Event().wait()

    @workflow
    async def shop() -> str:
        try:
            await endless()
        except TimeoutError as error:
            return str(error)
        return "?"

    answer = await (await worker.start(shop.new())).result(SOON_S)

    assert "step 'endless' failed: outlast.errors.StepTimeout: the step ran longer than its timeout of 0.02 s" in answer


async def _with_a_timeout() -> None:
    async with asyncio.timeout(1):
        await reserve(1)


@pytest.mark.parametrize(
    "what",
    [
        lambda: asyncio.sleep(1),
        lambda: _with_a_timeout(),
        lambda: asyncio.open_connection("localhost", 1),
        lambda: asyncio.to_thread(print),
        lambda: asyncio.create_subprocess_exec("true"),
    ],
    ids=["sleep", "wait_for", "connection", "thread", "process"],
)
async def test_what_belongs_into_a_step_is_refused_with_a_sentence(hand: Engine, what: Any) -> None:
    @workflow
    async def shop() -> None:
        await what()

    handle = await hand.start(shop.new())
    await drain(hand)

    await assert_failed(hand, handle, "a workflow's own code cannot")


async def test_what_is_for_workflows_is_refused_elsewhere(worker: Engine) -> None:
    @job(name="wf.job", max_attempts=1)
    async def naps() -> None:
        await sleep(1)

    with pytest.raises(WorkflowError, match="outside of one"):
        await sleep(1)
    with pytest.raises(InstanceFailed, match="sleep is for a workflow's own code"):
        await (await worker.start(naps.new())).result(SOON_S)


def test_wrong_definitions_are_refused() -> None:
    with pytest.raises(DefinitionError, match="max_attempts"):
        step(max_attempts=0)
    with pytest.raises(DefinitionError, match="must return, not yield"):

        @step
        def generator() -> Any:
            yield 1

    with pytest.raises(DefinitionError, match="takes 'other', which is no argument of the step"):

        @step(compensate=lambda other: None)
        async def done(order: int) -> None: ...

    with pytest.raises(DefinitionError, match="goes on an async def"):
        workflow(lambda: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(DefinitionError, match="version"):
        workflow(version=0)


async def test_names_and_numbers_make_the_key_within_a_branch(hand: Engine, table: Table) -> None:
    async def fulfil(number: int) -> None:
        await reserve(number)
        await reserve(number)

    @workflow
    async def shop() -> None:
        await reserve(0)
        await asyncio.gather(fulfil(1), fulfil(2), reserve(3))

    await hand.start(shop.new())
    await drain(hand)

    keys = [key for (key,) in table.query("SELECT key FROM {journal} ORDER BY key")]
    assert keys == [
        "fulfil#1/reserve#1",
        "fulfil#1/reserve#2",
        "fulfil#2/reserve#1",
        "fulfil#2/reserve#2",
        "reserve#1",
        "reserve#2",
    ]


@pytest.mark.parametrize("how", ["delete", "prune"])
async def test_what_was_recorded_goes_with_its_instance(hand: Engine, table: Table, how: str) -> None:
    one = await hand.start(retries.new(good_at=1))
    two = await hand.start(order.new(2))
    await drain(hand)
    assert len(table.query("SELECT key FROM {journal}")) == 5

    if how == "delete":
        await hand.delete(one.id)
    else:
        clock_of(hand).jump(days(2))
        assert await prune(hand) == 1

    assert {str(id) for (id,) in table.query("SELECT instance FROM {journal}")} == {two.id}


async def test_a_step_has_a_key_that_stays_the_same_however_often_it_runs(hand: Engine) -> None:
    told: list[Any] = []

    @step(max_attempts=2, backoff=backoff.constant(0))
    async def pay() -> None:
        info = current_step()
        assert info is not None
        told.append((info.id, info.program, info.key, info.attempt, info.idempotency_key))
        if len(told) == 2:
            raise ConnectionError

    @step
    def in_thread() -> str:
        info = current_step()
        return "" if info is None else info.key

    @workflow(name="wf.keyed")
    async def keyed() -> str:
        await asyncio.gather(pay())
        return await in_thread()  # type: ignore[misc]

    handle = await hand.start(keyed.new())
    with before(hand, "wf.keyed", "pay"):
        await drain(hand)

    assert await assert_done(hand, handle) == "in_thread#1"
    assert told == [(handle.id, "wf.keyed", "pay#1", n, f"{handle.id}:pay#1") for n in (0, 0, 1)]
    assert current_step() is None


@pytest.mark.parametrize("waits", [False, True])
async def test_each_step_has_a_context_and_a_task_of_its_own(worker: Engine, waits: bool) -> None:
    tasks: list[Any] = []

    @step
    async def look(keep: bool) -> str:
        found = tenant.get()
        tenant.set("somebody")
        if waits:
            await asyncio.sleep(0)
        if keep:
            tasks.append(asyncio.current_task())
        return f"{found} {current_step().key}"  # type: ignore[union-attr]

    @workflow
    async def looks() -> list[str]:
        found = [await look(False), await look(True), await look(True)]
        assert current_step() is None
        return [*found, tenant.get()]

    found = await (await worker.start(looks.new())).result(SOON_S)

    assert found == ["nobody look#1", "nobody look#2", "nobody look#3", "nobody"]
    assert len(set(tasks)) == 2


async def test_a_step_that_is_cancelled_after_its_end_harms_no_other(worker: Engine) -> None:
    @step
    async def careless() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)

    @step
    async def innocent() -> int:
        await asyncio.sleep(0.01)
        return 1

    @workflow
    async def both() -> int:
        await careless()
        return await innocent()

    assert await (await worker.start(both.new())).result(SOON_S) == 1
