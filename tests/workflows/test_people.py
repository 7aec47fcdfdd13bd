"""People: asked by name, answered once, and checked where they answer."""

from datetime import timedelta
from typing import Any

import pytest

from outlast import (
    TIMEOUT,
    Engine,
    Field,
    hours,
    parallel,
    wait_for_approval,
    wait_for_choice,
    wait_for_form,
    wait_for_input,
    wait_for_text,
    workflow,
)
from outlast.errors import InputCancelled, InvalidAnswer, NotFound
from outlast.testing import assert_done, assert_failed, assert_status, clock_of, drain
from tests.engine.given import Ear
from tests.workflows.programs import ship

ADDRESS = [
    Field("street", max_length=20),
    Field("floor", type="integer", minimum=0, maximum=80, required=False),
    Field("country", type="select", options=["DE", "FR"]),
    Field("since", type="date", required=False),
    Field("extras", type="multi_select", options=["gift", "express"], required=False),
    Field("bill", type="boolean", required=False),
    Field("tip", type="number", required=False),
]


@workflow(name="people.approval")
async def approval(timeout_s: float | None = None) -> Any:
    return await wait_for_approval(
        "manager", prompt="Ship it?", timeout=timeout_s, metadata={"order": 7}, default="nobody"
    )


async def test_who_waits_for_what_since_when_and_until_when(hand: Engine) -> None:
    handle = await hand.start(approval.new(7200))
    await drain(hand)

    (asked,) = await hand.pending_inputs()
    assert (asked.instance, asked.program, asked.name, asked.type) == (
        handle.id,
        "people.approval",
        "manager",
        "approval",
    )
    assert (asked.prompt, asked.metadata, asked.key) == ("Ship it?", {"order": 7}, "input:manager#1")
    assert asked.until is not None
    assert abs(asked.until - asked.since - timedelta(hours=2)) < timedelta(seconds=5)
    assert await hand.pending_inputs(program="people.approval", name="manager", until=asked.until) == [asked]
    assert await hand.pending_inputs(name="boss") == await hand.pending_inputs(program="other") == []
    assert await hand.pending_inputs(until=asked.since) == []


@pytest.mark.parametrize(
    ("given", "got"), [(True, "approved"), ("approved", "approved"), (False, "rejected"), ("rejected", "rejected")]
)
async def test_an_approval(hand: Engine, given: Any, got: str) -> None:
    handle = await hand.start(approval.new())
    await drain(hand)

    assert await hand.provide_input(handle, "manager", given) == "delivered"
    assert await hand.provide_input(handle, "manager", given) == "duplicate"
    await drain(hand)

    assert await assert_done(hand, handle) == got
    assert await hand.pending_inputs() == []
    with pytest.raises(NotFound, match="asks for no input called 'manager'"):
        await hand.provide_input(handle, "manager", given)


async def test_an_answer_that_does_not_fit_is_refused_where_it_is_given(hand: Engine) -> None:
    handle = await hand.start(approval.new())
    await drain(hand)

    with pytest.raises(InvalidAnswer, match="'approved' or 'rejected' was expected, not 'maybe'"):
        await hand.provide_input(handle, "manager", "maybe")
    with pytest.raises(NotFound, match=r"asks for no input called 'boss'; it asks for 'manager'"):
        await hand.provide_input(handle, "boss", True)

    assert (await drain(hand)).steps == 0
    assert len(await hand.pending_inputs()) == 1


async def test_what_is_asked_can_be_called_off(hand: Engine) -> None:
    @workflow
    async def careful() -> Any:
        try:
            return await wait_for_form("address", [Field("street")])
        except InputCancelled as error:
            return [error.name, error.reason]

    handle, failing = await hand.start(careful.new()), await hand.start(approval.new())
    await drain(hand)

    assert await hand.cancel_input(handle, "address", "sold out") == "delivered"
    assert await hand.cancel_input(handle, "address") == "duplicate"
    assert await hand.provide_input(handle, "address", {"street": "A 1"}) == "duplicate"
    assert await hand.cancel_input(failing.id, "manager") == "delivered"
    with pytest.raises(NotFound, match="asks for no input called 'boss'"):
        await hand.cancel_input(failing, "boss")
    await drain(hand)

    assert await assert_done(hand, handle) == ["address", "sold out"]
    await assert_failed(hand, failing, "input 'manager' was called off")
    assert await hand.pending_inputs() == []
    (step, *_) = await hand.steps(handle)
    assert (step.status, step.value["cancelled"]) == ("done", "sold out")


async def test_an_answer_that_was_given_is_not_called_off(hand: Engine) -> None:
    handle = await hand.start(approval.new())
    await drain(hand)

    assert await hand.provide_input(handle, "manager", True) == "delivered"
    assert await hand.cancel_input(handle, "manager") == "duplicate"
    await drain(hand)

    assert await assert_done(hand, handle) == "approved"


async def test_what_is_asked_and_what_became_of_it_is_told(hand: Engine) -> None:
    ear = Ear(hand)
    answered, cancelled, late = [await hand.start(approval.new(3600)) for _ in range(3)]
    await drain(hand)
    await hand.provide_input(answered, "manager", True)
    await hand.cancel_input(cancelled, "manager")
    await drain(hand)
    clock_of(hand).jump(hours(1))
    await drain(hand)

    for handle, result in ((answered, "answered"), (cancelled, "cancelled"), (late, "late")):
        facts = {"id": handle.id, "program": "people.approval", "key": "input:manager#1", "input": "manager"}
        assert len(ear.all("input.asked", **facts)) == 1
        (closed,) = ear.all("input.closed", **facts)
        assert closed["result"] == result


