"""What steps say: taken down as it is said, and written in batches. A step never waits for the database with it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
import traceback
from collections import deque
from typing import Any, Final

import msgspec

from outlast._codec import clean_text
from outlast._kernel.program import DOING, ERRAND, WORKFLOW
from outlast._model import Line, line_number
from outlast._runtime import tap
from outlast._runtime.events import Events
from outlast._runtime.patience import TRANSIENT
from outlast._runtime.rounds import Rounds
from outlast._runtime.run import Run
from outlast._store.contract import Logs
from outlast._world import World, lock_across_forks
from outlast.config import Config

EVERY_S: Final = 0.25
"""Lines reach the database at most this often."""
BATCH_MAX: Final = 500
"""Lines that share one transaction."""
BUFFER_MAX: Final = 10_000
"""Lines that wait to be written; beyond, the oldest are dropped."""
_counting: Final = lock_across_forks()
_LEVEL_MAX: Final = 2**31 - 1
_KNOWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record carries: all else came with `extra`."""

_OF_WORKFLOWS: Final = (WORKFLOW, ERRAND)

Place = tuple[str, int]
"""A step, by name or key, and its failed attempts."""


class LogBook:
    """Keeps what steps of one engine say until it is written. See `run.Scribe`."""

    name = "logs"

    def __init__(self, logs: Logs, config: Config, *, events: Events, world: World) -> None:
        self._logs = logs
        self._all = config.log_capture == "all"
        self._level = logging.getLevelNamesMapping()[config.log_level]
        self._prints = config.log_print
        self._passes_on = config.log_passthrough
        self._lines_max = config.log_lines_max
        self._chars_max = config.log_chars_max
        self._events = events
        self._world = world
        # Steps say things on many threads: there is no lock that one of them could hold, only calls that are atomic.
        self._lines: deque[Line] = deque(maxlen=BUFFER_MAX)
        self._begun: dict[tuple[Run, Place, int], str] = {}
        self._begun_before: dict[tuple[Run, Place, int], str] = {}
        self._dropped = 0
        self._told = False
        self._closed = False
        self._writing = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._rounds: Rounds | None = None

    def open(self, rounds: Rounds) -> None:
        """Writes from now on, in `rounds`."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._rounds = rounds

    # What steps say, on any thread.

    def begin(self, run: Run) -> None:
        """See `run.Scribe`."""
        if (self._all or run.claim.step in _OF_WORKFLOWS) and not self._closed:
            tap.listen(self, prints=self._prints)

    def logged(self, run: Run, record: logging.LogRecord) -> bool:
        """See `run.Scribe`."""
        place = self._place(run)
        if place is None or record.levelno < self._level or record.name.partition(".")[0] == "outlast":
            return True
        try:
            message = clean_text(_message(record), chars_max=self._chars_max)
            self._put(run, place, record.levelno, message, "logging", fields_text(record, self._chars_max))
        except Exception:  # whatever a record carries: it must not end the step that logs it.
            self._dropped += 1
        return self._passes_on

    def printed(self, run: Run, text: str) -> bool:
        """See `run.Scribe`."""
        place = self._place(run) if self._prints else None
        if place is None or not isinstance(text, str):
            return True
        key = (run, place, threading.get_ident())
        *lines, rest = (self._begun.pop(key, "") + text).split("\n")
        if len(rest) > self._chars_max:
            lines, rest = [*lines, rest], ""
        for line in lines:
            self._put_printed(run, place, line)
        if rest:
            self._begun[key] = rest
            self._wake()
        return self._passes_on

    def _place(self, run: Run) -> Place | None:
        """The step whose code this is; None: no lines are wanted. A workflow's own code is no step: it runs again."""
        if self._closed:
            return None
        if run.claim.step in _OF_WORKFLOWS:
            return DOING.get()
        return (run.claim.step, run.claim.attempt) if self._all else None

    def _put_printed(self, run: Run, place: Place, text: str) -> None:
        if text := text.rstrip():
            self._put(run, place, logging.INFO, clean_text(text, chars_max=self._chars_max), "print", None)

    def _put(self, run: Run, place: Place, level: int, message: str, source: str, fields: str | None) -> None:
        claim = run.claim
        if (lines := run.lines) is None:
            with _counting:  # threads of one step may say their first lines at the same time.
                lines = run.lines = run.lines or itertools.count(1)
        number = line_number(claim.epoch, next(lines))
        line = Line(claim.id, number, self._world.wall_us(), min(level, _LEVEL_MAX), message, source, *place, fields)
        if len(self._lines) == BUFFER_MAX:
            self._dropped += 1
        self._lines.append(line)
        self._wake()

    def _wake(self) -> None:
        if self._told or self._loop is None or self._rounds is None:
            return
        self._told = True
        if threading.get_ident() == self._thread:
            self._rounds.wake()
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed, and a step that was given up goes on.
            self._loop.call_soon_threadsafe(self._rounds.wake)

    # What becomes of it, on the loop.

    async def beat(self) -> float:
        """Writes what was said since."""
        self._told = False
        try:
            self._end_old_lines()
            await self.flush()
        except BaseException:
            self._told = True  # the loop comes again by itself, when the database may be back: not with each line.
            raise
        finally:
            self._tell_dropped()
        await asyncio.sleep(EVERY_S)  # the bound on how often.
        return EVERY_S if self._begun else 3600.0

    async def flush(self) -> None:
        """Writes what was said until now. Raises: StoreError: it is kept, as far as there is room."""
        async with self._writing:
            left = len(self._lines)
            while left > 0 and self._lines:
                batch = [self._lines.popleft() for _ in range(min(len(self._lines), BATCH_MAX))]
                left -= len(batch)
                try:
                    await self._logs.write(batch, self._lines_max)
                except (*TRANSIENT, asyncio.CancelledError):
                    self._keep(batch)
                    raise
                except BaseException:
                    self._dropped += len(batch)
                    raise

    def _keep(self, batch: list[Line]) -> None:
        kept = batch[-(BUFFER_MAX - len(self._lines)) :] if len(self._lines) < BUFFER_MAX else []
        self._lines.extendleft(reversed(kept))
        self._dropped += len(batch) - len(kept)

    def _end_old_lines(self, *, every: bool = False) -> None:
        """What was printed without a line's end, and then nothing for a whole round, is a line, too."""
        begun = self._begun.copy()
        for key, text in begun.items():
            if every or self._begun_before.get(key) is text:
                self._begun.pop(key, None)
                self._put_printed(key[0], key[1], text)
        self._begun_before = self._begun.copy()

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._events.emit("logs.dropped", count=dropped)

    async def settled(self) -> None:
        """Writes what is left, unless the database is away."""
        self._end_old_lines(every=True)
        with contextlib.suppress(*TRANSIENT):
            await self.flush()

    def close(self) -> None:
        """Takes nothing any more; what is left is lost, and counted."""
        self._closed = True
        tap.leave(self)
        self._dropped += len(self._lines)
        self._lines.clear()
        self._begun.clear()
        self._begun_before.clear()
        self._tell_dropped()


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except BaseException:  # its arguments do not fit, or one cannot be shown.
        return f"{clean_text(record.msg)} {clean_text(record.args)}"


def fields_text(record: logging.LogRecord, chars_max: int) -> str:
    """What came with a record, as JSON text: the logger's name, what `extra` gave, a traceback. Bounded."""
    found: dict[str, Any] = {"logger": record.name}
    for key, value in vars(record).items():
        if key not in _KNOWN and not key.startswith("outlast_"):
            found[key] = value
    if record.exc_info and record.exc_info[1] is not None:
        found["traceback"] = clean_text("".join(traceback.format_exception(record.exc_info[1])), chars_max=chars_max)
    if record.stack_info:
        found["stack"] = clean_text(record.stack_info, chars_max=chars_max)
    try:
        text = _json(found)
    except Exception:  # a number too large, a text that is none, an object that raises.
        text = _json({clean_text(key): clean_text(value, chars_max=chars_max) for key, value in found.items()})
    if len(text) > 4 * chars_max:
        kept = {key: clean_text(found[key], chars_max=chars_max) for key in ("logger", "traceback") if key in found}
        text = _json(kept | {"left_out": "the fields were too large"})
    return text


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=clean_text).decode()
