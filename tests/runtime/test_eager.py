"""Tasks whose first slice runs at once: nobody can tell them from others."""

import asyncio
import contextvars
import gc
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any

import pytest

from outlast._runtime.eager import Eager
from tests.runtime.stage import soon, turns

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="none")


@pytest.fixture
async def eager() -> AsyncIterator[Eager]:
    made = Eager()
    yield made
    made.close()
    await turns()


async def done(rest: Awaitable[None] | None) -> None:
    """Until it is over."""
    if rest is not None:
        await soon(rest)


def current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def test_code_that_never_waits_is_over_at_once(eager: Eager) -> None:
    seen: list[str] = []

    async def code() -> None:
        seen.append(word.get())
        word.set("mine")

    for _ in range(3):
        await done(eager.begin(code()))

    assert seen == ["none"] * 3  # each has a context of its own.
    assert word.get() == "none"


async def test_code_that_waits_goes_on_in_the_task_and_the_context_in_which_it_began(eager: Eager) -> None:
    seen: list[Any] = []
    gate = asyncio.Event()

    async def code(name: str) -> None:
        word.set(name)
        seen.append(current())
        await asyncio.sleep(0)
        seen.append(current())
        await gate.wait()
        await asyncio.sleep(0)
        seen.append(current())
        seen.append(word.get())

    outer = current()
    rest = eager.begin(code("first"))
    assert current() is outer
    assert rest is not None
    assert seen == [rest]
    assert rest in asyncio.all_tasks()
    gate.set()
    await soon(rest)

    assert seen == [rest, rest, rest, "first"]
    assert outer is not rest


async def test_no_two_share_a_task_that_somebody_has_kept(eager: Eager) -> None:
    kept: list[asyncio.Task[Any]] = []

    async def code() -> None:
        kept.append(current())

    for _ in range(3):
        await done(eager.begin(code()))
    await turns()

    assert len(set(kept)) == 3
    assert all(task.done() for task in kept)
    assert not any(task.cancelled() for task in kept)


async def test_a_callback_of_the_task_is_called_when_the_code_is_over(eager: Eager) -> None:
    called: list[bool] = []

    async def code() -> None:
        current().add_done_callback(lambda task: called.append(task.done()))

    for count in range(3):
        await done(eager.begin(code()))
        await turns()
        assert called == [True] * (count + 1)


async def test_a_cancel_that_comes_late_reaches_nobody_else(eager: Eager) -> None:
    loop = asyncio.get_running_loop()
    reached: list[str] = []

    async def careless() -> None:
        loop.call_soon(current().cancel)

    async def innocent() -> None:
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            reached.append("innocent")

    await done(eager.begin(careless()))
    await done(eager.begin(innocent()))

    assert reached == []


async def test_code_that_cancels_itself_is_cancelled_where_it_waits_next(eager: Eager) -> None:
    reached: list[str] = []

    async def code(*, waits: bool) -> None:
        current().cancel()
        try:
            if waits:
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            reached.append("there")
            raise

    with pytest.raises(asyncio.CancelledError):
        await done(eager.begin(code(waits=True)))
    assert reached == ["there"]

    async def fine() -> None:
        await asyncio.sleep(0)
        reached.append("fine")

    if (rest := eager.begin(code(waits=False))) is not None:  # from Python 3.12 on
        with pytest.raises(asyncio.CancelledError):
            await rest
    await done(eager.begin(fine()))
    assert reached == ["there", "fine"]


async def test_what_it_waits_for_is_cancelled_with_it_at_whatever_moment(eager: Eager) -> None:
    inner: list[asyncio.Future[None]] = []
    ended: list[str] = []

    async def code() -> None:
        inner.append(asyncio.get_running_loop().create_future())
        try:
            await inner[0]
        finally:
            ended.append("over")

    for begun in range(3):  # before its task has had a turn, and after.
        inner.clear()
        ended.clear()
        rest: Any = eager.begin(code())
        await turns(begun)
        rest.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(rest)
        assert inner[0].cancelled()
        assert ended == ["over"]


async def test_code_that_swallows_its_cancellation_goes_on(eager: Eager) -> None:
    seen: list[str] = []

    async def code() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("swallowed")
        await asyncio.sleep(0)
        seen.append("on")

    rest: Any = eager.begin(code())
    rest.cancel()
    await soon(rest)

    assert seen == ["swallowed", "on"]


async def test_timeouts_and_groups_work_in_the_first_slice(eager: Eager) -> None:
    seen: list[str] = []

    async def timed() -> None:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            seen.append("late")

    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        seen.append("grouped")

    async def quick() -> None:
        async with asyncio.timeout(60):
            await done(None)
        seen.append("quick")

    for code in (timed, grouped, quick, timed):
        await done(eager.begin(code()))

    assert seen == ["late", "grouped", "quick", "late"]


async def test_errors_come_out_where_it_is_awaited(eager: Eager) -> None:
    async def at_once() -> None:
        raise ValueError("at once")

    async def later() -> None:
        await asyncio.sleep(0)
        raise ValueError("later")

    for code in (at_once, later):
        with pytest.raises(ValueError, match=code.__name__.replace("_", " ")):
            await done(eager.begin(code()))


async def test_code_may_begin_other_code(eager: Eager) -> None:
    seen: list[Any] = []

    async def inner() -> None:
        seen.append(current())

    async def outer() -> None:
        seen.append(current())
        await done(eager.begin(inner()))
        seen.append(current())

    await done(eager.begin(outer()))

    first, second, third = seen
    assert first is third
    assert first is not second


async def test_a_task_factory_sees_every_task(eager: Eager) -> None:
    made: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        made.append(coro.__qualname__)
        return asyncio.Task(coro, loop=loop, **options)

    async def code() -> None: ...

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)  # type: ignore[arg-type]
    try:
        await done(eager.begin(code()))
    finally:
        loop.set_task_factory(None)

    assert [name.rpartition(".")[2] for name in made] == ["code"]


async def test_nothing_is_left_behind(eager: Eager) -> None:
    async def code() -> None: ...

    before = asyncio.all_tasks()
    await done(eager.begin(code()))
    assert asyncio.all_tasks() == before  # a spare task is nobody's.
    eager.close()
    await turns()
    gc.collect()

    assert not [each for each in gc.get_objects() if type(each).__name__ == "_Spare"]


def test_a_spare_task_is_for_one_loop(caplog: pytest.LogCaptureFixture) -> None:
    eager = Eager()
    seen: list[asyncio.AbstractEventLoop] = []

    async def code() -> None:
        await asyncio.sleep(0)
        seen.append(asyncio.get_running_loop())

    async def quick() -> None: ...

    async def main(eager: Eager) -> None:
        await done(eager.begin(quick()))
        await done(eager.begin(code()))
        await done(eager.begin(quick()))

    asyncio.run(main(eager))
    asyncio.run(main(eager))
    del eager
    gc.collect()

    assert len(seen) == 2
    assert not caplog.records  # no word of a task that was destroyed.
