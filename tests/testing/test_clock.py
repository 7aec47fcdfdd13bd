"""A clock that jumps, under engines run by hand and under workers."""

from datetime import UTC, datetime, timedelta

import pytest

from outlast import Engine, days, hours
from outlast.errors import ConfigError, EngineStateError
from outlast.testing import Clock, assert_status, clock_of, drain, instance, prune
from tests.engine.given import soon
from tests.testing.programs import ALL, Order, greet


def test_it_goes_ahead_and_never_back() -> None:
    clock = Clock()
    real = datetime.now(UTC)
    assert abs(clock.now() - real) < timedelta(seconds=5)

    clock.jump(hours(3))
    clock.jump(90)

    assert clock.ahead == timedelta(hours=3, seconds=90)
    clock.jump_to(real + days(1))
    assert abs(clock.now() - real - days(1)) < timedelta(seconds=5)
    for wrong in (-1, timedelta(seconds=-5), "soon"):
        with pytest.raises(ConfigError):
            clock.jump(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="never goes back"):
        clock.jump_to(real)
    with pytest.raises(ConfigError, match="aware"):
        clock.jump_to(datetime(2100, 1, 1))  # noqa: DTZ001


async def test_stored_times_are_its_own(engine: Engine) -> None:
    clock_of(engine).jump(days(40))

    handle = await engine.start(greet.new(name="ann"), schedule_in=hours(1))

    found = await handle.get()
    assert abs(found.created_at - clock_of(engine).now()) < timedelta(seconds=60)
    assert found.due_at - found.created_at == hours(1)


async def test_retention_passes_with_a_jump(engine: Engine) -> None:
    handle = await engine.start(greet.new(name="ann"))
    await drain(engine)
    assert await prune(engine) == 0
    await assert_status(engine, handle, "done")

    clock_of(engine).jump(days(2))

    assert await prune(engine) == 1
    assert await instance(engine, handle) is None


async def test_a_worker_looks_at_what_is_due_as_soon_as_the_clock_jumps(store_url: str) -> None:
    clock = Clock()
    engine = clock.rule(Engine(store_url, programs=ALL, poll_interval=60, max_poll_interval=60))
    await engine.migrate()
    async with engine:
        later = await engine.start(greet.new(name="ann"), schedule_in=hours(3))
        with pytest.raises(EngineStateError, match="is open"):
            clock.rule(engine)

        clock.jump(hours(3))
        assert await later.result(8) == "hello ann"

        order = await engine.start(Order(number=1))
        while (await order.get()).status != "waiting":
            await soon(engine.standing())
        clock.jump(days(1))
        with pytest.raises(Exception, match="payment never came"):
            await order.result(8)
