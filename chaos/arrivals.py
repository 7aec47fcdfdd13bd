"""Work that comes in at a steady pace, whatever happens to those who do it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from chaos.arena import Arena

_STEP_S: Final = 0.02


class Arrivals:
    """Lets the feeder start so many jobs a second, from now on, whatever its maker does meanwhile.

    Args:
        arena: Where.
        per_s: Jobs a second.

    Attributes:
        per_s: The same.
    """

    def __init__(self, arena: Arena, per_s: float) -> None:
        self.per_s = per_s
        self._arena = arena
        self._began_at = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._allow, name="arrivals", daemon=True)
        self._thread.start()

    def _allow(self) -> None:
        while not self._stop.wait(_STEP_S):
            self._arena.allow(self.due)

    @property
    def due(self) -> int:
        """How many should have come by now."""
        return int((time.monotonic() - self._began_at) * self.per_s)

    def go_on(self, seconds: float, *, until: Callable[[], bool] | None = None) -> bool:
        """Waits for so long, at most until something is so. Whether it was."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if until is not None and until():
                return True
            time.sleep(_STEP_S)
        return False

    def end(self) -> None:
        """No more come; the feeder ends."""
        self._stop.set()
        self._thread.join()
        self._arena.allow(self.due, is_all=True)
