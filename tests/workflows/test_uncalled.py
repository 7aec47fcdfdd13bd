"""Steps that the code no longer calls: told once, kept, and never an error."""

import logging
from collections.abc import Callable
from typing import Any

from outlast import Engine, call_child, parallel, sleep, step, wait_for_signal, workflow
from outlast.errors import StepFailed
from outlast.testing import assert_done, assert_failed, assert_status, by_hand, clock_of, drain
from tests.workflows.programs import SEEN, Declined, charge, flaky, reserve, ship

Told = list[dict[str, Any]]


def hears(engine: Engine) -> Told:
    """What the engine tells of steps that are not called, from now on."""
    told: Told = []
    engine.on("steps.uncalled", lambda name, fields: told.append(fields))
    return told


def release(body: Callable[[], Any]) -> Any:
    """The same workflow with other code."""
    return workflow(name="uncalled.shop")(body)


async def before() -> Any:
    await reserve(1)
    await charge(1, 500)
    await sleep(60)
    return await ship(1)  # type: ignore[misc]


@workflow(name="uncalled.kid")
async def kid() -> None:
    await wait_for_signal("never")


async def _begun(url: str, body: Any = before) -> str:
    async with by_hand(url=url, programs=[release(body)]) as engine:
        handle = await engine.start(release(body).new())
        await drain(engine)
        SEEN.clear()
        return handle.id


async def test_a_step_that_was_taken_away_is_told_with_the_ids_and_shown(store_url: str, caplog: Any) -> None:
    async def after() -> Any:
        await reserve(1)
        await sleep(60)
        return await ship(1)  # type: ignore[misc]

    id = await _begun(store_url)
    async with by_hand(url=store_url, programs=[release(after)]) as engine:
        told = hears(engine)
        clock_of(engine).jump(61)
        with caplog.at_level(logging.WARNING, logger="outlast"):
            await drain(engine)

        assert await assert_done(engine, id) == 1
        assert {step.key: step.called for step in await engine.steps(id)} == {
            "reserve#1": True,
            "charge#1": False,
            "sleep#1": True,
            "ship#1": True,
        }
        kept = next(step for step in await engine.steps(id) if step.key == "charge#1")
        assert kept.value == {"order": 1, "cents": 500}
    assert [{**fields, "engine": ""} for fields in told] == [
        {"id": id, "program": "uncalled.shop", "version": 1, "keys": "charge#1", "status": "done", "engine": ""}
    ]
    (record,) = [record for record in caplog.records if "steps.uncalled" in record.getMessage()]
    assert (record.outlast_id, record.outlast_keys) == (id, "charge#1")


async def test_it_is_told_once_however_often_the_workflow_waits(store_url: str) -> None:
    async def after() -> Any:
        await reserve(1)
        await sleep(60)
        await wait_for_signal("one")
        await wait_for_signal("two")

    id = await _begun(store_url)
    async with by_hand(url=store_url, programs=[release(after)]) as engine:
        told = hears(engine)
        clock_of(engine).jump(61)
        await drain(engine)
        await assert_status(engine, id, "waiting")
        for name in ("one", "two"):
            await engine.signal(id, name)
            await drain(engine)
        await assert_done(engine, id)
        assert [step.key for step in await engine.steps(id) if not step.called] == ["charge#1"]
    assert [(fields["keys"], fields["status"]) for fields in told] == [("charge#1", "waiting")]


async def test_what_is_called_later_after_all_is_called(store_url: str) -> None:
    async def after() -> Any:
        await reserve(1)
        await wait_for_signal("new")
        receipt = await charge(1, 500)
        await sleep(60)
        return receipt.cents

    id = await _begun(store_url)
    async with by_hand(url=store_url, programs=[release(after)]) as engine:
        told = hears(engine)
        clock_of(engine).jump(61)
        await drain(engine)
        assert [step.key for step in await engine.steps(id) if not step.called] == ["charge#1", "sleep#1"]
        await engine.signal(id, "new")
        await drain(engine)

        assert await assert_done(engine, id) == 500
        assert all(step.called for step in await engine.steps(id))
    assert [fields["keys"] for fields in told] == ["charge#1, sleep#1"]
    assert SEEN == []


async def test_waits_children_and_branches_are_told_too(store_url: str) -> None:
    async def old_branch() -> Any:
        await reserve(1)
        await wait_for_signal("never")

    async def after() -> str:
        await sleep(1)
        return "over"

    async def first() -> Any:
        await parallel(old_branch(), call_child(kid.new()), sleep(1))

    id = await _begun(store_url, first)
    async with by_hand(url=store_url, programs=[release(after)]) as engine:
        told = hears(engine)
        for _ in range(2):  # the old sleep, and the new one.
            clock_of(engine).jump(61)
            await drain(engine)
        assert await assert_done(engine, id) == "over"
    keys = "call_child#1/child:uncalled.kid#1, old_branch#1/reserve#1, old_branch#1/signal:never#1, sleep#1/sleep#1"
    assert [fields["keys"] for fields in told if fields["id"] == id] == [keys]


