"""Waiting for something that happens in another process.

Inside one process await an event instead: a poll there hides a missing signal.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


def eventually(predicate: Callable[[], T], *, timeout: float = 10.0, poll: float = 0.02, what: str | None = None) -> T:
    """Call `predicate` until its answer is true, and return that answer. Blocks the thread.

    Args:
        predicate: Asked at once, then every `poll` seconds. What it raises passes through.
        timeout: Seconds until giving up; the predicate is asked once more after them.
        poll: Seconds between two questions.
        what: What is waited for, for the message; default: the predicate's name.

    Raises: AssertionError: the answer was still false at the end; the message carries it.
    """
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() >= deadline
        answer = predicate()
        if answer:
            return answer
        if late:
            raise AssertionError(_complaint(predicate, timeout, what, answer))
        time.sleep(poll)


@overload
async def eventually_async(
    predicate: Callable[[], Awaitable[T]], *, timeout: float = ..., poll: float = ..., what: str | None = ...
) -> T: ...
@overload
async def eventually_async(
    predicate: Callable[[], T], *, timeout: float = ..., poll: float = ..., what: str | None = ...
) -> T: ...
async def eventually_async(
    predicate: Callable[[], object],
    *,
    timeout: float = 10.0,
    poll: float = 0.02,
    what: str | None = None,
) -> object:
    """As `eventually`, without blocking the loop; the predicate may be a coroutine function."""
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() >= deadline
        given = predicate()
        answer = await given if inspect.isawaitable(given) else given
        if answer:
            return answer
        if late:
            raise AssertionError(_complaint(predicate, timeout, what, answer))
        await asyncio.sleep(poll)


def _complaint(predicate: Callable[[], object], timeout: float, what: str | None, answer: object) -> str:
    name = what or getattr(predicate, "__qualname__", repr(predicate))
    return f"{name}: not within {timeout:g} s; the last answer was {answer!r}"
