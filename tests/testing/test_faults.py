"""Crashes around a commit, and processes that wake up too late."""

import pytest

from outlast import Engine
from outlast.errors import ConfigError
from outlast.testing import (
    Tally,
    assert_done,
    assert_status,
    crash_after_commit,
    crash_before_commit,
    drain,
    run_step_twice,
)
from tests.testing.programs import SEEN, Family, Order, greet


async def test_a_crash_before_the_commit_runs_the_step_again(engine: Engine) -> None:
    handle = await engine.start(greet.new(name="ann"))

    with crash_before_commit(engine, greet) as fault:
        tally = await drain(engine)

    assert (tally, fault.hits) == (Tally(steps=2, done=2, crashes=1), 1)
    assert SEEN == ["ann", "ann"]
    found = await assert_status(engine, handle, "done")
    assert (found.attempt, found.crashes, found.result) == (0, 1, "hello ann")


async def test_a_crash_after_the_commit_does_not(engine: Engine) -> None:
    handle = await engine.start(greet.new(name="ann"))

    with crash_after_commit(engine):
        tally = await drain(engine)

    assert tally == Tally(steps=1, done=1, crashes=1)
    assert SEEN == ["ann"]
    assert await handle.result(10) == "hello ann"


async def test_a_process_that_wakes_up_too_late_commits_nothing(engine: Engine) -> None:
    order = await engine.start(Order(number=7))
    await drain(engine)
    await engine.signal(order, "paid", 1)

    with run_step_twice(engine, Order, Order.ship):
        assert (await drain(engine)).crashes == 1

    assert SEEN == ["ship 7", "ship 7"]
    assert (await order.get()).epoch == 4
    assert [signal.consumed_at is not None for signal in await engine.signals(order)] == [True]


async def test_a_step_is_chosen_by_program_and_name(engine: Engine) -> None:
    await engine.start(Order(number=1))
    await engine.start(greet.new(name="ann"))

    with crash_before_commit(engine, "kit.order", "wait", times=2) as fault:
        await drain(engine)

    assert (fault.hits, SEEN) == (2, ["ann"])


async def test_children_are_spawned_once_however_often_their_parent_crashes(engine: Engine) -> None:
    family = await engine.start(Family())

    with crash_before_commit(engine, Family), crash_after_commit(engine, greet, times=2):
        await drain(engine)
    await assert_done(engine, family, ["hello ann", "hello bob"])

    assert SEEN == ["ann", "bob"]


async def test_too_many_crashes_quarantine(engine: Engine) -> None:
    handle = await engine.start(greet.new(name="ann"))

    with crash_before_commit(engine, times=9) as fault:
        await drain(engine)

    assert fault.hits == 3
    await assert_status(engine, handle, "quarantined")


async def test_a_fault_that_hits_nothing_says_so(engine: Engine) -> None:
    with pytest.raises(AssertionError, match=r"crash_after_commit hit nothing: no step of program 'kit.order'"):
        with crash_after_commit(engine, Order):
            await drain(engine)


async def test_an_error_within_the_block_is_not_hidden(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="of the test"), crash_before_commit(engine):
        raise RuntimeError("of the test")


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="times"), crash_before_commit(Engine("sqlite://"), times=0):
        pass
    with pytest.raises(ConfigError, match="program takes"), crash_before_commit(Engine("sqlite://"), 5):  # type: ignore[arg-type]
        pass
    with pytest.raises(ConfigError, match="step takes"), crash_before_commit(Engine("sqlite://"), step=5):  # type: ignore[arg-type]
        pass
