"""One workflow paused and resumed: what runs ends and is recorded, nothing else begins, and nothing is lost."""

import asyncio
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast import (
    Engine,
    backoff,
    call_child,
    hours,
    minutes,
    parallel,
    sleep,
    step,
    wait_for_approval,
    wait_for_signal,
    workflow,
)
from outlast.errors import IllegalMove
from outlast.testing import assert_done, assert_status, clock_of, drain
from outlast.workflows.flow import Flow
from tests.engine.given import SOON_S, Ear, Engines, soon
from tests.runtime.stage import turns
from tests.workflows.programs import SEEN, charge, payment, reserve, ship

UNHEARD = {"doorbell": "local"}
"""Rings for nobody else: what it does is found out, or not."""


class Gate:
    """A step that says when it has begun and ends when it is told to."""

    def __init__(self, name: str = "gated", *, fails: int = 0, **options: Any) -> None:
        self.begun, self.open = asyncio.Event(), asyncio.Event()

        @step(name=name, **options)
        async def gated() -> str:
            SEEN.append(name)
            self.begun.set()
            await self.open.wait()
            if SEEN.count(name) <= fails:
                raise ValueError("not yet")
            return name

        self.step: Any = gated


async def is_held(engine: Engine, id: str) -> None:
    """Waits until it is held: its claim is given back, and it is blocked on nothing."""

    async def blocked() -> bool:
        instance = await engine.get(id)
        return (instance.status, instance.blocked_on) == ("blocked", None)

    await eventually_async(blocked, what="a held instance")


async def keys(engine: Engine, id: str) -> list[tuple[str, str]]:
    return [(found.key, found.status) for found in await engine.steps(id)]


@pytest.mark.parametrize("heard", [True, False], ids=["told at once", "told by its own commit"])
async def test_a_step_under_way_ends_and_is_recorded_and_no_other_begins(engines: Engines, heard: bool) -> None:
    gate = Gate()

    @workflow
    async def two() -> list[Any]:
        return [await gate.step(), await ship(2)]  # type: ignore[misc]

    worker = await engines.open(programs=[two])
    other = worker if heard else await engines.open(queues={}, **UNHEARD)
    handle = await worker.start(two.new())
    await soon(gate.begun.wait())

    paused = await other.pause(handle.id, "the bank is closed", by="ann")
    gate.open.set()
    await is_held(worker, handle.id)

    assert (paused.status, paused.pause_reason) == ("running", "the bank is closed")
    assert paused.paused_at is not None
    assert await keys(worker, handle.id) == [("gated#1", "done")]
    assert SEEN == ["gated"]
    assert [each.id for each in await worker.list(paused=True)] == [handle.id]

    await worker.resume(handle.id)
    assert await handle.result(SOON_S) == ["gated", 2]
    assert SEEN == ["gated", "ship 2"]
    assert (await worker.get(handle.id)).attempt == 0


async def test_all_that_runs_side_by_side_ends_and_is_recorded(engines: Engines) -> None:
    one, two = Gate("one"), Gate("two")

    async def branch(gate: Gate, number: int) -> int:
        await gate.step()
        return await ship(number)  # type: ignore[misc]

    @workflow
    async def both() -> Any:
        return await parallel(branch(one, 1), branch(two, 2))

    worker = await engines.open(programs=[both])
    other = await engines.open(queues={}, **UNHEARD)
    handle = await worker.start(both.new())
    await soon(one.begun.wait())
    await soon(two.begun.wait())

    await other.pause(handle.id)
    one.open.set()
    await eventually_async(lambda: keys(worker, handle.id), what="a record")
    assert (await worker.get(handle.id)).status == "running"  # the other one is not interrupted.
    two.open.set()
    await is_held(worker, handle.id)

    assert sorted(SEEN) == ["one", "two"]
    await worker.resume(handle.id)
    assert await handle.result(SOON_S) == [1, 2]
    assert sorted(SEEN) == ["one", "ship 1", "ship 2", "two"]


@pytest.mark.parametrize("alone", [True, False])
async def test_an_attempt_under_way_that_fails_counts_and_the_next_one_waits(engines: Engines, alone: bool) -> None:
    gate, other = Gate(fails=1, max_attempts=2, backoff=backoff.constant(0)), Gate("other")

    @workflow
    async def trying() -> Any:
        return [await gate.step()] if alone else await parallel(gate.step(), other.step())

    worker = await engines.open(programs=[trying])
    unheard = await engines.open(queues={}, **UNHEARD)
    handle = await worker.start(trying.new())
    await soon(gate.begun.wait())

    await unheard.pause(handle.id)
    other.open.set()
    if not alone:
        await eventually_async(lambda: keys(worker, handle.id), what="a record")
    gate.open.set()
    await is_held(worker, handle.id)

    found = {step.key: (step.status, step.attempt) for step in await worker.steps(handle.id)}
    assert found["gated#1"] == ("retrying", 1)
    assert SEEN.count("gated") == 1
    await worker.resume(handle.id)
    assert (await handle.result(SOON_S))[0] == "gated"