async def test_no_answer_looks_like_a_call_off(hand: Engine) -> None:
    @workflow
    async def asks() -> Any:
        return await wait_for_form("address", [Field("cancelled")])

    handle = await hand.start(asks.new())
    await drain(hand)

    await hand.provide_input(handle, "address", {"cancelled": "no"})
    await drain(hand)

    assert await assert_done(hand, handle) == {"cancelled": "no"}


async def test_nobody_answers(hand: Engine) -> None:
    @workflow
    async def strict() -> Any:
        await wait_for_text("name", timeout=hours(1), on_timeout="fail")

    handle, failing = await hand.start(approval.new(3600)), await hand.start(strict.new())
    await drain(hand)
    clock_of(hand).jump(hours(1))
    await drain(hand)

    assert await assert_done(hand, handle) == "nobody"
    await assert_failed(hand, failing, "nobody answered 'name' in time")


@pytest.mark.parametrize(
    ("answer", "problems"),
    [
        ({"street": "A 1", "country": "DE"}, {}),
        (
            {
                "street": "A 1",
                "country": "FR",
                "floor": 3,
                "since": "2026-01-31",
                "extras": ["gift"],
                "bill": True,
                "tip": 1.5,
            },
            {},
        ),
        ({}, {"street": "missing", "country": "missing"}),
        ("A 1", {"": "an object"}),
        ({"street": "A" * 21, "country": "DE"}, {"street": "at most 20"}),
        ({"street": 5, "country": "DE"}, {"street": "text was expected"}),
        ({"street": "A", "country": "IT"}, {"country": "one of 'DE', 'FR'"}),
        ({"street": "A", "country": "DE", "floor": -1}, {"floor": "at least 0"}),
        ({"street": "A", "country": "DE", "floor": 81}, {"floor": "at most 80"}),
        ({"street": "A", "country": "DE", "floor": 1.5}, {"floor": "whole number"}),
        ({"street": "A", "country": "DE", "floor": True}, {"floor": "whole number"}),
        ({"street": "A", "country": "DE", "tip": "x"}, {"tip": "a number"}),
        ({"street": "A", "country": "DE", "since": "31.1."}, {"since": "a date"}),
        ({"street": "A", "country": "DE", "since": 5}, {"since": "a date"}),
        ({"street": "A", "country": "DE", "extras": "gift"}, {"extras": "one of"}),
        ({"street": "A", "country": "DE", "extras": ["boat"]}, {"extras": "one of"}),
        ({"street": "A", "country": "DE", "bill": "yes"}, {"bill": "true or false"}),
        ({"street": "A", "country": "DE", "city": "B"}, {"city": "no such field"}),
    ],
)
async def test_a_form(store_url: str, hand: Engine, answer: Any, problems: dict[str, str]) -> None:
    @workflow
    async def form() -> Any:
        return await wait_for_form("address", ADDRESS, prompt="Where to?")

    handle = await hand.start(form.new())
    await drain(hand)
    if problems:
        with pytest.raises(InvalidAnswer) as caught:
            await hand.provide_input(handle, "address", answer)
        assert caught.value.problems.keys() == problems.keys()
        assert all(part in caught.value.problems[field] for field, part in problems.items())
        return
    await hand.provide_input(handle, "address", answer)
    await drain(hand)
    assert await assert_done(hand, handle) == answer


async def test_choices_and_texts(hand: Engine) -> None:
    @workflow
    async def asks() -> Any:
        one = await wait_for_choice("size", ["S", "M"])
        some = await wait_for_choice("extras", ["a", "b", "c"], multiple=True)
        text = await wait_for_text("name", max_length=5)
        return [one, some, text, await wait_for_input("more", timeout=60) or "none"]

    handle = await hand.start(asks.new())
    for name, bad, good in (("size", "XL", "M"), ("extras", ["d"], ["a", "c"]), ("name", "too long", "ann")):
        await drain(hand)
        with pytest.raises(InvalidAnswer):
            await hand.provide_input(handle, name, bad)
        await hand.provide_input(handle, name, good)
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert await assert_done(hand, handle) == ["M", ["a", "c"], "ann", "none"]
    assert not TIMEOUT


async def test_two_people_are_asked_side_by_side_but_not_under_one_name(hand: Engine) -> None:
    @workflow
    async def both(second: str) -> Any:
        return list(await parallel(wait_for_approval("ann"), wait_for_approval(second), ship(1)))  # type: ignore[arg-type]

    handle, clash = await hand.start(both.new("bob")), await hand.start(both.new("ann"))
    await drain(hand)
    await assert_failed(hand, clash, "an input called 'ann' is waited for already")
    await hand.provide_input(handle, "bob", False)
    await drain(hand)
    await assert_status(hand, handle, "waiting")
    assert [asked.name for asked in await hand.pending_inputs()] == ["ann"]
    await hand.provide_input(handle, "ann", True)
    await drain(hand)

    assert await assert_done(hand, handle) == ["approved", "rejected", 1]


async def test_a_cancelled_instance_asks_nobody(hand: Engine) -> None:
    handle = await hand.start(approval.new())
    await drain(hand)

    await hand.cancel(handle.id)

    assert await hand.pending_inputs() == []


async def test_wrong_requests_fail_with_a_sentence(hand: Engine) -> None:
    @workflow
    async def wrong(how: str) -> None:
        match how:
            case "choices":
                await wait_for_choice("size", [])
            case "fields":
                await wait_for_form("address", [Field("a"), Field("a")])
            case "type":
                await wait_for_input("x", type="colour")  # type: ignore[arg-type]

    for how, complaint in (("choices", "different choices"), ("fields", "fields with different"), ("type", "type")):
        handle = await hand.start(wrong.new(how))
        await drain(hand)
        await assert_failed(hand, handle, complaint)
