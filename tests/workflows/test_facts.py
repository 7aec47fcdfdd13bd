"""What workflows say of themselves: how far they are, and the tags by which they are found."""

import asyncio
import threading

import pytest

from harness.waiting import eventually_async
from outlast import (
    Engine,
    Progress,
    call_child,
    current_step,
    hours,
    report_progress,
    set_tags,
    sleep,
    start_child,
    step,
    wait_for_signal,
    workflow,
)
from outlast.errors import ConfigError, WorkflowError
from outlast.testing import assert_done, assert_failed, clock_of, drain
from tests.workflows.programs import SEEN, order, reserve

EU = {"region": "eu"}


@workflow(name="facts.tags")
async def tagged() -> int:
    await set_tags({"state": "new", "region": None})
    SEEN.append("code")
    await reserve(1)
    await sleep(hours(1))
    await set_tags({"state": "late"})
    await sleep(hours(1))
    return 1


async def _found(engine: Engine, **tags: str) -> list[str]:
    return [found.id for found in await engine.list(tags=tags)]


async def test_tags_are_recorded_and_found(hand: Engine) -> None:
    handle = await hand.start(tagged.new(), tags={"customer": "42", **EU})
    await drain(hand)

    assert await _found(hand, state="new", customer="42") == [handle.id]
    assert await _found(hand, region="eu") == []
    recorded = (await hand.steps(handle))[0]
    assert (recorded.key, recorded.kind, recorded.value) == ("tags#1", "tags", {"region": None, "state": "new"})
    clock_of(hand).jump(hours(1))
    await drain(hand)
    assert await _found(hand, state="new") == []
    assert (await handle.get()).tags == {"customer": "42", "state": "late"}
    clock_of(hand).jump(hours(1))
    await drain(hand)
    assert await assert_done(hand, handle) == 1


async def test_what_others_set_meanwhile_is_not_set_back_when_the_code_runs_again(hand: Engine) -> None:
    handle = await hand.start(tagged.new())
    await drain(hand)
    await hand.set_tags(handle.id, {"state": "mine"})

    await hand.signal(handle, "nothing that it waits for")
    clock_of(hand).jump(hours(0.5))
    await drain(hand)

    assert (await handle.get()).tags == {"state": "mine"}


async def test_children_are_started_with_tags(hand: Engine) -> None:
    @workflow
    async def parent() -> None:
        await start_child(order.new(1), tags=EU)
        await call_child(tagged.new(), tags=EU)

    handle = await hand.start(parent.new())
    await drain(hand)

    first, second = await hand.children(handle)
    assert (first.tags, second.tags) == (EU, {"state": "new"})
    assert await _found(hand, region="eu") == [first.id]


async def test_a_wrong_tag_fails_the_workflow_that_sets_it(hand: Engine) -> None:
    @workflow
    async def wrong() -> None:
        await set_tags({"n": 1})  # type: ignore[dict-item]

    @workflow
    async def many() -> None:
        for number in range(21):
            await set_tags({f"t{number}": "x"})

    one, two = await hand.start(wrong.new()), await hand.start(many.new())
    await drain(hand)

    await assert_failed(hand, one, "tag 'n' must be text, not 1")
    await assert_failed(hand, two, "20 tags at most; with these it would have 21")


async def test_tags_are_set_in_a_workflows_own_code_only(hand: Engine) -> None:
    @step
    async def inside() -> str:
        info = current_step()
        assert info is not None
        with pytest.raises(WorkflowError, match="set_tags is for a workflow's own code"):
            await set_tags(EU)
        await hand.set_tags(info.id, EU)
        return "done"

    @workflow
    async def outside() -> str:
        return await inside()

    handle = await hand.start(outside.new())
    await drain(hand)

    assert await assert_done(hand, handle) == "done"
    assert await _found(hand, region="eu") == [handle.id]


async def test_progress_of_code_steps_and_threads_is_seen_while_they_run(worker: Engine) -> None:
    gates = {name: asyncio.Event() for name in ("step", "last")}
    in_thread = threading.Event()

    @step
    async def long() -> None:
        report_progress(0.3, "in a step")
        await gates["step"].wait()

    @step
    def threaded() -> None:
        report_progress(0.6, "in a thread")
        in_thread.wait(10)

    @workflow
    async def work() -> None:
        report_progress(0.1, "begun")
        await long()
        await threaded()
        report_progress(0.9, "waits")
        await wait_for_signal("go")

    handle = await worker.start(work.new())

    async def says(fraction: float, note: str) -> None:
        async def said() -> bool:
            return (await handle.get()).progress == Progress(fraction, note)

        await eventually_async(said)

    await says(0.3, "in a step")
    gates["step"].set()
    await says(0.6, "in a thread")
    in_thread.set()
    await says(0.9, "waits")  # by one that has parked.

    async def waits() -> bool:
        return (await handle.get()).status == "waiting"

    await eventually_async(waits)
    assert (await handle.get()).progress == Progress(0.9, "waits")
    await worker.signal(handle, "go")
    await handle.result(10)


async def test_progress_is_for_everybody_and_nobody(hand: Engine) -> None:
    report_progress(0.5, "nobody hears")

    for wrong in (-0.1, 1.1, "half", True):
        with pytest.raises(ConfigError, match="progress must be a fraction"):
            report_progress(wrong)  # type: ignore[arg-type]


async def test_neither_is_drawn(hand: Engine) -> None:
    drawn = hand.drawing("facts.tags")

    assert [node.label for node in drawn.nodes if "tags" in node.label] == []
