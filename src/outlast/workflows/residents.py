"""The code of a parked workflow, kept in memory: it goes on from where it is, or is left and runs again later.

Whether it may go on is the runtime's to say: only when its instance was merely woken since. Here it is made sure that
the code does not notice: its times are the database's, and its context is that of the activation that runs it now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextvars import Context, copy_context
from typing import Final, Protocol

from outlast._kernel.outcomes import Outcome
from outlast._kernel.program import Activation

_MISSING: Final = object()


class Timed(Protocol):
    """A wait, or a step that is tried again: something that is due by the clock."""

    key: str
    due_at: float | None


class Stayer(Protocol):
    """A flow whose code stays."""

    def timed(self) -> Iterable[Timed]:
        """What its code waits for by the clock."""

    def contexts(self) -> Iterable[Context]:
        """Those in which its code goes on."""

    def wake(self, activation: Activation) -> None:
        """Belongs to another activation from now on, and takes what woke it."""

    async def run(self) -> Outcome:
        """Goes on."""

    def leave(self) -> None:
        """Ends the code, which waits."""


class Residence:
    """A parked flow in memory. See `_kernel.program.Resident`."""

    __slots__ = ("_context", "_flow", "_timed", "timed")

    def __init__(self, flow: Stayer) -> None:
        self._flow = flow
        self._context = copy_context()
        self._timed = {each.key: each for each in flow.timed()}
        self.timed: Sequence[str] = tuple(self._timed)

    def leave(self) -> None:
        """See `_kernel.program.Resident`. Whoever calls this: the code is left in the context that it knows."""
        self._context.run(self._flow.leave)

    async def go_on(self, activation: Activation, now: float) -> Outcome:
        """Goes on in another activation.

        Args:
            activation: Its claim says how many seconds are left of each wait.
            now: By the running loop's clock.
        """
        try:
            left = activation.claim.left or {}
            for key, each in self._timed.items():
                each.due_at = now + left[key]
            rebase(self._flow.contexts(), self._context, copy_context())
            self._flow.wake(activation)
        except BaseException:
            self.leave()
            raise
        return await self._flow.run()


def rebase(contexts: Iterable[Context], old: Context, new: Context) -> None:
    """Gives contexts that were copied from `old` what is different in `new`, but for what they have set themselves."""
    changed = [(variable, value) for variable, value in new.items() if old.get(variable, _MISSING) is not value]
    for context in contexts:
        for variable, value in changed:
            if context.get(variable, _MISSING) is old.get(variable, _MISSING):
                context.run(variable.set, value)
