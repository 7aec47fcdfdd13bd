"""What running steps say of themselves, written now and then for others to read."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Final

from outlast._codec import clean_text
from outlast._runtime.rounds import Rounds
from outlast._store.contract import Claims

EVERY_S: Final = 0.25
"""A step's reports reach the database at most this often; only the last one counts."""


class ProgressBook:
    """Keeps the last report of each run and writes them together. Best effort: a lost report harms nothing."""

    name = "progress"

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._last: dict[str, tuple[str, int, float, str]] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rounds: Rounds | None = None

    def begin(self, rounds: Rounds) -> None:
        """Writes from now on, in `rounds`."""
        self._loop = asyncio.get_running_loop()
        self._rounds = rounds

    def put(self, id: str, epoch: int, fraction: float, note: str) -> None:
        """Takes a report, from any thread."""
        with self._lock:
            first = not self._last
            self._last[id] = (id, epoch, fraction, clean_text(note, chars_max=500))
        if first and self._loop is not None and self._rounds is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and a step that was given up goes on.
                self._loop.call_soon_threadsafe(self._rounds.wake)

    async def beat(self) -> float:
        """Writes what was reported since."""
        with self._lock:
            reports = sorted(self._last.values())
            self._last = {}
        if reports:
            await self._claims.report(reports)
            await asyncio.sleep(EVERY_S)  # the bound on how often.
        return 3600.0
