"""The one door to clocks, dice and process boundaries.

Nothing else in the package reads a clock or draws a random number, so that a whole cluster can be run
on virtual time from one seed.
"""

from __future__ import annotations

import os
import platform
import random
import threading
import time
import weakref
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


class World(Protocol):
    """What the engine may know of the outside."""

    dice: random.Random

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; for local waits only."""

    def wall_us(self) -> int:
        """Microseconds since 1970, for stores without a clock of their own (SQLite)."""

    def pinned_us(self) -> int | None:
        """The instant that statements must take as now; None lets the store's clock decide."""

    def new_id(self) -> str:
        """A new instance id."""

    def new_node_id(self) -> str:
        """A random id for this run of a process; never reused."""


class SystemWorld:
    """The real one: system clocks, seeded from the operating system."""

    def __init__(self) -> None:
        self.dice = random.Random(os.urandom(32))
        tell_of_forks(self)
        self._last_ms = 0
        self._serial = 0

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_us(self) -> int:
        return time.time_ns() // 1000

    def pinned_us(self) -> int | None:
        return None

    def new_id(self) -> str:
        """A UUIDv7 (RFC 9562, method 1 for the counter): ids of one process sort in the order they were made."""
        now_ms = time.time_ns() // 1_000_000
        if now_ms > self._last_ms:
            self._last_ms, self._serial = now_ms, 0
        else:
            self._serial += 1
            if self._serial > 0xFFF:  # 4,096 ids within one millisecond: borrow the next one.
                self._last_ms, self._serial = self._last_ms + 1, 0
        # Not from the dice: nobody need count on what they throw after a fork.
        return uuid7_text(self._last_ms, self._serial, int.from_bytes(os.urandom(8), "big") >> 2)

    def new_node_id(self) -> str:
        return os.urandom(16).hex()

    def forked(self) -> None:
        """A child would throw what its parent does, and what its siblings do."""
        self.dice.seed(os.urandom(32))


class Forked(Protocol):
    """What is not the same any more in a forked child."""

    def forked(self) -> None:
        """Called in the child, before anything else goes on there."""


_forked: Final[weakref.WeakSet[Forked]] = weakref.WeakSet()


def tell_of_forks(each: Forked) -> None:
    """Calls its `forked` in each child that this process forks, for as long as it is there."""
    _forked.add(each)


def _tell() -> None:
    for each in list(_forked):
        each.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell)


def uuid7_text(unix_ms: int, serial: int, noise: int) -> str:
    """A UUIDv7 in its canonical text: 48 bits of time, 12 of serial, 62 of noise."""
    digits = f"{unix_ms:012x}7{serial:03x}{0x8000000000000000 | noise:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def host_name() -> str:
    """This machine's name, for people to read; nothing depends on it."""
    return platform.node()[:200]


def process_id() -> int:
    """This process's number, for people to read and to notice a fork."""
    return os.getpid()


def lock_across_forks() -> AbstractContextManager[object]:
    """A lock for a module that a fork waits for: a child never finds it held by a thread that it does not have.

    For what is held for moments, by who waits for nothing else meanwhile.
    """
    lock = threading.RLock()  # reentrant, for a signal's handler that forks while its thread is inside.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock


def instant(us: int) -> datetime:
    """Microseconds since 1970 as an aware instant in UTC.

    What lies beyond the calendar is its first or last moment: rows that somebody has edited must be readable, too.
    """
    try:
        return EPOCH + timedelta(microseconds=us)
    except OverflowError:
        return _FIRST if us < 0 else _LAST


def instant_us(moment: datetime) -> int:
    """An aware instant as microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)