async def test_an_attempt_that_is_due_beside_a_running_step_waits_without_spinning(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, shaky = Gate("long"), Gate("shaky", fails=1, max_attempts=2, backoff=backoff.constant(0))
    looks = 0
    wait = Flow._wait_for_news

    async def counted(flow: Flow) -> None:
        nonlocal looks
        looks += 1
        await wait(flow)

    monkeypatch.setattr(Flow, "_wait_for_news", counted)

    @workflow
    async def both() -> Any:
        return await parallel(long.step(), shaky.step())

    worker = await engines.open(programs=[both])
    handle = await worker.start(both.new())
    await soon(long.begun.wait())
    await soon(shaky.begun.wait())
    await worker.pause(handle.id)
    run = worker._crew.executor.running[handle.id]  # type: ignore[union-attr]
    await eventually_async(lambda: run.paused, what="a run that has heard of the pause")
    shaky.open.set()
    await eventually_async(lambda: keys(worker, handle.id), what="a record")

    await turns(200)

    assert await keys(worker, handle.id) == [("shaky#1", "retrying")]
    assert SEEN.count("shaky") == 1
    assert looks < 30
    long.open.set()
    await is_held(worker, handle.id)
    await worker.resume(handle.id)
    assert await handle.result(SOON_S) == ["long", "shaky"]


async def test_signals_that_come_meanwhile_are_kept(hand: Engine) -> None:
    handle = await hand.start(payment.new(timeout_s=3600))
    await drain(hand)
    await hand.pause(handle.id)

    assert await handle.signal("paid", 5) == "delivered"
    assert (await drain(hand)).steps == 0
    await hand.resume(handle.id)
    await drain(hand)

    assert await handle.result(10) == 5


async def test_a_time_that_has_run_out_takes_effect_on_resume_and_a_signal_before_that_counts(hand: Engine) -> None:
    late, paid = await hand.start(payment.new(timeout_s=60)), await hand.start(payment.new(timeout_s=60))
    await drain(hand)
    for handle in (late, paid):
        await hand.pause(handle.id)
    clock_of(hand).jump(120)
    await drain(hand)
    await paid.signal("paid", 5)
    await drain(hand)
    assert SEEN == ["reserve 1", "reserve 1"]

    for handle in (late, paid):
        await hand.resume(handle.id)
    await drain(hand)

    assert [await handle.result(10) for handle in (late, paid)] == ["nothing", 5]


async def test_a_sleep_goes_on_while_it_is_paused(hand: Engine) -> None:
    @workflow
    async def sleeper() -> int:
        await sleep(hours(1))
        return await ship(1)  # type: ignore[misc]

    handle = await hand.start(sleeper.new())
    await drain(hand)
    await hand.pause(handle.id)
    clock_of(hand).jump(1_800)
    await hand.resume(handle.id)
    await drain(hand)
    assert SEEN == []

    clock_of(hand).jump(1_801)
    await drain(hand)
    assert await handle.result(10) == 1


async def test_the_workflow_s_own_timeout_goes_on_counting_and_strikes_on_resume(hand: Engine) -> None:
    @workflow(timeout=minutes(10))
    async def bounded() -> None:
        await charge(1, 100)
        await sleep(60)
        await ship(1)  # type: ignore[misc]

    handle = await hand.start(bounded.new())
    await drain(hand)
    await hand.pause(handle.id)
    clock_of(hand).jump(700)
    await drain(hand)
    assert SEEN == ["charge 1"]

    await hand.resume(handle.id)
    await drain(hand)

    await assert_status(hand, handle, "compensated")
    assert "WorkflowTimeout" in ((await hand.get(handle.id)).error or {})["type"]
    assert SEEN == ["charge 1", "refund 1 100"]


async def test_a_compensation_is_paused_between_its_steps(hand: Engine) -> None:
    paused: list[str] = []

    async def undo(number: int) -> None:
        SEEN.append(f"undo {number}")
        if not paused:
            paused.append(handle.id)
            await hand.pause(handle.id)

    @step(compensate=undo)
    async def do(number: int) -> int:
        return number

    @workflow
    async def failing() -> None:
        await do(1)
        await do(2)
        raise RuntimeError

    handle = await hand.start(failing.new())
    await drain(hand)
    assert SEEN == ["undo 2"]

    await hand.resume(handle.id)
    await drain(hand)
    await assert_status(hand, handle, "compensated")
    assert SEEN == ["undo 2", "undo 1"]


async def test_an_answer_is_taken_and_heard_on_resume(hand: Engine) -> None:
    @workflow
    async def asking() -> Any:
        return await wait_for_approval("boss")

    handle = await hand.start(asking.new())
    await drain(hand)
    await hand.pause(handle.id)

    assert [asked.name for asked in await hand.pending_inputs()] == ["boss"]
    assert await hand.provide_input(handle.id, "boss", "approved") == "delivered"
    await drain(hand)
    await assert_status(hand, handle, "blocked")

    await hand.resume(handle.id)
    await drain(hand)
    assert await handle.result(10) == "approved"


async def test_children_run_on_unless_the_tree_is_paused(hand: Engine) -> None:
    @workflow(name="wf.pause.child")
    async def child(number: int) -> int:
        await wait_for_signal("go")
        return await ship(number)  # type: ignore[misc]

    @workflow(name="wf.pause.parent")
    async def parent(number: int) -> Any:
        return await call_child(child.new(number=number))

    hand._catalogue.add(child)
    alone, whole = await hand.start(parent.new(number=1)), await hand.start(parent.new(number=2))
    await drain(hand)
    await alone.pause()
    await whole.pause(tree=True)
    for handle in (alone, whole):
        (found,) = await hand.children(handle)
        await hand.signal(found.id, "go")
    await drain(hand)

    assert SEEN == ["ship 1"]
    await assert_status(hand, alone, "blocked")
    await whole.resume(tree=True)
    await alone.resume()
    await drain(hand)
    assert [await alone.result(10), await whole.result(10)] == [1, 2]


async def test_what_is_paused_can_be_cancelled(hand: Engine) -> None:
    handle = await hand.start(payment.new(timeout_s=60))
    await drain(hand)
    await hand.pause(handle.id)

    cancelled = await handle.cancel("no")

    assert (cancelled.status, cancelled.paused_at) == ("cancelled", None)


async def test_a_pause_outlives_the_process(engines: Engines) -> None:
    gate = Gate()

    @workflow
    async def two() -> Any:
        return [await gate.step(), await ship(2)]  # type: ignore[misc]

    first = engines.new(programs=[two], drain_timeout=0.05)
    async with first:
        handle = await first.start(two.new())
        await soon(gate.begun.wait())
        await first.pause(handle.id)
    gate.open.set()
    second = await engines.open(programs=[two])
    await is_held(second, handle.id)
    assert SEEN == ["gated"]

    await second.resume(handle.id)
    assert await second.handle(handle.id).result(SOON_S) == ["gated", 2]


async def test_doing_it_twice_changes_nothing_and_the_ended_refuse(hand: Engine) -> None:
    ear = Ear(hand)
    handle = await hand.start(payment.new(timeout_s=60))
    paused = await handle.pause("first", by="ann")
    assert await handle.pause("second", by="bob") == paused
    await handle.resume(by="bob")
    assert (await handle.resume()).paused_at is None

    assert [(act.act, act.by, act.reason) for act in await hand.acts(handle.id)] == [
        ("paused", "ann", "first"),
        ("resumed", "bob", None),
    ]
    assert [said["by"] for said in ear.all("instance.paused")] == ["ann"]
    assert [said["by"] for said in ear.all("instance.resumed")] == ["bob"]
    await handle.cancel()
    for act in (handle.pause, handle.resume):
        with pytest.raises(IllegalMove, match=r"has ended as 'cancelled' and cannot be (paused|resumed)"):
            await act()


async def test_a_workflow_that_never_ran_is_held_from_the_beginning(hand: Engine) -> None:
    handle = await hand.start(payment.new(timeout_s=60))
    await handle.pause()

    assert (await drain(hand)).steps == 0
    assert SEEN == []

    await handle.resume()
    await drain(hand)
    assert SEEN == ["reserve 1"]
    await handle.signal("paid", 1)
    await drain(hand)
    assert await assert_done(hand, handle) == 1


async def test_reserved_steps_are_not_run_again_by_a_pause(hand: Engine) -> None:
    @workflow
    async def steps() -> list[Any]:
        found: list[Any] = []
        for number in range(5):
            found.append(await reserve(number))
            await sleep(1)
        return found

    handle = await hand.start(steps.new())
    for _ in range(6):
        await handle.pause()
        await drain(hand)
        await handle.resume()
        await drain(hand)
        clock_of(hand).jump(2)

    assert await handle.result(10) == [f"stock {number}" for number in range(5)]
    assert SEEN == [f"reserve {number}" for number in range(5)]
