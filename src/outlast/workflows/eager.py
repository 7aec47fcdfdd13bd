"""Tasks whose first slice runs at once: code that never waits is over before the loop turns.

The code has a task of its own, like any other: a context that nobody shares, and itself as the current task, which
libraries hold on to for timeouts and cancellation. Python 3.12 and later know such tasks as `eager_start`.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import tasks
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any


def begin(coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None] | None:
    """Runs a coroutine, in a task of its own, until it first waits. The task to be awaited; None: it is over."""
    if loop.get_task_factory() is not None:  # somebody wants to see, or to make, all tasks.
        return loop.create_task(coroutine)
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=loop, context=copy_context(), eager_start=True)
    return _begin(coroutine, loop)


def _begin(coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None] | None:
    begun, context, outer = _Begun(coroutine), copy_context(), asyncio.current_task(loop)
    task: asyncio.Task[None] = asyncio.Task(begun, loop=loop, name="outlast-step", context=context)
    if outer is not None:
        tasks._leave_task(loop, outer)
    tasks._enter_task(loop, task)
    try:
        context.run(begun.begin)
    finally:
        tasks._leave_task(loop, task)
        if outer is not None:
            tasks._enter_task(loop, outer)
    return None if begun.is_over else task


class _Begun(Coroutine[Any, Any, None]):
    """A coroutine whose first slice runs before its task does; the task is then given what came of that.

    Attributes:
        is_over: It has returned.
    """

    __slots__ = ("_coroutine", "_error", "_first", "_is_told", "is_over")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._first: Any = None
        self._error: BaseException | None = None
        self._is_told = False
        self.is_over = False

    def begin(self) -> None:
        """Runs the first slice."""
        try:
            self._first = self._coroutine.send(None)
        except StopIteration:
            self.is_over = True
        except BaseException as error:
            self._error = error

    def send(self, value: Any) -> Any:
        """See `Coroutine`. The first time it says what the first slice came to."""
        if self._is_told:
            return self._coroutine.send(value)
        self._is_told = True
        if self.is_over:
            raise StopIteration
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        first, self._first = self._first, None
        return first

    def throw(self, error: Any, value: Any = None, traceback: Any = None) -> Any:
        """See `Coroutine`."""
        if not self._is_told:
            if self.is_over or self._error is not None:
                return self.send(None)  # too late.
            self._is_told = True
            first, self._first = self._first, None
            # Cancelled before it knew what the code waits for: a task hands that on to what is waited for.
            if isinstance(error, asyncio.CancelledError) and asyncio.isfuture(first) and first.cancel():
                return first
        return self._coroutine.throw(error)

    def close(self) -> None:
        """See `Coroutine`."""
        self._coroutine.close()

    def __await__(self) -> Any:
        raise RuntimeError("it belongs to its task")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)  # frames and names, for those who look at tasks.
