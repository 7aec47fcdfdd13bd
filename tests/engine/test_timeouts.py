"""A step's timeout: enforced, recorded, and never confused with the user's own."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast import Context, Engine, InstanceFailed, backoff, job
from tests.engine.given import SOON_S, Ear, Engines, Tally, soon

OURS = "outlast.errors.StepTimeout"


async def test_an_async_step_is_cancelled_at_its_timeout(engine: Engine) -> None:
    cancelled = Tally()

    @job(timeout=0.05, max_attempts=2, backoff=backoff.constant(0))
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.add()
            raise

    handle = await engine.start(hang.new())

    with pytest.raises(InstanceFailed, match=r"longer than its timeout of 0\.05 s") as caught:
        await handle.result(SOON_S)
    assert caught.value.error is not None
    assert caught.value.error["type"] == OURS
    assert cancelled.count == 2


async def test_a_step_that_ends_in_time_is_left_alone(engine: Engine) -> None:
    @job(timeout=30)
    async def quick() -> str:
        return "in time"

    @job(timeout=30)
    def quick_in_thread() -> str:
        return "in time"

    for work in (quick, quick_in_thread):
        assert await (await engine.start(work.new())).result(SOON_S) == "in time"


async def test_a_def_is_given_up_and_the_pool_serves_others(engines: Engines) -> None:
    engine = await engines.open(threads=1)
    ear, gate, left = Ear(engine), threading.Event(), threading.Event()

    @job(timeout=0.05, max_attempts=1)
    def hang() -> str:
        gate.wait(SOON_S)
        left.set()
        return "too late"

    @job
    def other() -> str:
        return "served"

    handle = await engine.start(hang.new())
    waiting = await engine.start(other.new())  # it waits behind the only thread.

    with pytest.raises(InstanceFailed) as caught:
        await handle.result(SOON_S)
    assert caught.value.error is not None
    assert caught.value.error["type"] == OURS
    assert await waiting.result(SOON_S) == "served"
    assert ear.all("step.abandoned")[0]["stuck"] == 1

    gate.set()
    await asyncio.to_thread(left.wait, SOON_S)
    assert await (await engine.start(other.new())).result(SOON_S) == "served"
    assert ((await handle.get()).status, (await handle.get()).result) == ("failed", None)
    await _no_steps_left()


async def test_more_given_up_steps_than_threads_do_not_stop_the_pool_for_ever(engines: Engines) -> None:
    engine = await engines.open(threads=2)
    gate = threading.Event()

    @job(timeout=0.03, max_attempts=1)
    def hang() -> None:
        gate.wait(SOON_S)

    @job
    def other() -> str:
        return "served"

    stuck = await engine.start_many(hang.new() for _ in range(8))
    for handle in stuck:
        with pytest.raises(InstanceFailed):
            await handle.result(SOON_S)
    waiting = await engine.start(other.new())
    gate.set()

    assert await waiting.result(SOON_S) == "served"
    await _no_steps_left()


async def test_the_users_own_timeout_error_is_not_ours(engine: Engine) -> None:
    @job(timeout=30, max_attempts=1)
    async def ask() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    @job(timeout=30, max_attempts=1)
    def ask_in_thread() -> None:
        raise TimeoutError("the bank did not answer")

    for work in (ask, ask_in_thread):
        with pytest.raises(InstanceFailed) as caught:
            await (await engine.start(work.new())).result(SOON_S)
        assert caught.value.error is not None
        assert caught.value.error["type"] == "TimeoutError"


async def test_an_answer_after_the_timeout_does_not_count(engine: Engine) -> None:
    @job(timeout=0.03, max_attempts=1)
    async def swallow() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return "too late"

    handle = await engine.start(swallow.new())

    with pytest.raises(InstanceFailed, match="StepTimeout"):
        await handle.result(SOON_S)


async def test_the_deadline_is_known_to_the_step(engine: Engine) -> None:
    seen: list[Any] = []

    @job(timeout=60)
    async def look(ctx: Context) -> None:
        seen.append(ctx.deadline)

    await (await engine.start(look.new())).result(SOON_S)

    assert seen[0].tzinfo is UTC
    assert abs(seen[0] - datetime.now(UTC) - timedelta(seconds=60)) < timedelta(seconds=SOON_S)


async def test_a_step_that_swallows_its_timeout_loses_the_instance_and_cannot_commit(engines: Engines) -> None:
    # The lease is the grace after a deadline: when both have passed, anybody may take the instance.
    engine = await engines.open(lease=1.0, reap_interval=0.05, poll_interval=0.05, max_poll_interval=0.05)
    ear, gate, runs = Ear(engine), asyncio.Event(), Tally()

    @job(timeout=0.05)
    async def deaf() -> str:
        if runs.add() > 1:
            return "done by the second"
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        return "too late"

    handle = await engine.start(deaf.new())
    await ear.hears("claims.reclaimed", returned=1)
    assert runs.count == 1  # not run beside itself in the process where it still runs.
    gate.set()

    assert await handle.result(SOON_S) == "done by the second"
    assert (await handle.get()).crashes == 1
    assert len(ear.all("claim.stale")) <= 1


async def _no_steps_left() -> None:
    """Steps that were given up end on their own time."""

    def left() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "outlast-step"]

    await soon(eventually_async(lambda: len(left()) <= 2, what="given-up threads end"))
