"""Threads for steps written as plain `def`.

Not the loop's default executor: that one is shared with name look-ups and with everybody else. Not
`ThreadPoolExecutor`: it waits at interpreter exit for steps that never return. These threads are daemons; one whose
step was given up no longer counts, until that step does return.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

from outlast._runtime.events import Events

CLOSE_S: Final = 1.0
"""Closing waits this long for idle threads, which end at once."""
LOOK_S: Final = 0.02
"""Between looks whether calls may begin again."""


class _Work:
    __slots__ = ("abandoned", "call", "context", "ended", "future", "loop", "started")

    def __init__(self, call: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.call = call
        self.context = contextvars.copy_context()
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.started = False
        self.ended = False
        self.abandoned = False


class Threads:
    """A bounded pool.

    Args:
        limit: Threads at work at once; as many again may be stuck in given-up steps before new ones must wait.
        may_begin: Whether calls may begin. What may not waits, until it may or is given up.
    """

    def __init__(self, limit: int, events: Events, *, may_begin: Callable[[], bool]) -> None:
        self._limit = limit
        self._events = events
        self._may_begin = may_begin
        self._never = threading.Event()  # nobody sets it: who waits for it sleeps.
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._stuck = 0
        self._queued = 0
        self._closing: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    @property
    def stuck(self) -> int:
        """Threads that are still in a step that was given up."""
        return self._stuck

    async def run(self, call: Callable[[], Any]) -> Any:
        """What `call` returns, run on a thread with this task's context variables.

        Cancelled, it gives the thread up: the call runs on, its answer is dropped.
        """
        work = _Work(call, asyncio.get_running_loop())
        with self._lock:
            self._queued += 1
            self._grow()
        self._queue.put(work)
        try:
            answer = await work.future
        except asyncio.CancelledError:
            self._abandon(work)
            raise
        if isinstance(answer, _Exit):
            raise answer.error
        return answer

    def _grow(self) -> None:
        """Starts a thread when work waits for one. The lock is held."""
        at_work = len(self._threads) - self._stuck
        if self._idle < self._queued and at_work < self._limit and self._stuck <= self._limit:
            thread = threading.Thread(target=self._serve, name="outlast-step", daemon=True)
            self._idle += 1
            self._threads.add(thread)
            thread.start()

    def _abandon(self, work: _Work) -> None:
        with self._lock:
            work.abandoned = True
            if not work.started or work.ended:
                return
            self._stuck += 1
            stuck = self._stuck
            self._grow()  # what waited behind the step that does not return gets a thread of its own.
        self._events.emit("step.abandoned", stuck=stuck)

    def _serve(self) -> None:
        belongs = True
        while belongs:
            work = self._queue.get()
            while not (work is None or work.abandoned or self._may_begin()):
                self._never.wait(LOOK_S)
            with self._lock:
                self._idle -= 1
                if work is None:
                    self._leave()
                    return
                self._queued -= 1
                work.started = not work.abandoned
            belongs = self._do(work)

    def _leave(self) -> None:
        """This thread belongs to the pool no more. The lock is held."""
        self._threads.discard(threading.current_thread())
        if self._closing is not None and len(self._threads) == self._stuck:
            loop, ended = self._closing
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more.
                loop.call_soon_threadsafe(ended.set)

    def _do(self, work: _Work) -> bool:
        """Runs one call, if it is still wanted. Whether this thread still belongs to the pool."""
        value, error = None, None
        if work.started:
            try:
                value = work.context.run(work.call)
            except BaseException as raised:
                error = raised
        with self._lock:  # idle before the answer is out: who hears it may send the next call at once.
            work.ended = True
            self._stuck -= work.started and work.abandoned
            belongs = len(self._threads) - self._stuck <= self._limit and not (work.abandoned and self._closing)
            if belongs:
                self._idle += 1
            else:
                self._leave()
        if not work.abandoned:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more.
                work.loop.call_soon_threadsafe(_settle, work.future, value, error)
        return belongs

    async def close(self) -> None:
        """Ends idle threads; those in a step that was given up end after it."""
        with self._lock:
            ended = asyncio.Event()
            self._closing = asyncio.get_running_loop(), ended
            threads, count = list(self._threads), len(self._threads) - self._stuck
        if not count:
            return
        for _ in range(count):
            self._queue.put(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await ended.wait()
        for thread in threads:
            if thread not in self._threads:
                thread.join()  # it is on its last line: this does not wait.


class _Exit:
    """A GeneratorExit that a call raised."""

    def __init__(self, error: GeneratorExit) -> None:
        self.error = error


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, StopIteration):  # a future cannot carry it.
        future.set_exception(RuntimeError(f"the step raised StopIteration: {error}"))
    elif isinstance(error, GeneratorExit):  # thrown into a task, it would close the coroutines that wait for it.
        future.set_result(_Exit(error))
    else:
        future.set_exception(error)
