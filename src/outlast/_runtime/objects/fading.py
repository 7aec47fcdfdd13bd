"""What is remembered for a while only: keys that fade, and when alarms of an object were changed."""

from __future__ import annotations

from typing import Any, Final

from outlast._kernel.objects import Orders
from outlast._world import World

CHANGES_MAX: Final = 200
"""Alarms of one object of which it is remembered when its handlers have changed them."""
STAY_S: Final = 1.0
"""An object whose calls or alarms are being listed again stays in memory for so long."""
COMING: Final = float("inf")
"""The moment of a commit that is still to come."""


class Fading:
    """Keys, each until its time is over."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._until: dict[Any, float] = {}

    def add(self, key: Any, span_s: float) -> None:
        """Remembers a key for so many seconds from now."""
        self._until[key] = self._world.monotonic() + span_s

    def __contains__(self, key: Any) -> bool:
        until = self._until.get(key) if self._until else None
        return until is not None and until > self._world.monotonic()

    def tidy(self) -> None:
        """Forgets what has faded."""
        now = self._world.monotonic()
        self._until = {key: until for key, until in self._until.items() if until > now}


class Changes:
    """When the handlers of an object have set or cancelled its alarms: what was listed before that is out of date."""

    __slots__ = ("_all", "_by_name")

    def __init__(self) -> None:
        self._all = 0.0
        self._by_name: dict[str, float] = {}

    def note(self, orders: Orders, at: float) -> None:
        """These orders are committed at that moment; `COMING`: they are still to be."""
        if orders.clears:
            self._all = at
        for name in (*orders.cancelled, *orders.alarms):
            self._by_name[name] = at
        if len(self._by_name) > CHANGES_MAX and self._all < COMING:  # what is forgotten of some counts against all.
            landed = sorted(at for at in self._by_name.values() if at < COMING)
            self._all = max(self._all, *landed[: len(landed) // 2], 0.0)
            self._by_name = {name: at for name, at in self._by_name.items() if at > self._all}

    def since(self, name: str) -> float:
        """The moment of the last change of an alarm."""
        return max(self._all, self._by_name.get(name, 0.0))
