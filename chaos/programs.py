"""The jobs that crash runs are made of: trivial, each with one right answer."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any

from chaos.history import History
from outlast import Context, Job, backoff, job
from outlast._kernel.outcomes import Outcome
from outlast._kernel.program import Activation, Program

SHARES = {"nap": 0.72, "chew": 0.18, "stumble": 0.10}
"""Of the jobs of an ordinary run, by program."""
FAILURES = {"stumble": 1}
"""How often a program fails before it succeeds; the others never do."""


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


JOBS: dict[str, Job[Any, Any, Any, int]] = {one.name: one for one in (nap, chew, stumble, block)}


def draw(dice: Random) -> str:
    """The program of one more ordinary job."""
    return dice.choices(list(SHARES), weights=list(SHARES.values()))[0]


class Watched:
    """A program that writes into the history when its code begins and ends."""

    def __init__(self, program: Program, history: History) -> None:
        self.name = program.name
        self.version = program.version
        self.queue = program.queue
        self.timeout_s = program.timeout_s
        self._program = program
        self._history = history

    async def run(self, activation: Activation) -> Outcome:
        """See `kernel.program.Program`."""
        claim = activation.claim
        self._history.write("run", claim.id, claim.epoch, claim.step)
        try:
            outcome = await self._program.run(activation)
        except asyncio.CancelledError:
            self._history.write("cut", claim.id, claim.epoch)
            raise
        except Exception:
            self._history.write("end", claim.id, claim.epoch)
            raise
        self._history.write("end", claim.id, claim.epoch)
        return outcome

    async def failed(self, activation: Activation, error: BaseException) -> Outcome:
        """See `kernel.program.Program`."""
        return await self._program.failed(activation, error)

    def retention_s(self, default_s: float | None) -> float | None:
        """See `kernel.program.Program`."""
        return self._program.retention_s(default_s)