async def test_what_stands_though_its_workflow_fails_is_told(store_url: str) -> None:
    """A compensation takes what the call was given, and there is no call: it is told, and not done."""

    async def after() -> Any:
        await reserve(1)
        await charge(2, 300)
        await sleep(60)
        await wait_for_signal("go")
        raise Declined

    async def first() -> Any:
        await reserve(1)
        await charge(2, 300)
        await charge(1, 500)
        await sleep(60)

    id = await _begun(store_url, first)
    async with by_hand(url=store_url, programs=[release(after)]) as engine:
        told = hears(engine)
        clock_of(engine).jump(61)
        await drain(engine)
        await engine.signal(id, "go")
        await drain(engine)
        await assert_status(engine, id, "compensated")
        assert [step.key for step in await engine.steps(id) if not step.called] == ["charge#2"]
    assert [(fields["keys"], fields["status"], fields.get("not_undone")) for fields in told] == [
        ("charge#2", "waiting", None),
        ("charge#2", "failed", "charge#2"),
    ]
    assert SEEN == ["refund 2 300"]


async def test_a_compensation_that_had_begun_and_is_lost_is_one_that_failed(store_url: str) -> None:
    @step(max_attempts=2)
    async def undo() -> None:
        raise ConnectionError("not yet")

    @step(compensate=undo)
    async def do() -> int:
        return 1

    async def first() -> None:
        await reserve(1)
        await charge(1, 100)
        await do()
        raise Declined

    async def after() -> None:
        await charge(1, 100)
        raise Declined

    async with by_hand(url=store_url, programs=[release(first)]) as engine:
        handle = await engine.start(release(first).new())
        await drain(engine, max_steps=2, with_scheduled=False)
        SEEN.clear()
        await assert_status(engine, handle, "waiting")  # for the second attempt of `undo`.
    async with by_hand(url=store_url, programs=[release(after)]) as engine:
        told = hears(engine)
        clock_of(engine).jump(61)
        await drain(engine)
        found = await assert_status(engine, handle.id, "compensation_failed")
        assert found.error is not None
        assert "Declined" in found.error["type"]
    assert [(fields["keys"], fields.get("not_undone")) for fields in told] == [("do#1, reserve#1", "do#1, reserve#1")]
    assert SEEN == ["refund 1 100"]


async def test_unchanged_code_is_never_told_of(hand: Engine) -> None:
    told = hears(hand)

    async def branch(number: int) -> Any:
        await reserve(number)
        await sleep(number)
        return await ship(number)  # type: ignore[misc]

    @workflow
    async def shop() -> Any:
        try:
            await parallel(branch(1), branch(2), charge(3, -1))
        except Declined:
            await sleep(5)
        got = await parallel(branch(10), branch(20), flaky(2))
        await wait_for_signal("go", timeout=30)
        return got

    handle = await hand.start(shop.new())
    for _ in range(6):
        await drain(hand)
        clock_of(hand).jump(61)
    assert await assert_done(hand, handle) == [10, 20, 2]
    assert told == []
    assert all(step.called for step in await hand.steps(handle))


async def test_retry_along_another_way_tells_what_the_first_way_had_done(hand: Engine) -> None:
    """The step that had failed succeeds: what was done instead is not called any more."""
    told, good = hears(hand), []

    @step
    async def main_way() -> str:
        if not good:
            raise Declined
        return "main"

    @workflow
    async def shop() -> str:
        try:
            way = await main_way()
        except StepFailed:
            way = await reserve(1)
            raise
        return way

    handle = await hand.start(shop.new())
    await drain(hand)
    await assert_failed(hand, handle, "Declined")
    good.append(1)
    await hand.retry(handle.id)
    await drain(hand)

    assert await assert_done(hand, handle) == "main"
    assert [fields["keys"] for fields in told] == ["reserve#1"]


async def test_the_record_itself_is_not_shown_as_a_step(store_url: str) -> None:
    async def after() -> Any:
        await wait_for_signal("go")

    id = await _begun(store_url)
    async with by_hand(url=store_url, programs=[release(after)]) as engine:
        clock_of(engine).jump(61)
        await drain(engine)
        keys = [step.key for step in await engine.steps(id)]
        assert keys == ["reserve#1", "charge#1", "sleep#1", "signal:go#1"]
        assert await engine.pending_inputs() == []
