"""The way from a step's code to its lines: what it logs and prints is heard where all records and prints come by.

Not a handler on the root logger. Beside one `logging.basicConfig` does nothing, and warnings of a program that has set
up no logging are shown to nobody; `dictConfig` removes it unheard; and it could keep no record from other handlers.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from typing import Any, Final

from outlast._runtime.run import CURRENT, Scribe
from outlast._world import lock_across_forks

_handed_on: Final = logging.Logger.callHandlers
_lock: Final = lock_across_forks()
_scribes: Final[set[Scribe]] = set()


class _Busy(threading.local):
    """Whether this thread is just handing something on: what handlers print or log then is not the step's."""

    now = False


_busy: Final = _Busy()


class Tee:
    """Standard output: what steps write is heard; all else, and all other uses, are those of the `real` one."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def write(self, text: str) -> Any:
        """As a text file's `write`."""
        run = CURRENT.get()
        scribe = None if run is None else run.kit.scribe
        if run is None or scribe is None or _busy.now:
            return self.real.write(text)
        _busy.now = True
        try:
            return self.real.write(text) if scribe.printed(run, text) else len(text)
        finally:
            _busy.now = False

    def writelines(self, lines: Iterable[str]) -> None:
        """As a text file's `writelines`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def _hear(self: logging.Logger, record: logging.LogRecord) -> None:
    run = CURRENT.get()
    scribe = None if run is None else run.kit.scribe
    if run is None or scribe is None or _busy.now:
        _handed_on(self, record)
        return
    _busy.now = True
    try:
        if scribe.logged(run, record):
            _handed_on(self, record)
    finally:
        _busy.now = False


def listen(scribe: Scribe, *, prints: bool) -> None:
    """Hears steps from now on, once however often it is called. What took our place at standard output, too."""
    if scribe in _scribes and (not prints or isinstance(sys.stdout, Tee)):
        return
    with _lock:
        _scribes.add(scribe)
        if logging.Logger.callHandlers is _handed_on:
            logging.Logger.callHandlers = _hear  # type: ignore[method-assign]
        if prints and sys.stdout is not None and not isinstance(sys.stdout, Tee):
            sys.stdout = Tee(sys.stdout)


def leave(scribe: Scribe) -> None:
    """Hears no more; after the last one all is as it was, unless others have put themselves before us since."""
    with _lock:
        _scribes.discard(scribe)
        if _scribes:
            return
        if logging.Logger.callHandlers is _hear:
            logging.Logger.callHandlers = _handed_on  # type: ignore[method-assign]
        if isinstance(sys.stdout, Tee):
            sys.stdout = sys.stdout.real
