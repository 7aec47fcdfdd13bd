"""Virtual time, and the event loops of many processes on it.

Each process has event loops of its own, one for its code and one for the thread that renews its lease. They share one
clock, which stands still while anything can run and then goes on to the next timer: waiting costs nothing. Processes
meet in the database alone, so nothing is lost when one of them runs a whole turn of its loop before the next does.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import threading
from asyncio import events
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

TURNS_MAX: Final = 100_000
"""Turns of loops at one instant; beyond, something goes round in circles."""

Later = tuple[float, int, "ProcessLoop | None", Any]


class Stuck(Exception):
    """Nothing is left that could ever run, or one instant never ends."""


class ProcessLoop(asyncio.BaseEventLoop):
    """The event loop of one thread of one process. It has timers, tasks and futures; no files and no threads.

    Attributes:
        universe: Its time.
        is_dead: Its process was killed: nothing of it runs ever again, not even a `finally`.
        is_halted: It stands still: what is ready waits.
        is_lively: It is among those that the universe will turn.
        owner: The process that it belongs to.
    """

    def __init__(self, universe: Universe) -> None:
        super().__init__()
        self.is_dead = self.is_halted = self.is_lively = False
        self.universe = universe
        self.owner: Any = None
        self._kept: list[asyncio.Task[Any]] = []
        self._thread_id = threading.get_ident()  # it counts as running.
        self.set_task_factory(self._keep)

    def time(self) -> float:
        return self.universe.now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        handle = asyncio.Handle(callback, args, self, context)
        self.due(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self.universe.at(when, timer, self)
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.universe.now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is left where it is until its time."""

    def due(self, handle: asyncio.Handle) -> None:
        """This is to run now."""
        if not self.is_dead:
            self._ready.append(handle)  # type: ignore[attr-defined]
            if not self.is_lively:
                self.is_lively = True
                self.universe.lively.append(self)

    def turn(self) -> None:
        """Runs what is ready now."""
        ready = self._ready  # type: ignore[attr-defined]
        events._set_running_loop(self)
        try:
            for _ in range(len(ready)):
                if self.is_dead or self.is_halted:
                    break
                handle = ready.popleft()
                if not handle._cancelled:
                    handle._run()
        finally:
            events._set_running_loop(None)

    def die(self) -> None:
        """From here on nothing of it runs."""
        self.is_dead = True
        self._ready.clear()  # type: ignore[attr-defined]

    def forget(self) -> None:
        """All that it was may be thrown away, without a word of tasks that never ended."""
        self.is_dead = True
        for task in self._kept:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._ready.clear()  # type: ignore[attr-defined]
        self._kept.clear()
        self._closed = True

    def _keep(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        # Kept until the end: closed by the collector, a dead task's `finally` would run.
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        self._kept.append(task)
        if len(self._kept) > 4096:
            self._kept = [each for each in self._kept if not each.done()]
        return task

    def _process_events(self, event_list: Any) -> None: ...

    def _write_to_self(self) -> None: ...


class Universe:
    """The clock, and everything that is going to happen.

    Args:
        dice: Decides who comes first of those who can run at the same instant.

    Attributes:
        now: Seconds since the beginning.
        lively: Loops that have something to run.
    """

    def __init__(self, dice: random.Random) -> None:
        self.now = 0.0
        self.lively: list[ProcessLoop] = []
        self.loops: list[ProcessLoop] = []
        self._dice = dice
        self._later: list[Later] = []
        self._serial = 0
        self._turns = 0

    def loop(self) -> ProcessLoop:
        """A loop for one thread of a process."""
        loop = ProcessLoop(self)
        self.loops.append(loop)
        return loop

    def at(self, when: float, what: Any, loop: ProcessLoop | None = None) -> None:
        """A timer of a loop; without one, a function that belongs to no process: the database's, or a fault."""
        self._serial += 1
        heapq.heappush(self._later, (when, self._serial, loop, what))

    def halt(self, loop: ProcessLoop) -> None:
        """Lets a loop stand still."""
        loop.is_halted = True

    def go_on(self, loop: ProcessLoop) -> None:
        """Lets it run again."""
        loop.is_halted = False
        if loop._ready and not loop.is_lively:  # type: ignore[attr-defined]
            loop.is_lively = True
            self.lively.append(loop)

    def run(self, until: Callable[[], bool], *, limit_s: float) -> bool:
        """Runs until the condition holds; it is looked at whenever the clock moves. False: not until `limit_s`.

        Raises: Stuck.
        """
        while True:
            self._run_instant()
            if until():
                return True
            if not self._later:
                raise Stuck(f"nothing is left that could run, at {self.now:.3f} s")
            when = self._later[0][0]
            if when > limit_s:
                return False
            if when > self.now:
                self.now, self._turns = when, 0
            self._ripen()

    def _ripen(self) -> None:
        """What is due now becomes ready."""
        later, now = self._later, self.now
        while later and later[0][0] <= now:
            _, _, loop, what = heapq.heappop(later)
            if loop is None:
                what()
            elif not (loop.is_dead or what._cancelled):
                loop.due(what)

    def _run_instant(self) -> None:
        lively = self.lively
        while lively:
            place = 0 if len(lively) == 1 else self._dice.randrange(len(lively))
            loop = lively[place]
            if not (loop.is_dead or loop.is_halted):
                loop.turn()
            if loop.is_dead or loop.is_halted or not loop._ready:  # type: ignore[attr-defined]
                lively.remove(loop)
                loop.is_lively = False
            self._turns += 1
            if self._turns > TURNS_MAX:
                raise Stuck(f"{TURNS_MAX} turns of the loops at {self.now:.3f} s")

    def end(self) -> None:
        """Forgets everything."""
        for loop in self.loops:
            loop.forget()
        self.loops.clear()
        self.lively.clear()
        self._later.clear()
