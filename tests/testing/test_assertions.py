"""Assertions, and what they say when they fail."""

import re
from dataclasses import dataclass

import pytest

from outlast import Engine
from outlast.testing import (
    assert_awaiting,
    assert_done,
    assert_failed,
    assert_status,
    describe,
    drain,
    fire_timeouts,
    instance,
)
from tests.testing.programs import Order, greet


async def test_an_instance_is_found_by_key_handle_and_id_also_when_it_has_ended(engine: Engine) -> None:
    handle = await engine.start(greet.new(name="ann"), correlation_key="ann")
    for target in ("ann", handle, handle.id):
        found = await instance(engine, target)
        assert found is not None
        assert found.id == handle.id
    await drain(engine)

    newer = await engine.start(greet.new(name="ann"), correlation_key="ann")

    found = await instance(engine, "ann")
    assert found is not None
    assert found.id == newer.id
    assert await instance(engine, "bob") is None
    assert await instance(engine, "0190a4b0-0000-7000-8000-000000000000") is None


async def test_what_is_as_expected_is_returned(engine: Engine) -> None:
    order = await engine.start(Order(number=7), correlation_key="order:7")
    assert (await assert_status(engine, order, "done", "ready")).id == order.id
    await drain(engine)
    assert (await assert_awaiting(engine, "order:7", "paid")).awaits == ("paid",)
    assert (await assert_awaiting(engine, "order:7", ["paid"])).step == "ship"
    await engine.signal(order, "paid", 10)
    await drain(engine)

    assert await assert_done(engine, order) == {"order": 7, "paid": 10}
    assert await assert_done(engine, order, {"paid": 10, "order": 7}) == {"order": 7, "paid": 10}


@dataclass
class Shipped:
    order: int
    paid: int


async def test_results_are_compared_as_stored(engine: Engine) -> None:
    order = await engine.start(Order(number=7))
    await drain(engine)
    await engine.signal(order, "paid", 10)
    await drain(engine)

    await assert_done(engine, order, Shipped(7, 10))
    with pytest.raises(AssertionError, match=r"to be done with {'order': 7, 'paid': 11}, not"):
        await assert_done(engine, order, Shipped(7, 11))


async def test_failures_are_matched_by_text_or_pattern(engine: Engine) -> None:
    order = await engine.start(Order(number=7))
    await drain(engine)
    await fire_timeouts(engine)
    await drain(engine)

    assert (await assert_failed(engine, order))["message"] == "payment never came"
    await assert_failed(engine, order, "never came")
    await assert_failed(engine, order, re.compile("Stop: pay.*came$"))
    with pytest.raises(AssertionError, match="to have failed with 'no stock', not 'Stop: payment never came'"):
        await assert_failed(engine, order, "no stock")
    with pytest.raises(AssertionError, match="to be done; it is 'failed'"):
        await assert_done(engine, order)


async def test_a_failed_assertion_tells_where_the_instance_stands(engine: Engine) -> None:
    order = await engine.start(Order(number=7), correlation_key="order:7")
    with pytest.raises(AssertionError, match="did the test drain"):
        await assert_done(engine, "order:7")
    await drain(engine)
    await engine.signal(order, "note", {"by": "ann"})

    with pytest.raises(AssertionError) as caught:
        await assert_status(engine, "order:7", "done", "failed")

    text = str(caught.value)
    assert "expected 'order:7' to be 'done' or 'failed'; it is 'waiting'" in text
    assert f"instance  {order.id}: kit.order version 1, step 'ship', queue 'default'" in text
    assert "waits for 'paid', until 20" in text
    assert "inbox     note {'by': 'ann'}" in text
    assert "state     {'number': 7, 'paid': None}" in text
    assert text.endswith(await describe(engine, order))


async def test_the_wrong_signal_and_a_missing_instance_are_told(engine: Engine) -> None:
    order = await engine.start(Order(number=7))
    await drain(engine)

    with pytest.raises(AssertionError, match="to wait for 'paid', 'refunded'"):
        await assert_awaiting(engine, order, {"paid", "refunded"})
    with pytest.raises(AssertionError, match="there is no instance 'order:8'"):
        await assert_awaiting(engine, "order:8", "paid")
