"""Processes as Linux shows them under /proc."""

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """One process at one moment.

    Attributes:
        pid: Its number.
        parent_pid: The number of its parent.
        cpu_s: User and system seconds, its own and those of children it has waited for.
        has_ended: It is a zombie: it runs no more, and its parent has not waited for it yet.
    """

    pid: int
    parent_pid: int
    cpu_s: float
    has_ended: bool


def process(pid: int) -> Process | None:
    """The process with this number, or None when there is none."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        if not _PROC.joinpath("self/stat").exists():
            raise RuntimeError("watching processes needs Linux's /proc, which is not there") from None
        return None
    # The name stands in parentheses and may itself hold any of them: the last one closes it.
    fields = stat.rpartition(")")[2].split()
    state, parent_pid = fields[0], int(fields[1])
    return Process(pid, parent_pid, sum(map(int, fields[11:15])) / _TICKS_PER_S, state in "ZX")


def is_alive(pid: int) -> bool:
    """Whether this process can still run; a zombie cannot."""
    found = process(pid)
    return found is not None and not found.has_ended


def children(pid: int) -> list[Process]:
    """The children of this process, zombies included."""
    pids = (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())
    return [child for child in map(process, pids) if child is not None and child.parent_pid == pid]


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of this process and its children, also of those that ended and were waited for."""
    while True:
        before = children(pid)
        root = process(pid)
        after = {child.pid for child in children(pid)}
        # A child that ends between two readings would be counted twice or not at all.
        if {child.pid for child in before} == after:
            return round(sum(one.cpu_s for one in (*before, *([root] if root else []))), 2)  # whole ticks.


def kill(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is gone is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def await_gone(pids: list[int], *, timeout_s: float) -> list[int]:
    """Wait until these processes are gone; returns those that are still there after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while left := [pid for pid in pids if is_alive(pid)]:
        if time.monotonic() >= deadline:
            break
        time.sleep(0.01)
    return left
