"""A connection of this process to a SQLite database, which a fork closes.

SQLite keeps a table of the files that a process has open, and of its locks on them. A forked child inherits the
table, but not the locks: a database opened there again takes none where the parent had one. When the parent closes
it, SQLite finds nobody else at the file and removes the write-ahead log; what the child commits after that is lost
(seen with 3.40.1). Besides, a thread that is inside SQLite leaves SQLite's own mutexes locked in the child for ever.

Hence each connection of ours is brought to rest and closed before a fork. Its thread opens it again for its next
work. What others have open is for them to close: a child refuses such a file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

from outlast._store.sqlite.files import identity
from outlast.errors import EngineStateError


class Link:
    """A connection, and the right to use it: who does so holds the link (`with link:`), and a fork waits for that.

    Args:
        in_memory: Whether the database lives in this connection alone: it is no file, and stays open.
        last: Whether it is to be closed after those that are not: the one that folds the write-ahead log back.
    """

    def __init__(self, *, in_memory: bool, last: bool) -> None:
        self.connection: sqlite3.Connection | None = None
        self.last = last
        self._in_memory = in_memory
        self._lock = threading.RLock()
        with _forking:  # What comes up while somebody forks waits until that is over.
            _links.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    @contextlib.contextmanager
    def left(self) -> Iterator[None]:
        """For a holder who waits: a fork may come in between, and close the connection."""
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()

    def close(self) -> None:
        """Closes the connection, if there is one. For who holds the link."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def rest(self) -> None:
        """Waits for the holder, holds the link, and closes what a child must not inherit."""
        self._lock.acquire()
        if not self._in_memory:
            with contextlib.suppress(sqlite3.Error):
                self.close()


# Reentrant, here and above, for a signal's handler that forks while its thread does.
_forking = threading.RLock()
_links: weakref.WeakSet[Link] = weakref.WeakSet()
_resting: list[list[Link]] = []
_inherited: set[tuple[int, int]] = set()


def refuse_inherited(path: Path) -> None:
    """Raises: EngineStateError: the file was open in this process's parent when it forked, and not by us."""
    if identity(path) in _inherited:
        raise EngineStateError(
            f"{path} was open when this process was forked, by a connection that is not the engine's: SQLite would "
            "lose what is committed here; close it before the fork, or start the process by spawn"
        )


def _before_fork() -> None:
    _forking.acquire()
    links: list[Link] = []
    _resting.append(links)
    for link in sorted(_links, key=lambda link: link.last):
        link.rest()
        links.append(link)


def _after_fork() -> None:
    for link in _resting.pop():
        link.__exit__()
    _forking.release()


def _after_fork_in_child() -> None:
    _inherited.update(_open_files())
    _after_fork()


def _open_files() -> Iterator[tuple[int, int]]:
    """Device and number of each ordinary file that this process has open, where the system tells."""
    try:
        descriptors = os.listdir("/dev/fd")
    except OSError:
        return
    for descriptor in descriptors:
        try:
            found = os.fstat(int(descriptor))
        except (OSError, ValueError):
            continue  # the list's own descriptor, which is closed by now.
        if stat.S_ISREG(found.st_mode):
            yield found.st_dev, found.st_ino


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
