"""The processes of a run, as the arena holds them."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chaos.history import Watch
from harness import freezing, processes

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

    def has_heard(self, number: signal.Signals) -> bool:
        """Whether no signal of this kind is still on its way to it: another one would be lost in it."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        except OSError:
            return True
        pending = next(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd"))
        return not pending >> (number - 1) & 1

    @property
    def is_stopped(self) -> bool:
        """Whether SIGSTOP holds it: every thread stands still, not only the first."""
        return freezing.is_stopped(self.pid)

    def halt(self) -> bool:
        """SIGSTOP, and a look until it holds. False: it does not, perhaps because the process has ended."""
        self.send(signal.SIGSTOP)
        return self.await_stopped(_HALT_S)

    def await_stopped(self, timeout_s: float) -> bool:
        """Whether SIGSTOP holds it before so much time is over."""
        return freezing.await_stopped(self.pid, timeout_s)

    def let_go(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)
