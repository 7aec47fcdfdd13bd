"""User code that raises what nobody should raise: recorded, and the engine goes on."""

import asyncio
from typing import Any

import pytest

from outlast import Engine, InstanceFailed, Machine, Object, backoff, handler, job, step, workflow
from tests.engine.given import SOON_S, Ear, Engines, soon


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


@pytest.mark.parametrize("error", [OwnBase("x"), GeneratorExit(), asyncio.CancelledError("no")], ids=repr)
async def test_what_is_no_exception_within_a_task_group_leaves_the_slot(narrow: Engine, error: BaseException) -> None:
    @job(max_attempts=1)
    async def work() -> str:
        async def broken() -> None:
            raise error

        async with asyncio.TaskGroup() as group:
            group.create_task(broken())
            if not isinstance(error, asyncio.CancelledError):  # which a group takes for a task that was not needed.
                await asyncio.Event().wait()
        return "gone on"

    handle = await narrow.start(work.new())
    if isinstance(error, asyncio.CancelledError):
        assert await handle.result(SOON_S) == "gone on"
    else:
        with pytest.raises(InstanceFailed, match="BaseExceptionGroup"):
            await handle.result(SOON_S)
    assert await (await narrow.start(_follow.new())).result(SOON_S) == "served"


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


class Unspeakable(Exception):
    """What becomes of whoever wants to know what it says."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __str__(self) -> str:
        match self.how:
            case "raises":
                raise LookupError("not even this")
            case "leaves":
                raise SystemExit(3)
            case "interrupts":
                raise KeyboardInterrupt
            case "is cancelled":
                raise asyncio.CancelledError
            case "recurses":
                return str(self)
            case "floods":
                return "x" * 10_000_000
            case _:
                return 5  # type: ignore[return-value]

    __repr__ = __str__


on_one_database = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
"""What is recorded of such errors is plain text by the time that a store sees it."""
HOW = ["raises", "leaves", "interrupts", "is cancelled", "recurses", "floods", "is no text"]


@job(name="test_unruly_code.speak", max_attempts=1)
async def speak(how: str) -> None:
    raise Unspeakable(how)


@job(name="test_unruly_code.speak_in_thread", max_attempts=2, backoff=backoff.constant(0))
def speak_in_thread(how: str) -> None:
    raise Unspeakable(how)


@step(name="test_unruly_code.step", max_attempts=1)
async def say(how: str) -> None:
    raise Unspeakable(how)


@workflow(name="test_unruly_code.workflow")
async def tell(how: str) -> None:
    await say(how)


class Speaker(Machine, name="test_unruly_code.speaker"):
    how: str

    @step
    async def start(self, ctx: Any) -> None:
        raise Unspeakable(self.how)


class Mouth(Object, name="test_unruly_code.mouth"):
    @handler
    async def speak(self, how: str) -> None:
        raise Unspeakable(how)

    @handler
    def speak_in_thread(self, how: str) -> None:
        raise Unspeakable(how)

    @handler
    async def listen(self) -> str:
        return "here"


@on_one_database
@pytest.mark.parametrize("how", HOW)
async def test_an_error_that_cannot_be_shown_fails_its_step_and_harms_nobody(narrow: Engine, how: str) -> None:
    Ear(narrow)
    made: list[Any] = [speak.new(how=how), speak_in_thread.new(how=how), tell.new(how=how), Speaker(how=how)]
    for what in made:
        handle = await narrow.start(what)
        with pytest.raises(InstanceFailed) as caught:
            await handle.result(SOON_S)
        assert caught.value.error is not None
        assert "Unspeakable" in caught.value.error["type"]
        assert len(caught.value.error["message"]) < 5_000
        assert (await handle.get()).crashes == 0

    assert await (await narrow.start(_follow.new())).result(SOON_S) == "served"


@on_one_database
@pytest.mark.parametrize("how", HOW)
async def test_an_error_that_cannot_be_shown_fails_its_call_and_harms_nobody(engines: Engines, how: str) -> None:
    engine, elsewhere = await engines.open(), await engines.open(queues={}, programs=[])
    ear = Ear(engine)
    near = engine.object(Mouth, "a")
    for call in (near.speak, near.speak_in_thread):
        with pytest.raises(Unspeakable):
            await soon(call(how))
        assert await soon(near.listen()) == "here"

    far = elsewhere.object(Mouth, "a")
    with pytest.raises(Unspeakable):
        await soon(far.speak(how))
    assert await soon(far.listen()) == "here"
    assert len(ear.all("object.call_failed")) == 3


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
