"""Threads for steps written as plain `def`.

Not the loop's default executor: that one is shared with name look-ups and with everybody else. Not
`ThreadPoolExecutor`: it waits at interpreter exit for steps that never return. These threads are daemons; one whose
step was given up no longer counts, and ends when its step does.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any

from outlast._runtime.events import Events


class _Work:
    __slots__ = ("abandoned", "call", "context", "future", "loop", "started")

    def __init__(self, call: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.call = call
        self.context = contextvars.copy_context()
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.started = False
        self.abandoned = False


class Threads:
    """A bounded pool.

    Args:
        limit: Threads at work at once; as many again may be stuck in given-up steps before new ones must wait.
    """

    def __init__(self, limit: int, events: Events) -> None:
        self._limit = limit
        self._events = events
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._stuck = 0
        self._queued = 0

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
            if self._idle < self._queued and self._threads - self._stuck < self._limit and self._stuck <= self._limit:
                self._threads += 1
                threading.Thread(target=self._serve, name="outlast-step", daemon=True).start()
        self._queue.put(work)
        try:
            return await work.future
        except asyncio.CancelledError:
            self._abandon(work)
            raise

    def _abandon(self, work: _Work) -> None:
        with self._lock:
            work.abandoned = True
            if work.started:
                self._stuck += 1
                self._events.emit("step.abandoned", stuck=self._stuck)

    def _serve(self) -> None:
        with self._lock:
            self._idle += 1
        while True:
            work = self._queue.get()
            with self._lock:
                self._idle -= 1
                if work is None:
                    self._threads -= 1
                    return
                self._queued -= 1
                work.started = not work.abandoned
            if work.started and not self._do(work):
                return
            with self._lock:
                self._idle += 1

    def _do(self, work: _Work) -> bool:
        """Runs one call. Whether this thread still belongs to the pool."""
        value, error = None, None
        try:
            value = work.context.run(work.call)
        except BaseException as raised:
            error = raised
        with self._lock:
            if work.abandoned:
                self._stuck -= 1
                self._threads -= 1
                return False
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more.
            work.loop.call_soon_threadsafe(_settle, work.future, value, error)
        return True

    def close(self) -> None:
        """Lets idle threads end; busy ones end after their step."""
        with self._lock:
            count = self._threads - self._stuck
        for _ in range(count):
            self._queue.put(None)


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, StopIteration):  # a future cannot carry it.
        future.set_exception(RuntimeError(f"the step raised StopIteration: {error}"))
    else:
        future.set_exception(error)
