"""What the runtime says of itself: one door to logs and to whoever listens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, Final

_log = logging.getLogger("outlast")

_LEVELS: Final = {
    "claim.stale": logging.WARNING,
    "claims.reclaimed": logging.WARNING,
    "instance.quarantined": logging.ERROR,
    "loop.failed": logging.ERROR,
    "node.buried": logging.WARNING,
    "node.fenced": logging.WARNING,
    "outcome.refused": logging.ERROR,
    "step.failed": logging.WARNING,
    "step.abandoned": logging.WARNING,
    "store.away": logging.WARNING,
    "store.back": logging.INFO,
    "engine.started": logging.INFO,
    "engine.draining": logging.INFO,
    "engine.stopped": logging.INFO,
}

Listener = Callable[[str, dict[str, Any]], None]


class Events:
    """Reports by name, with fields. Quiet events (debug) cost a dictionary look-up and nothing else."""

    def __init__(self, engine: str, node: str) -> None:
        self._ids = {"engine": engine, "node": node}
        self._listeners: list[Listener] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    def rename(self, engine: str) -> None:
        """What the engine is called from now on."""
        self._ids["engine"] = engine

    def open(self) -> None:
        """Listeners are called on the loop that runs now."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener(name, fields)` for every event, on the loop, until the function returned is called.

        Its errors are logged and forgotten.
        """
        self._listeners = [*self._listeners, listener]

        def stop() -> None:
            self._listeners = [each for each in self._listeners if each is not listener]

        return stop

    @property
    def wanted(self) -> bool:
        """Whether anyone wants to hear of single steps."""
        return bool(self._listeners) or _log.isEnabledFor(logging.DEBUG)

    def emit(self, name: str, **fields: Any) -> None:
        """Tells logs and listeners; from any thread."""
        level = _LEVELS.get(name, logging.DEBUG)
        if _log.isEnabledFor(level):
            told = " ".join(f"{key}={value}" for key, value in fields.items() if value is not None)
            extra = {f"outlast_{key}": value for key, value in (self._ids | fields).items()}
            _log.log(level, "%s %s", name, told.replace("\n", "\\n"), extra=extra)
        if not self._listeners:
            return
        if self._loop is not None and threading.get_ident() != self._thread:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more.
                self._loop.call_soon_threadsafe(self._tell, name, self._ids | fields)
        else:
            self._tell(name, self._ids | fields)

    def _tell(self, name: str, fields: dict[str, Any]) -> None:
        for listener in self._listeners:
            try:
                listener(name, fields)
            except Exception:
                _log.exception("a listener of %s raised", name)
