"""A loop in a thread, for callers without one; and what a fork does to their locks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from outlast._world import tell_of_forks
from outlast.errors import EngineStateError

T = TypeVar("T")

CLOSE_S: Final = 1.0
"""Closing waits this long for the loop's thread."""


class Portal:
    """A loop in a thread; coroutines are handed in and waited for."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), name="outlast-portal", daemon=True)
        self._thread.start()
        self._ready.wait()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._stop.wait()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns. Interrupted, it cancels the work."""
        if self._loop is None:
            raise EngineStateError("the portal has no loop")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Ends the loop and the thread; not for ever, when a step that was given up still holds the loop."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(CLOSE_S)


class Latch:
    """A lock that a forked child finds free, whichever thread of its parent was inside: to open an engine, for one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        tell_of_forks(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def forked(self) -> None:
        """Forgets who is inside: nobody in this process."""
        self._lock = threading.Lock()


def refuse_on_loop() -> None:
    """Raises: EngineStateError: a loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise EngineStateError(
        "outlast.sync would block the running event loop; use outlast.Engine and await it, or call from a thread"
    )
