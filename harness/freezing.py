"""Processes that stand still, and what they keep from others meanwhile."""

import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from harness import processes

_HALT_S: Final = 10.0
_LOOK_S: Final = 0.0002
_LOCK_S: Final = 0.25
"""A transaction of the engine's takes milliseconds; whoever holds SQLite's lock for longer may be stuck with it."""
_EXCLUSIVE: Final = (120, 122, 124, 125, 126, 127)
"""Bytes of the `-shm` file: who has locked 120 for itself writes, 122: recovers, the others: moves a mark of readers.
Nobody else can begin anything before that is over. (121 and 123 belong to who folds the log back.)"""


def freeze(pid: int, database: Path | None = None) -> None:
    """Stops a process, but not while it keeps a SQLite file for itself.

    There nobody could take its work over before it goes on: the file belongs to it until then.

    Raises: AssertionError: no such moment came.
    """
    deadline = time.monotonic() + _HALT_S
    while time.monotonic() < deadline:
        processes.kill(pid, signal.SIGSTOP)
        if not await_stopped(pid, _HALT_S):
            break
        if database is None or not keeps_others_out(pid, database):
            return
        processes.kill(pid, signal.SIGCONT)
        time.sleep(_LOOK_S)
    raise AssertionError(f"process {pid} could not be stopped within {_HALT_S:g} s")


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP holds a process: every thread stands still, not only the first."""
    states: list[str] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return False  # a thread, or the process, ended while we looked.
    return bool(states) and all(state == "T" for state in states)


def await_stopped(pid: int, timeout_s: float) -> bool:
    """Whether SIGSTOP holds a process before so much time is over."""
    deadline = time.monotonic() + timeout_s
    while not is_stopped(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_S)
    return True


def keeps_others_out(pid: int, database: Path) -> bool:
    """Whether a process that stands still keeps all others from reading or writing a SQLite file in WAL mode."""
    # Whoever cannot write now may only wait for a slow disk of somebody else's: the kernel knows who holds what.
    locks = _index_locks(database)
    if not locks:
        return _is_locked(database)  # a kernel that does not say: every open connection has a lock.
    return any(
        int(holder) == pid and kind == "WRITE" and int(first) <= byte <= int(last)
        for kind, holder, _, first, last in locks
        for byte in _EXCLUSIVE
    )


def _index_locks(database: Path) -> list[list[str]]:
    """Locks on the log's index: kind, process, file, first and last byte of each."""
    inode = str(Path(f"{database}-shm").stat().st_ino)
    try:
        # 1: POSIX ADVISORY WRITE 4711 fe:00:2171489 120 120; one that is waited for has an arrow before it.
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return []
    return [fields[3:8] for fields in lines if len(fields) == 8 and fields[5].rpartition(":")[2] == inode]


def _is_locked(database: Path) -> bool:
    with closing(sqlite3.connect(database, timeout=_LOCK_S, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False
