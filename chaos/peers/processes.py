"""Processes, forked from one that has imported everything and opened nothing: quick to start, for everybody."""

from __future__ import annotations

import ctypes
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def fork(task: Callable[[], None], log: Path) -> int:
    """Does the task in a new process, which dies with us; returns its number. What it prints goes into the log."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        os.setsid()
        target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(target, 1)
        os.dup2(target, 2)
        task()
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def finish(task: Callable[[], None], log: Path) -> None:
    """Does the task in a new process and waits for it. Raises: RuntimeError: it failed; with the log's end."""
    check(fork(task, log), log)


def check(pid: int, log: Path) -> None:
    """Waits for a process. Raises: RuntimeError: it failed; with the log's end."""
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("\n".join(log.read_text(errors="replace").splitlines()[-20:]))


def kill(pid: int) -> None:
    """SIGKILL, and waits until it is gone."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def is_gone(pid: int) -> bool:
    """Whether it has ended by itself. Then it is forgotten: ask once."""
    return os.waitpid(pid, os.WNOHANG)[0] != 0
