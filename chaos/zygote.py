"""Makes processes quickly: one that has imported everything and opened nothing, and forks when told.

Run as `python -m chaos.zygote`. It reads orders, a line of JSON each, and answers each with the new process's number;
it also says when a process has ended, and how. When its own input ends, it kills all that are left.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import asyncpg  # noqa: F401 - so that the forked processes need not.
import msgspec

from chaos.roles import ROLES, Order
from harness.clocks import follow

ROOT = Path(__file__).parent.parent
_PR_SET_PDEATHSIG = 1
_ANSWER_S = 60.0
"""A machine may stand still for a while, and we with it."""


class Zygote:
    """The parent's side: hands out orders, and hears who has ended. `environment`: more variables for all of them."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        self._said = b""
        self._pids: list[int] = []
        self._ended: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe("stdin").close()
        self._process.wait()
        self._pipe("stdout").close()

    def fork(self, order: Order) -> int:
        """Starts a process; returns its number."""
        self._pipe("stdin").write(msgspec.json.encode(order) + b"\n")
        self._pipe("stdin").flush()
        deadline = time.monotonic() + _ANSWER_S
        while not self._pids:
            self._hear(deadline - time.monotonic())
        return self._pids.pop()

    def exit_code(self, pid: int) -> int | None:
        """How a process ended, negative for a signal; None: it has not."""
        self._hear(0.0)
        return self._ended.get(pid)

    def _hear(self, timeout_s: float) -> None:
        out = self._pipe("stdout").fileno()
        if not select.select([out], [], [], max(0.0, timeout_s))[0]:
            if timeout_s > 0:
                raise RuntimeError("the zygote does not answer")
            return
        said = os.read(out, 65_536)
        if not said:
            raise RuntimeError(f"the zygote ended with {self._process.wait()}")
        *lines, self._said = (self._said + said).split(b"\n")
        for line in lines:
            facts: dict[str, Any] = json.loads(line)
            if "ended" in facts:
                self._ended[facts["ended"]] = facts["code"]
            else:
                self._pids.append(facts["pid"])
                self._ended.pop(facts["pid"], None)  # numbers of the dead are given out again.

    def _pipe(self, name: str) -> IO[bytes]:
        pipe: IO[bytes] = getattr(self._process, name)
        return pipe


def main() -> None:
    """Serves until the input ends."""
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    living: set[int] = set()
    orders = b""
    while True:
        ready = select.select([0, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 65_536)
            _tell_ended(living)
        if 0 in ready:
            read = os.read(0, 65_536)
            if not read:
                break
            *lines, orders = (orders + read).split(b"\n")
            for line in lines:
                pid = _fork(msgspec.json.decode(line, type=Order))
                living.add(pid)
                _say(pid=pid)
    for pid in living:
        os.kill(pid, signal.SIGKILL)


def _say(**facts: int) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


def _tell_ended(living: set[int]) -> None:
    while living:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        living.discard(pid)
        _say(ended=pid, code=os.waitstatus_to_exitcode(status))


def _fork(order: Order) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _leave(order, parent)
        asyncio.run(ROLES[order.role](order))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)  # not the zygote's own way out.


def _leave(order: Order, parent: int) -> None:
    """Lets go of what belongs to the zygote."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open(Path(order.folder, "log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for source, target in ((nothing, 0), (nothing, 1), (log, 2)):
        os.dup2(source, target)
    if sys.platform == "linux":  # a killed zygote must not leave workers behind.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    if order.clock:
        follow(order.clock)


if __name__ == "__main__":
    main()
