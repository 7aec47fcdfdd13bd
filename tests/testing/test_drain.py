"""Running steps by hand: what runs, in which order, and what is counted."""

import asyncio
from typing import Any

import pytest

from outlast import Engine, hours
from outlast.errors import ConfigError, EngineStateError
from outlast.testing import Tally, TooManySteps, assert_done, assert_status, by_hand, clock_of, drain, fire_timeouts
from tests.testing.programs import ALL, SEEN, Endless, Family, Order, flaky, gone, greet


async def test_nothing_runs_until_it_is_drained(engine: Engine) -> None:
    handle = await engine.start(greet.new(name="ann"))
    assert (await handle.get()).status == "ready"

    assert await drain(engine) == Tally(steps=1, done=1)

    assert await handle.result(10) == "hello ann"


async def test_steps_are_told_apart_by_what_came_of_them(engine: Engine) -> None:
    order = await engine.start(Order(number=7))
    await engine.start(Family())
    await engine.start(gone.new())

    assert await drain(engine) == Tally(steps=7, next=1, await_=1, spawn=1, done=3, cancelled=1)

    assert await engine.signal(order, "paid", 10) == "delivered"
    assert await drain(engine) == Tally(steps=1, done=1)
    assert await order.result(10) == {"order": 7, "paid": 10}


async def test_steps_run_one_at_a_time_in_the_order_of_picking(engine: Engine) -> None:
    for name, priority in (("late", 5), ("first", -1), ("second", 0), ("third", 0)):
        await engine.start(greet.new(name=name), priority=priority)

    await drain(engine)

    assert SEEN == ["first", "second", "third", "late"]


async def test_a_machine_is_claimed_anew_for_each_step(engine: Engine) -> None:
    order = await engine.start(Order(number=7))
    await drain(engine)

    assert (await order.get()).epoch == 2


async def test_backoff_and_schedules_are_not_waited_for(engine: Engine) -> None:
    await engine.start(greet.new(name="later"), schedule_in=hours(48))
    await engine.start(greet.new(name="sooner"), schedule_in=hours(47))
    before = clock_of(engine).now()

    assert (await drain(engine)).steps == 2

    assert SEEN == ["sooner", "later"]
    assert clock_of(engine).now() - before < hours(1)


async def test_failed_attempts_are_tried_again_at_once(engine: Engine) -> None:
    handle = await engine.start(flaky.new(good_at=3))

    assert await drain(engine) == Tally(steps=3, retry=2, done=1)
    assert await handle.result(10) == 3


async def test_what_is_due_later_can_be_left_alone(engine: Engine) -> None:
    later = await engine.start(greet.new(name="later"), schedule_in=hours(2))
    assert await drain(engine, with_scheduled=False) == Tally()
    await assert_status(engine, later, "scheduled")

    clock_of(engine).jump(hours(2))

    assert (await drain(engine, with_scheduled=False)).done == 1


async def test_one_queue_can_be_drained_alone(engine: Engine) -> None:
    here = await engine.start(greet.new(name="here"), queue="mail")
    there = await engine.start(greet.new(name="there"), schedule_in=60)

    assert (await drain(engine, queue="mail")).steps == 1

    await assert_done(engine, here)
    await assert_status(engine, there, "scheduled")


async def test_code_without_an_end_is_found(engine: Engine) -> None:
    await engine.start(Endless())

    with pytest.raises(TooManySteps, match=r"ran 25 steps and 1 instances are still to run \(kit.endless at step 'sta"):
        await drain(engine, max_steps=25)


async def test_exactly_as_many_steps_as_allowed_are_no_error(engine: Engine) -> None:
    await engine.start_many([greet.new(name=str(number)) for number in range(3)])

    assert (await drain(engine, max_steps=3)).steps == 3


async def test_keys_and_rate_limits_hold(engine: Engine) -> None:
    before = clock_of(engine).now()
    await engine.start_many([greet.new(name=str(number)) for number in range(3)], rate_limit="slow")
    await engine.start_many([greet.new(name="k") for _ in range(3)], concurrency_key=("pair", 1))
    await engine.start_many([greet.new(name="k") for _ in range(3)], concurrency_key="alone")

    assert (await drain(engine)).done == 9

    assert hours(2) <= clock_of(engine).now() - before < hours(3)


async def test_paused_queues_stay_paused(engine: Engine) -> None:
    await engine.pause_queue("default")
    handle = await engine.start(greet.new(name="ann"))

    assert (await drain(engine)).steps == 0

    await engine.resume_queue("default")
    assert (await drain(engine)).steps == 1
    assert await handle.result(10) == "hello ann"


async def test_deadlines_fire_when_told(engine: Engine) -> None:
    one, two = await engine.start(Order(number=1)), await engine.start(Order(number=2))
    await drain(engine)
    await assert_status(engine, one, "waiting")

    assert await fire_timeouts(engine, one) == 1
    assert (await drain(engine)).failed == 1
    await assert_status(engine, two, "waiting")

    assert await fire_timeouts(engine) == 1
    assert await fire_timeouts(engine) == 0
    assert (await drain(engine)).failed == 1
    assert SEEN == ["ship 1", "ship 2"]


async def test_deadlines_fire_when_the_clock_has_passed_them(engine: Engine) -> None:
    await engine.start(Order(number=1))
    await drain(engine)
    clock_of(engine).jump(hours(23))
    assert (await drain(engine)).steps == 0

    clock_of(engine).jump(hours(2))

    assert (await drain(engine)).failed == 1


async def test_an_application_s_engine_is_borrowed_and_given_back(store_url: str) -> None:
    own = Engine("postgresql://nobody@nowhere.invalid/production", queues={"mail": 3}, programs=ALL)
    config = own.config

    async with by_hand(own, url=store_url) as engine:
        assert engine is own
        await engine.start(greet.new(name="ann"), queue="mail")
        assert (await drain(engine)).done == 1

    assert own.config == config
    assert own.describe() != store_url
    with pytest.raises(EngineStateError, match="not run by hand"):
        await drain(own)


async def test_an_engine_that_works_by_itself_is_not_drained(engine: Engine) -> None:
    async with Engine("sqlite://", programs=ALL) as other:
        with pytest.raises(EngineStateError, match="by_hand"):
            await drain(other)
        with pytest.raises(EngineStateError, match="is open"):
            async with by_hand(other):
                pass


@pytest.mark.parametrize("wrong", [0, -1, True, 2.5])
async def test_a_bad_bound_is_refused(wrong: Any) -> None:
    async with by_hand() as engine:
        with pytest.raises(ConfigError, match="max_steps"):
            await drain(engine, max_steps=wrong)


async def test_two_drains_at_once_are_refused() -> None:
    async with by_hand(programs=ALL) as engine:
        await engine.start(greet.new(name="ann"))
        found = await asyncio.gather(drain(engine), drain(engine), return_exceptions=True)

    assert sorted(type(each).__name__ for each in found) == ["EngineStateError", "Tally"]
