"""What other models of workflows promise of waits: payloads, several of them, deadlines, and what is left of them."""

from typing import Any

import pytest

from outlast import (
    TIMEOUT,
    Engine,
    hours,
    sleep,
    wait_for_all,
    wait_for_any,
    wait_for_approval,
    wait_for_signal,
    workflow,
)
from outlast.testing import (
    assert_awaiting,
    assert_done,
    assert_status,
    clock_of,
    crash_before_commit,
    drain,
)
from tests.workflows.programs import SEEN, payment, ship


@pytest.mark.parametrize("payload", [{"cents": 5}, [1, 2], "text", 5, 1.5, True, None], ids=str)
async def test_a_payload_of_any_kind_comes_as_it_was_sent(hand: Engine, payload: Any) -> None:
    handle = await hand.start(payment.new(3600))
    await drain(hand)
    await hand.signal(handle, "paid", payload)
    await drain(hand)

    got = await assert_done(hand, handle)
    assert (got, type(got)) == (payload, type(payload))


async def test_a_code_may_sleep_as_often_as_it_likes(hand: Engine) -> None:
    @workflow
    async def naps() -> int:
        for number in range(5):
            await sleep(hours(1))
            await ship(number)  # type: ignore[misc]
        return 5

    handle = await hand.start(naps.new())
    for _ in range(6):
        await drain(hand)
        clock_of(hand).jump(hours(1))

    assert await assert_done(hand, handle) == 5
    assert SEEN == [f"ship {number}" for number in range(5)]


async def test_what_came_too_few_stays_in_the_inbox(hand: Engine) -> None:
    seen: list[Any] = []

    @workflow
    async def waits() -> Any:
        seen.append(await wait_for_all("a", "b", timeout=60))
        return await wait_for_signal("a", timeout=0)

    handle = await hand.start(waits.new())
    await hand.signal(handle, "a", "A")
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert await assert_done(hand, handle) == "A"
    assert set(seen) == {TIMEOUT}


async def test_a_wait_may_be_called_off_by_another_signal(hand: Engine) -> None:
    @workflow
    async def waits() -> Any:
        return await wait_for_any("paid", "never mind")

    handle = await hand.start(waits.new())
    await drain(hand)
    await assert_awaiting(hand, handle, ["paid", "never mind"])
    await hand.signal(handle, "never mind", "sold out")
    await drain(hand)

    assert await assert_done(hand, handle) == ["never mind", "sold out"]


async def test_a_signal_is_used_up_with_what_is_recorded_of_it(hand: Engine) -> None:
    handle = await hand.start(payment.new(3600))
    await drain(hand)
    await hand.signal(handle, "paid", 5)
    with crash_before_commit(hand, payment, "ship", times=2):
        await drain(hand)

    assert await assert_done(hand, handle) == 5
    assert SEEN == ["reserve 1", *["ship 1"] * 3]
    assert [signal.consumed_at is not None for signal in await hand.signals(handle)] == [True]


async def test_what_people_said_and_did_not_say_is_in_the_journal(hand: Engine) -> None:
    @workflow
    async def asks() -> None:
        await wait_for_approval("ann")
        await wait_for_approval("bob", timeout=60)
        await wait_for_approval("eve")

    handle = await hand.start(asks.new())
    await drain(hand)
    await hand.provide_input(handle, "ann", True)
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    found = {step.value["name"]: step for step in await hand.steps(handle) if step.kind == "input"}
    assert {name: step.status for name, step in found.items()} == {"ann": "done", "bob": "done", "eve": "waiting"}
    assert found["ann"].value["answer"] == "approved"
    assert found["bob"].value["late"] is True


async def test_who_waits_for_a_signal_can_be_listed(hand: Engine) -> None:
    first, second = await hand.start(payment.new(3600)), await hand.start(payment.new(7200))
    await drain(hand)

    waiting = await hand.list(status="waiting", program="wf.payment")

    assert [found.id for found in waiting] == [second.id, first.id]
    assert {found.awaits for found in waiting} == {("paid",)}
    assert all(found.wake_at is not None for found in waiting)
    await assert_status(hand, first, "waiting")
