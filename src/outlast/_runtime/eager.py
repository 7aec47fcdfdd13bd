"""Tasks whose first slice runs at once: code that never waits is over before the loop turns.

The code has a task of its own, like any other: a context that nobody shares, and itself as the current task, which
libraries hold on to for timeouts and cancellation. Python 3.12 and later know such tasks as `eager_start`. Before,
making a task means a turn of the loop, and half of what a short step costs: so one is kept at hand, which is given out
again as long as nobody has noticed it.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import tasks
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import Any, Final
from weakref import getweakrefcount

_NAME: Final = "outlast-step"


class Eager:
    """Begins coroutines on the loop that runs."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._spare: _Spare | None = None

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Runs a coroutine, in a task of its own, until it first waits. The task to be awaited; None: it is over."""
        loop = asyncio.get_running_loop()
        if loop.get_task_factory() is not None:  # somebody wants to see, or to make, all tasks.
            return loop.create_task(coroutine)
        if sys.version_info >= (3, 12):
            return asyncio.Task(coroutine, loop=loop, context=copy_context(), eager_start=True)
        return self._begin(coroutine, loop)

    def close(self) -> None:
        """Lets the spare task end."""
        if self._spare is not None:
            self._spare.end()
            self._spare = None

    def _begin(
        self, coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[None] | None:
        if self._loop is not loop:
            self._loop, self._spare = loop, None
        spare, self._spare = self._spare, None  # ours alone: the code may begin others.
        if spare is None:
            spare = _Spare(loop)
        task, context, outer = spare.task, copy_context(), asyncio.current_task(loop)
        if outer is not None:
            tasks._leave_task(loop, outer)
        tasks._enter_task(loop, task)
        try:
            over = spare.begin(coroutine, context)
        finally:
            tasks._leave_task(loop, task)
            if outer is not None:
                tasks._enter_task(loop, outer)
        if not over:
            return task
        del task
        if spare.is_unnoticed():
            self._spare = spare
        else:
            spare.end()
        return None


class _Spare:
    """A task that waits for a coroutine to go on with, and so far is known to nobody.

    Attributes:
        task: It.
    """

    __slots__ = ("_part", "_references", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._part = _Part(loop)
        self.task: asyncio.Task[None] = asyncio.Task(self._part, loop=loop, name=_NAME)
        tasks._unregister_task(self.task)  # `all_tasks` names none that do nothing.
        self.task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._references = sys.getrefcount(self.task)

    def begin(self, coroutine: Coroutine[Any, Any, None], context: Context) -> bool:
        """Runs the first slice, inside the task. Whether that was all; otherwise the task goes on with it."""
        try:
            self._part.given(coroutine, context, context.run(coroutine.send, None), None)
        except StopIteration:
            return True
        except BaseException as error:
            self._part.given(coroutine, context, None, error)
        tasks._register_task(self.task)
        self.task._log_destroy_pending = True  # type: ignore[attr-defined]
        return False

    def is_unnoticed(self) -> bool:
        """Whether the code that ran inside has left no trace: nobody has kept, cancelled, named or asked the task."""
        task = self.task
        return (
            sys.getrefcount(task) == self._references + 1  # the variable.
            and getweakrefcount(task) == 0
            and task.cancelling() == 0
            and not getattr(task, "_callbacks", None)
            and task.get_name() == _NAME
        )

    def end(self) -> None:
        """Lets the task end: what it was for is over."""
        self._part.end()


class _Part(Coroutine[Any, Any, None]):
    """What a spare task runs: nothing, until it is given a coroutine whose first slice has run."""

    __slots__ = ("_context", "_coroutine", "_error", "_first", "_goes_on", "_idle", "_is_told", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: asyncio.Future[None] | None = None
        self._is_told = False  # that there is something to do: to go on, or to end.
        self._goes_on = False  # with the coroutine.
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._context: Context | None = None
        self._first: Any = None
        self._error: BaseException | None = None

    def given(
        self, coroutine: Coroutine[Any, Any, None], context: Context, first: Any, error: BaseException | None
    ) -> None:
        """Goes on with a coroutine that waits for `first`, or has ended with an error."""
        self._coroutine, self._context, self._first, self._error = coroutine, context, first, error
        self.end()

    def end(self) -> None:
        """Wakes the task."""
        self._is_told = True
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def send(self, value: Any) -> Any:
        """See `Coroutine`."""
        if self._goes_on and self._coroutine is not None and self._context is not None:
            return self._context.run(self._coroutine.send, value)
        if not self._is_told:
            self._idle = self._loop.create_future()
            self._idle._asyncio_future_blocking = True  # as its `__await__` says.
            return self._idle
        if self._coroutine is None:
            raise StopIteration
        return self._begin()

    def throw(self, error: Any, value: Any = None, traceback: Any = None) -> Any:
        """See `Coroutine`."""
        if self._coroutine is None or self._context is None:
            raise error
        if not self._goes_on:
            first = self._begin()
            # Cancelled before it knew what the code waits for: a task hands that on to what is waited for.
            if isinstance(error, asyncio.CancelledError) and asyncio.isfuture(first) and first.cancel():
                return first
        return self._context.run(self._coroutine.throw, error)

    def _begin(self) -> Any:
        self._goes_on = True
        first, error, self._first, self._error = self._first, self._error, None, None
        if error is not None:
            raise error
        return first

    def close(self) -> None:
        """See `Coroutine`."""
        if self._coroutine is not None:
            self._coroutine.close()

    def __await__(self) -> Any:
        raise RuntimeError("it belongs to its task")

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("cr_", "__")) and self._coroutine is not None:
            return getattr(self._coroutine, name)  # frames and names, for those who look at tasks.
        raise AttributeError(name)
