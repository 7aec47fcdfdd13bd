"""The loop on which a workflow's own code runs: it knows when that code can go no further.

A workflow may run again from its beginning whenever it is resumed, and reads what it has recorded. So its code must
wait for nothing but recorded things, and somebody must notice that all its branches wait. On an event loop of its own
both come by themselves: tasks, futures, `gather` and `TaskGroup` work as anywhere; there are no clocks, sockets and
threads.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import events
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, NoReturn

from outlast.errors import WorkflowError


class Suspended(BaseException):
    """What a call gets in code that is being suspended: it is left, and nothing is done by it any more."""


class Branch:
    """A task of a workflow: its steps are told apart by name and number within it.

    Attributes:
        path: What keys of this branch begin with; empty for the workflow's own body.
    """

    __slots__ = ("_counts", "path")

    def __init__(self, path: str = "") -> None:
        self.path = path
        self._counts: dict[str, int] = {}

    def key(self, name: str) -> str:
        """The key of the next thing of this name."""
        number = self._counts.get(name, 0) + 1
        self._counts[name] = number
        return f"{self.path}{name}#{number}"


BRANCH: Final[ContextVar[Branch]] = ContextVar("outlast_branch")


class FlowLoop(asyncio.AbstractEventLoop):
    """Runs callbacks until there are none. `flow` is whose code this is."""

    def __init__(self, flow: Any) -> None:
        self.flow = flow
        self.is_suspended = False
        self._ready: deque[asyncio.Handle] = deque()
        self._real = asyncio.get_running_loop()
        self.tasks: dict[asyncio.Task[Any], Context] = {}
        self._generators: set[AsyncGenerator[Any, Any]] = set()

    def turn(self) -> None:
        """Runs what is ready, and what becomes ready by that, until nothing is."""
        ready = self._ready
        if not ready:
            return
        entered = self._enter()
        try:
            while ready:
                handle = ready.popleft()
                if not handle._cancelled:
                    handle._run()
        finally:
            self._leave(*entered)

    def _enter(self) -> tuple[asyncio.AbstractEventLoop | None, Any, Any]:
        """From here on the workflow's code runs: on this loop, and with this loop's way of ending generators."""
        running, current, hooks = events._get_running_loop(), _leave_task(self._real), sys.get_asyncgen_hooks()
        events._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=self._generators.add, finalizer=self._generator_over)
        return running, current, hooks

    def _leave(self, running: asyncio.AbstractEventLoop | None, current: Any, hooks: Any) -> None:
        """Back on the real loop; or on none, when code that nobody goes on with is thrown away after its loop's end."""
        sys.set_asyncgen_hooks(*hooks)
        events._set_running_loop(running)
        _enter_task(self._real, current)

    def _generator_over(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Nobody goes on with a generator: its `finally` blocks run as a task, or are left when we are suspended."""
        self._generators.discard(generator)
        if self.is_suspended:
            _leave(generator.aclose())
        else:
            self.create_task(_ended(generator))

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        """See `asyncio.AbstractEventLoop`."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """See `asyncio.AbstractEventLoop`."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        """A task is a branch: it is called after its coroutine, and numbered in the branch that makes it."""
        context = copy_context() if context is None else context
        parent = context.get(BRANCH)
        called = getattr(coro, "__qualname__", type(coro).__name__).rpartition(".")[2]
        context.run(BRANCH.set, Branch() if parent is None else Branch(f"{parent.key(called)}/"))
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        self.tasks[task] = context
        return task

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task for the workflow's own body, or for what undoes it: it begins no branch."""
        context = copy_context()
        context.run(BRANCH.set, Branch())
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=self, context=context)
        self.tasks[task] = context
        return task

    def close_tasks(self) -> None:
        """Leaves all code that still waits; its `finally` blocks can call nothing any more."""
        self.is_suspended = True
        entered = self._enter()
        try:
            for task in self.tasks:
                if not task.done():
                    _leave(task.get_coro())
            for generator in list(self._generators):
                _leave(generator.aclose())
            self._generators.clear()
        finally:
            self._leave(*entered)
        self._ready.clear()
        self.tasks.clear()
        self.is_suspended = False

    def forget_ended(self) -> None:
        """Keeps only what may go on."""
        self.tasks = {task: context for task, context in self.tasks.items() if not task.done()}
        self._generators = {each for each in self._generators if getattr(each, "ag_frame", each) is not None}

    def get_debug(self) -> bool:
        """See `asyncio.AbstractEventLoop`."""
        return False

    def is_running(self) -> bool:
        """See `asyncio.AbstractEventLoop`."""
        return True

    def is_closed(self) -> bool:
        """See `asyncio.AbstractEventLoop`."""
        return False

    def time(self) -> float:
        """See `asyncio.AbstractEventLoop`."""
        return self._real.time()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """As the real loop does; but tasks that are given up pending are no news: they are suspended."""
        if context.get("message") != "Task was destroyed but it is pending!" and not self._real.is_closed():
            self._real.call_exception_handler(context)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> NoReturn:  # type: ignore[override]
        """Refused: a workflow's waits are recorded."""
        raise WorkflowError(
            "a workflow's own code cannot wait by the clock (asyncio.sleep, asyncio.timeout, wait_for): "
            "use outlast.sleep, the timeout of what it waits for, or do it in a step"
        )

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> NoReturn:  # type: ignore[override]
        """Refused: a workflow's waits are recorded."""
        self.call_later(0, callback)


def _refuse(what: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise WorkflowError(
            f"a workflow's own code cannot do input, output or threads ({what}), for it runs again when it resumes: "
            "do it in a step"
        )

    return refuse


for _name in dir(asyncio.AbstractEventLoop):
    if not _name.startswith("_") and _name not in vars(FlowLoop):
        setattr(FlowLoop, _name, _refuse(_name))


def current_flow() -> Any:
    """The flow whose own code runs now, or None: in steps, and outside of workflows."""
    loop = events._get_running_loop()
    return loop.flow if isinstance(loop, FlowLoop) else None


def _leave(coroutine: Any) -> None:
    """Ends a coroutine: what it awaits on its way out is left, too."""
    for _ in range(_LEAVES_MAX):
        try:
            coroutine.throw(Suspended())
        except BaseException:  # it is out, with whatever its `finally` blocks made of it.
            return


async def _ended(generator: AsyncGenerator[Any, Any]) -> None:
    await generator.aclose()


_LEAVES_MAX: Final = 100
_Swap = Callable[[Any, Any], Any]
_swap: _Swap | None = getattr(asyncio.tasks, "_swap_current_task", None) if sys.version_info >= (3, 14) else None


def _leave_task(loop: asyncio.AbstractEventLoop) -> Any:
    """From Python 3.14 on a task of another loop cannot be entered while one runs in this thread."""
    return None if _swap is None else _swap(loop, None)


def _enter_task(loop: asyncio.AbstractEventLoop, task: Any) -> None:
    if _swap is not None:
        _swap(loop, task)
