"""The processes of a run, as the arena holds them."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chaos.history import Watch
from harness import processes

_POLL_S: Final = 0.001
_HALT_S: Final = 5.0
"""A thread that waits for a disk stands still only when that is over."""


@dataclass
class Member:
    """One process of the run."""

    name: str
    pid: int
    watch: Watch

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        processes.kill(self.pid, number)

    @property
    def is_stopped(self) -> bool:
        """Whether SIGSTOP holds it: every thread stands still, not only the first."""
        states: list[str] = []
        try:
            for task in Path(f"/proc/{self.pid}/task").iterdir():
                states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
        except (FileNotFoundError, ProcessLookupError):
            return False  # a thread, or the process, ended while we looked.
        return bool(states) and all(state == "T" for state in states)

    def halt(self) -> bool:
        """SIGSTOP, and a look until it holds. False: it does not, perhaps because the process has ended."""
        self.send(signal.SIGSTOP)
        return self.await_stopped(_HALT_S)

    def await_stopped(self, timeout_s: float) -> bool:
        """Whether SIGSTOP holds it before so much time is over."""
        deadline = time.monotonic() + timeout_s
        while not self.is_stopped:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def let_go(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)
