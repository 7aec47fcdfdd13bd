"""Branches that run at the same time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Literal, TypeVar, overload

from outlast.config.values import one_of, shown
from outlast.errors import ConfigError, WorkflowError

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
OnError = Literal["fail_fast", "complete_all"]


@overload
async def parallel(one: Awaitable[A], two: Awaitable[B], /, *, on_error: OnError = ...) -> tuple[A, B]: ...
@overload
async def parallel(
    one: Awaitable[A], two: Awaitable[B], three: Awaitable[C], /, *, on_error: OnError = ...
) -> tuple[A, B, C]: ...
@overload
async def parallel(*branches: Awaitable[T], on_error: OnError = ...) -> tuple[T, ...]: ...
async def parallel(*branches: Awaitable[Any], on_error: OnError = "fail_fast") -> tuple[Any, ...]:
    """Runs steps, waits and coroutines at the same time. Their results, in order.

    Args:
        branches: What is to be awaited; branches may call steps, wait, and branch again.
        on_error: What to do when one fails: "fail_fast" gives up the others and raises its error; "complete_all" lets
            them all end, and raises the errors as an ExceptionGroup.

    Raises: ConfigError.
    """
    try:
        one_of("on_error", on_error, ("fail_fast", "complete_all"))
    except ConfigError:
        for branch in branches:
            if inspect.iscoroutine(branch):
                branch.close()  # it will never be awaited.
        raise
    tasks = [asyncio.ensure_future(branch) for branch in branches]
    return tuple(await _all(tasks, on_error))


async def each(
    items: Iterable[A],
    call: Callable[[A], Coroutine[Any, Any, B]] | Callable[[A], Awaitable[B]],
    *,
    concurrency: int = 10,
    on_error: OnError = "fail_fast",
) -> list[B]:
    """Calls `call(item)` for each item, some at a time. The results, in order.

    Args:
        items: The same ones in the same order whenever the workflow runs again: from its arguments, or from a step.
        call: A step, or a coroutine function that calls steps.
        concurrency: How many run at the same time at most.
        on_error: As for `parallel`. With "complete_all" every item is tried.

    Raises: ConfigError.
    """
    one_of("on_error", on_error, ("fail_fast", "complete_all"))
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise ConfigError(f"concurrency must be a whole number from 1, not {shown(concurrency)}")
    tasks: list[asyncio.Task[B]] = []
    running: set[asyncio.Task[B]] = set()

    called = getattr(call, "outlast_step_name", None) or getattr(call, "__name__", type(call).__name__)

    async def one(item: A) -> B:
        return await call(item)

    try:
        for item in items:
            if len(running) >= concurrency:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                if on_error == "fail_fast" and any(task.exception() for task in done):
                    break
            branch = one(item)
            # Branches are told apart by what is called, and by number.
            setattr(branch, "__qualname__", called)  # noqa: B010
            task = asyncio.get_running_loop().create_task(branch)
            running.add(task)
            tasks.append(task)
        return await _all(tasks, on_error)
    except BaseException:
        await _give_up(tasks)
        raise


async def _all(tasks: list[asyncio.Future[Any]] | list[asyncio.Task[Any]], on_error: OnError) -> list[Any]:
    if on_error == "complete_all":
        found = await asyncio.gather(*tasks, return_exceptions=True)
        if errors := [_plain(each) for each in found if isinstance(each, BaseException)]:
            raise ExceptionGroup(f"{len(errors)} of {len(tasks)} branches failed", errors)
        return list(found)
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        await _give_up(tasks)
        raise


def _plain(error: BaseException) -> Exception:
    if isinstance(error, Exception):
        return error
    return WorkflowError(f"a branch ended with {type(error).__name__}")


async def _give_up(tasks: list[asyncio.Future[Any]] | list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


for _primitive in (parallel, each):
    setattr(_primitive, "outlast_primitive", _primitive.__name__)  # noqa: B010
