"""What the runtime says of itself: one door to logs and to whoever listens."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, Final

from outlast._runtime.scheme import SCHEME
from outlast.config import shown
from outlast.errors import ConfigError, did_you_mean

_log = logging.getLogger("outlast")
_FINE: Final = frozenset(name for name, kind in SCHEME.items() if kind.level == logging.DEBUG)

Listener = Callable[[str, dict[str, Any]], None]


class Events:
    """Reports by name, with fields; see `scheme`. What nobody wants to hear costs a look-up and nothing else."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._listeners: list[tuple[str, Listener]] = []
        self._by_name: dict[str, list[Listener]] = {}
        self._fine = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    def rename(self, engine: str) -> None:
        """What the engine is called from now on."""
        self._engine = engine

    def open(self) -> None:
        """Listeners are called on the loop that runs now."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()

    def on(self, pattern: str, listener: Listener) -> Callable[[], None]:
        """Calls `listener(name, fields)` on the loop for every event whose name fits, until what it returns is called.

        Its errors are logged and forgotten. Raises: ConfigError: no event has such a name; it is not a plain function.
        """
        if not isinstance(pattern, str) or not any(fnmatchcase(name, pattern) for name in SCHEME):
            hint = did_you_mean(pattern, SCHEME) if isinstance(pattern, str) else ""
            raise ConfigError(f"no event is called {shown(pattern)}{hint}")
        if not callable(listener) or inspect.iscoroutinefunction(listener):
            raise ConfigError(
                f"events are told to a plain function that takes a name and fields, not to {shown(listener)}; "
                "start a task from it for what has to be awaited"
            )
        entry = (pattern, listener)
        self._listeners.append(entry)
        self._sort()

        def off() -> None:
            for place, known in enumerate(self._listeners):
                if known is entry:
                    del self._listeners[place]
            self._sort()

        return off

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener(name, fields)` for every event; see `on`."""
        return self.on("*", listener)

    def _sort(self) -> None:
        self._by_name = {
            name: found
            for name in SCHEME
            if (found := [listener for pattern, listener in self._listeners if fnmatchcase(name, pattern)])
        }
        self._fine = any(name in _FINE for name in self._by_name)

    @property
    def wanted(self) -> bool:
        """Whether anyone wants to hear of single steps."""
        return self._fine or _log.isEnabledFor(logging.DEBUG)

    def emit(self, name: str, /, **fields: Any) -> None:
        """Tells logs and listeners; from any thread."""
        level = SCHEME[name].level
        told = {"engine": self._engine, **fields}
        if _log.isEnabledFor(level):
            words = (f"{key}={value}" for key, value in fields.items() if value is not None)
            extra = {f"outlast_{key}": value for key, value in told.items()}
            with contextlib.suppress(Exception):  # a log that raises must cost no step, and nobody's lease.
                _log.log(level, "%s", " ".join((name, *words)).replace("\n", "\\n"), extra=extra)
        if name not in self._by_name:
            return
        if self._loop is not None and threading.get_ident() != self._thread:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more.
                self._loop.call_soon_threadsafe(self._tell, name, told)
        else:
            self._tell(name, told)

    def _tell(self, name: str, fields: dict[str, Any]) -> None:
        for listener in self._by_name.get(name, ()):
            try:
                listener(name, fields)
            except Exception:
                with contextlib.suppress(Exception):
                    _log.exception("a listener of %s raised", name)
