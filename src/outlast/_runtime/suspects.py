"""Instances that processes have died over: each process runs one of them at a time.

A crash counts against all that the process held, so whoever kills its process must be left alone before its neighbours
are quarantined with it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from outlast._model import Claim
from outlast._world import World

SUSPECT_LEFT: Final = 2
"""An instance that this many more crashes would quarantine is a suspect."""
ALONE_S: Final = 2.0
"""With one chance left nothing begins for so long once it has begun. One that lives longer does not kill at once."""
QUIET_S: Final = 0.5
"""So long it waits at most for what runs already to end."""


class Suspects:
    """The suspect that this process has claimed, if any. Its lanes share it.

    Args:
        max_crashes: How many crashes quarantine an instance.

    Attributes:
        crashes: As many make one a suspect.
        id: The one that is here, or None.
        is_over: Its code has ended; what came of it may not be durable yet.
        is_asked_for: A lane is claiming, and may get one.
    """

    def __init__(self, max_crashes: int, world: World) -> None:
        self.crashes = max(1, max_crashes - SUSPECT_LEFT)
        self.id: str | None = None
        self.is_over = False
        self.is_asked_for = False
        self._last_crashes = max(1, max_crashes - 1)
        self._alone_since: float | None = None
        self._world = world

    @property
    def are_asked_for(self) -> bool:
        """Whether the next claim may take one: none is here, and nobody else may get one."""
        return self.id is None and not self.is_asked_for

    @property
    def is_alone(self) -> bool:
        """Whether nothing else may begin: the one that is here has one chance left."""
        return self._alone_for(ALONE_S)

    @property
    def waits_for_quiet(self) -> bool:
        """Whether it waits until nothing else runs."""
        return self._alone_for(QUIET_S)

    def take(self, claim: Claim) -> bool:
        """A claimed suspect. Whether it may stay: it is the only one."""
        if self.id is not None:
            return False
        self.id = claim.id
        self._alone_since = self._world.monotonic() if claim.crashes >= self._last_crashes else None
        return True

    def begin(self) -> None:
        """The one that is here begins. What it waited for a slot is not of the time that it is alone."""
        if self._alone_since is not None:
            self._alone_since = self._world.monotonic()

    def end(self, ids: Collection[str]) -> bool:
        """These are over, or were never begun. Whether the suspect is one of them."""
        if self.id not in ids:
            return False
        self.is_over = True
        return True

    def clear(self, unsettled: Collection[str]) -> bool:
        """Forgets one that is over, once what came of it is durable: until then it would share the next crash.

        `unsettled` are those whose outcome is on its way. Returns whether the next one may come.
        """
        if not self.is_over or self.id in unsettled:
            return False
        self.id, self.is_over, self._alone_since = None, False, None
        return True

    def _alone_for(self, seconds: float) -> bool:
        return self._alone_since is not None and self._world.monotonic() - self._alone_since < seconds
