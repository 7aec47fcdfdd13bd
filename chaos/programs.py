"""The jobs that crash runs are made of: trivial, each with one right answer."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from random import Random
from typing import Any, Final

from chaos.history import History
from outlast import Context, Job, backoff, job
from outlast._kernel.outcomes import Outcome, Recorded
from outlast._kernel.program import WORKFLOW, Activation, Program

SHARES = {"nap": 0.72, "chew": 0.18, "stumble": 0.10}
"""Of the jobs of an ordinary run, by program."""
FAILURES = {"stumble": 1}
"""How often a program fails before it succeeds; the others never do."""
HERE: Final[ContextVar[tuple[History, str, int] | None]] = ContextVar("here", default=None)
"""For the steps of a workflow: this process's history, and the instance and the epoch of the claim that runs them."""


REFUSED: Final = "refuse me"
"""A result that the database does not take, once it was told so: see `scenarios/bad_rows.py`."""
HOARD_MAX_S: Final = 30.0
_LIBC: Final = ctypes.PyDLL(None)
"""Its functions keep the interpreter's lock, as a badly written extension does."""


def answer(n: int) -> int:
    """The only right result of every job here."""
    return n * 7 + 1


@job(retention=None)
async def nap(n: int, nap_s: float) -> int:
    """Waits on the event loop."""
    await asyncio.sleep(nap_s)
    return answer(n)


@job(retention=None)
def chew(n: int, nap_s: float) -> int:
    """Waits on one of the engine's threads."""
    time.sleep(nap_s)
    return answer(n)


@job(retention=None, backoff=backoff.constant(0.03))
async def stumble(ctx: Context, n: int, nap_s: float) -> int:
    """Fails once: it has two outcomes."""
    await asyncio.sleep(nap_s)
    if ctx.attempt == 0:
        raise RuntimeError("the first attempt always fails")
    return answer(n)


@job(retention=None)
async def block(n: int, nap_s: float) -> int:
    """Does what nobody should: blocks the event loop."""
    time.sleep(nap_s)  # noqa: ASYNC251
    return answer(n)


@job(retention=None)
async def spoil(n: int, nap_s: float) -> str:
    """Returns what the database refuses."""
    await asyncio.sleep(nap_s)
    return REFUSED


@job(retention=None)
async def die(n: int, nap_s: float) -> int:
    """Takes its whole process with it."""
    os.kill(os.getpid(), signal.SIGKILL)
    return answer(n)


@job(retention=None)
async def hoard(n: int, nap_s: float) -> int:
    """Holds the interpreter's lock, the first time that it runs: no other thread of the process does anything.

    It does so for `nap_s`, and until there is the file that `let_go` names.
    """
    here = HERE.get()
    if here is not None and here[2] == 1:
        path = bytes(let_go(here[0].path.parent, n))
        until = time.monotonic() + nap_s
        interval_s = sys.getswitchinterval()
        sys.setswitchinterval(HOARD_MAX_S)  # so that other threads do not ask for the lock between two naps.
        while time.monotonic() < until + HOARD_MAX_S and (time.monotonic() < until or _LIBC.access(path, os.F_OK)):
            _LIBC.usleep(20_000)
        sys.setswitchinterval(interval_s)
    return answer(n)


def let_go(folder: Path, n: int) -> Path:
    """The file that ends the hold of a `hoard` of that number."""
    return folder / f"let-go-{n}"


@job(retention=2.0)
async def pass_by(n: int, nap_s: float) -> int:
    """Waits, and is soon deleted."""
    await asyncio.sleep(nap_s)
    return answer(n)


JOBS: dict[str, Job[Any, Any, Any, Any]] = {
    one.name: one for one in (nap, chew, stumble, block, spoil, die, hoard, pass_by)
}


def draw(dice: Random, shares: Mapping[str, float]) -> str:
    """The program of one more job; without shares, of an ordinary one."""
    shares = shares or SHARES
    return dice.choices(list(shares), weights=list(shares.values()))[0]


def watch(program: Program, history: History) -> None:
    """Lets a program write into the history when its code begins and ends, from now on, in this process.

    The very object is changed, since a step that starts children knows their programs by itself.
    """
    run = program.run

    async def watched(activation: Activation) -> Outcome:
        claim = activation.claim
        history.write("run", claim.id, claim.epoch, claim.step)
        HERE.set((history, claim.id, claim.epoch))
        noted: Any = _Noted(activation, history) if claim.step == WORKFLOW else activation
        try:
            outcome = await run(noted)
        except asyncio.CancelledError:
            history.write("cut", claim.id, claim.epoch)
            raise
        except Exception:
            history.write("end", claim.id, claim.epoch)
            raise
        history.write("end", claim.id, claim.epoch)
        return outcome

    program.run = watched  # type: ignore[method-assign]


class _Noted:
    """An activation that writes down what of a workflow's steps was recorded, once that is acknowledged."""

    def __init__(self, activation: Activation, history: History) -> None:
        self._activation = activation
        self._history = history

    def __getattr__(self, name: str) -> Any:
        return getattr(self._activation, name)

    async def record(self, outcome: Recorded) -> None:
        """See `Activation`."""
        claim = self._activation.claim
        await self._activation.record(outcome)
        self._history.write_all(
            ("noted", claim.id, claim.epoch, entry.key, entry.attempt, entry.status)
            for entry in outcome.entries
            if entry.kind == "step"
        )
