"""User code that raises what nobody should raise: recorded, and the engine goes on."""

import asyncio
from typing import Any

import pytest

from outlast import Engine, InstanceFailed, job
from tests.engine.given import SOON_S, Engines


class OwnBase(BaseException):
    """Not an Exception."""


RAISED = [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError("no"), GeneratorExit(), OwnBase("x")]
STOPS = [StopIteration(1), StopAsyncIteration(2)]


@pytest.fixture
async def narrow(engines: Engines) -> Engine:
    """An engine with one slot and one thread: one that is lost is missed."""
    return await engines.open(queues={"default": 1}, threads=1)


@pytest.mark.parametrize("error", [*RAISED, *STOPS], ids=lambda error: type(error).__name__)
async def test_what_an_async_job_raises_is_its_failure(narrow: Engine, error: BaseException) -> None:
    @job(max_attempts=1)
    async def work() -> None:
        await asyncio.sleep(0)
        raise error

    await _fails_and_leaves_its_slot(narrow, work, error)


@pytest.mark.parametrize("error", [*RAISED, *STOPS], ids=lambda error: type(error).__name__)
async def test_what_a_def_raises_is_its_failure(narrow: Engine, error: BaseException) -> None:
    @job(max_attempts=1)
    def work() -> None:
        raise error

    await _fails_and_leaves_its_slot(narrow, work, error)


async def test_errors_of_a_nested_task_group_are_the_jobs_failure(narrow: Engine) -> None:
    @job(max_attempts=1)
    async def work() -> None:
        async def broken() -> None:
            raise ValueError("inside")

        async with asyncio.TaskGroup() as group:
            group.create_task(broken())
            await asyncio.Event().wait()

    handle = await narrow.start(work.new())

    with pytest.raises(InstanceFailed, match="ExceptionGroup") as caught:
        await handle.result(SOON_S)
    assert caught.value.error is not None
    assert "ValueError: inside" in caught.value.error["traceback"]


async def test_a_job_that_cancels_itself_has_failed(narrow: Engine) -> None:
    @job(max_attempts=1)
    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    await _fails_and_leaves_its_slot(narrow, work, asyncio.CancelledError())


async def test_a_cancelled_future_that_a_job_awaits_is_its_failure(narrow: Engine) -> None:
    @job(max_attempts=1)
    async def work() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    await _fails_and_leaves_its_slot(narrow, work, asyncio.CancelledError())


async def _fails_and_leaves_its_slot(engine: Engine, work: Any, error: BaseException) -> None:
    handle = await engine.start(work.new())

    with pytest.raises(InstanceFailed) as caught:
        await handle.result(SOON_S)

    assert caught.value.error is not None
    wrapped = "RuntimeError" if isinstance(error, StopIteration) else type(error).__name__
    assert caught.value.error["type"].endswith(wrapped)
    for follower in (_follow, _follow_in_thread):
        assert await (await engine.start(follower.new())).result(SOON_S) == "served"


@job(name="test_unruly_code.follow")
async def _follow() -> str:
    return "served"


@job(name="test_unruly_code.follow_in_thread")
def _follow_in_thread() -> str:
    return "served"
