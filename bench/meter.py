"""What a process can tell of itself: CPU, memory, and how often it has spoken to SQLite."""

from __future__ import annotations

import functools
import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import quantile_ms

_STATUS = Path("/proc/self/status")


class _CountedConnection(sqlite3.Connection):
    """Counts for itself: connections live in different threads, and a shared count would lose some."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.statements = self.commits = 0
        _connections.append(self)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.statements += 1
        if sql == "COMMIT":
            self.commits += 1
        return super().execute(sql, *values)


_connections: list[_CountedConnection] = []


def count_sqlite() -> None:
    """From now on, every connection to SQLite that this process makes is counted. Costs 0.2 µs a statement."""
    sqlite3.connect = functools.partial(sqlite3.connect, factory=_CountedConnection)  # type: ignore[assignment]


def sqlite_counts() -> dict[str, int]:
    """Commits and statements so far."""
    return {
        "commits": sum(connection.commits for connection in _connections),
        "statements": sum(connection.statements for connection in _connections),
    }


def cpu_s() -> float:
    """User and system seconds of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_mb() -> float | None:
    """Resident memory now; None where the system does not tell."""
    return _memory("VmRSS")


def peak_rss_mb() -> float | None:
    """The most there ever was. Not `ru_maxrss`, which a child inherits from whoever started it."""
    return _memory("VmHWM")


def _memory(name: str) -> float | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), None)


class Watch:
    """A stop-watch for units done one after the other, or side by side."""

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self._cpu_s = cpu_s()
        self._began = time.perf_counter()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Times one unit."""
        began = time.perf_counter()
        yield
        self.times_s.append(time.perf_counter() - began)

    def facts(self, n: int) -> dict[str, Any]:
        """What `n` units took since this watch was made."""
        elapsed_s, used_s = time.perf_counter() - self._began, cpu_s() - self._cpu_s
        return {
            "per_s": n / elapsed_s,
            "p50_ms": quantile_ms(self.times_s, 0.5),
            "p99_ms": quantile_ms(self.times_s, 0.99),
            "worker_cpu_s": used_s,
            "rss_mb": peak_rss_mb(),
        }
