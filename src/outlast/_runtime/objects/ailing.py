"""Objects that could not be loaded: what waits for them in the store is not tried without a pause."""

from __future__ import annotations

from random import Random
from typing import Final

from outlast._kernel.backoff import checked_delay_s, exponential
from outlast._model import ObjectKey
from outlast._world import World

_BACKOFF: Final = exponential()
_FORGET_S: Final = 600.0


class Ailing:
    """Says when an object that could not be loaded may be tried again. Callers who wait are not kept from trying."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice: Random = world.dice
        self._known: dict[ObjectKey, tuple[int, float]] = {}

    def failed(self, key: ObjectKey) -> float:
        """It could not be loaded. Returns seconds until it is tried again."""
        failures, _ = self._known.get(key, (0, 0.0))
        wait_s = checked_delay_s(_BACKOFF, failures + 1, self._dice)
        self._known[key] = (failures + 1, self._world.monotonic() + wait_s)
        return wait_s

    def is_ailing(self, key: ObjectKey) -> bool:
        """Whether it is not to be tried now."""
        return bool(self._known) and key in self._known and self._known[key][1] > self._world.monotonic()

    def well(self, key: ObjectKey) -> None:
        """It was loaded."""
        if self._known:
            self._known.pop(key, None)

    def tidy(self) -> None:
        """Forgets those that nobody has tried for long."""
        now = self._world.monotonic()
        self._known = {key: known for key, known in self._known.items() if known[1] + _FORGET_S > now}
