"""Several worker processes: starts them, replaces those that die, and takes them down together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from outlast._world import SystemWorld
from outlast.cli.worker import lifeline

log = logging.getLogger("outlast.supervisor")

_FIRST_S: Final = 0.1
_LONGEST_S: Final = 10.0
_SETTLED_S: Final = 30.0
"""A worker that lived this long had started well; its successor starts at once again."""
WRONG_USAGE: Final = 2
"""A worker that ends with this will never start: its arguments or settings are wrong."""


class Supervisor:
    """Keeps `count` processes alive that run the same command.

    Args:
        arguments: What each runs, behind `python`.
    """

    def __init__(self, arguments: Sequence[str], count: int) -> None:
        self._arguments = arguments
        self._count = count
        self._world = SystemWorld()
        self._alive: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._killed = False
        self._exit_code = 0

    async def run(self) -> int:
        """Until SIGTERM or SIGINT. A second signal kills at once. Returns the exit code."""
        with _signals(self._signalled):
            try:
                async with asyncio.TaskGroup() as tasks:
                    for number in range(1, self._count + 1):
                        tasks.create_task(self._keep(number), name=f"worker {number}")
            finally:
                self._kill()
        return self._exit_code

    def _signalled(self) -> None:
        if not self._stopping.is_set():
            log.info("stopping: %d workers drain; a second signal ends them at once", len(self._alive))
            self._stop(0)
        elif not self._killed:
            log.warning("ending %d workers at once", len(self._alive))
            self._exit_code = 1
            self._killed = True
            self._kill()

    def _stop(self, exit_code: int) -> None:
        self._exit_code = exit_code
        self._stopping.set()
        for process in self._alive.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()

    def _kill(self) -> None:
        for process in self._alive.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def _keep(self, number: int) -> None:
        """One place: a worker lives here until we stop."""
        wait_s = 0.0
        while not await self._stopped_within(wait_s):
            try:
                process = await lifeline.spawn(self._arguments)
            except OSError as error:  # the machine is out of processes or memory, for now.
                wait_s = _later(wait_s)
                log.error("worker %d cannot be started: %s; tried again in %.1f s", number, error, wait_s)
                continue
            self._alive[number] = process
            log.info("worker %d is process %d", number, process.pid)
            if self._stopping.is_set():  # the signal came while it was being started.
                process.kill() if self._killed else process.terminate()
            born_at = self._world.monotonic()
            code = await process.wait()
            del self._alive[number]
            if self._stopping.is_set():
                return
            if code == WRONG_USAGE:
                log.error("worker %d (process %d) cannot start with these settings", number, process.pid)
                self._stop(WRONG_USAGE)
                return
            lived_s = self._world.monotonic() - born_at
            wait_s = _FIRST_S if lived_s > _SETTLED_S else _later(wait_s)
            log.warning(
                "worker %d (process %d) %s after %.1f s; another one starts in %.1f s",
                number,
                process.pid,
                how_it_ended(code),
                lived_s,
                wait_s,
            )

    async def _stopped_within(self, wait_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()
        return self._stopping.is_set()


def _later(wait_s: float) -> float:
    return min(_LONGEST_S, max(_FIRST_S, wait_s * 2))


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


@contextlib.contextmanager
def _signals(heard: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    taken = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread.
            loop.add_signal_handler(number, heard)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
