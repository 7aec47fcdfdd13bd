"""Rings the alarms of objects that this node owns, or that nobody does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from outlast._model import AlarmMove, AlarmRow
from outlast._store.objects import Alarms

RINGING_MAX: Final = 1_000
"""Alarms at work at once; more wait where they are."""
REFUSED_MAX: Final = 20_000
"""Alarms looked past at most that their objects cannot take now."""


class AlarmClock:
    """Takes due alarms to their objects, and sleeps until the next one is due."""

    name = "object-alarms"

    def __init__(
        self,
        alarms: Alarms,
        *,
        node: Callable[[], str],
        types: Callable[[], Sequence[str]],
        ring: Callable[[AlarmRow, int], bool],
        moment: Callable[[], int],
        monotonic: Callable[[], float],
        poll_s: float,
    ) -> None:
        self._alarms = alarms
        self._node = node
        self._types = types
        self._ring = ring
        self._moment = moment
        self._monotonic = monotonic
        self._poll_s = poll_s
        self._ringing: set[Any] = set()
        self._meanwhile: set[Any] = set()
        self._refused = 0
        self._full = False
        self._next_look = float("inf")
        self._wake: Callable[[], None] = _nothing

    def on_wake(self, wake: Callable[[], None]) -> None:
        """What makes the next look come now."""
        self._wake = wake

    def heard(self, node: str) -> None:
        """Somebody has set an alarm of an object of a node."""
        if node in (self._node(), "*"):
            self._wake()

    def earlier(self) -> None:
        """An alarm was set here."""
        self._wake()

    def moved(self, moves: Iterable[AlarmMove], now_us: int) -> None:
        """Alarms that rang are due again: one that is so before the next look makes that come now."""
        left_s = self._next_look - self._monotonic()
        for move in moves:
            wait_s = move.delay_s if move.due_us is None else (move.due_us - now_us) / 1_000_000
            if wait_s is not None and wait_s < left_s:
                self._wake()
                return

    async def beat(self) -> float:
        """Rings what is due."""
        self._next_look = float("inf")  # until it is known: what is due again meanwhile, this look may not see.
        wait_s = await self._look()
        self._next_look = self._monotonic() + wait_s
        return wait_s

    async def _look(self) -> float:
        node, types = self._node(), self._types()
        if not node or not types or len(self._ringing) >= RINGING_MAX:
            return self._poll_s
        limit = RINGING_MAX + len(self._ringing) + min(self._refused, REFUSED_MAX)
        self._meanwhile.clear()
        seen = self._moment()
        due = await self._alarms.due(node, types, limit)
        rung = 0
        self._refused = 0
        for alarm in due.alarms:
            key = (alarm.type, alarm.id, alarm.name, alarm.revision)
            if key in self._ringing or key in self._meanwhile:  # of the latter the list may not know that they rang.
                continue
            self._ringing.add(key)
            if self._ring(alarm, seen):
                rung += 1
            else:
                self._ringing.discard(key)
                self._refused += 1
        self._full = len(due.alarms) >= limit
        if self._full and not rung:
            return 0.05
        return self._poll_s if due.next_s is None else min(self._poll_s, due.next_s)

    def over(self, alarms: Iterable[Any]) -> None:
        """These have rung, or are not at work here any more."""
        over = list(alarms)
        self._ringing.difference_update(over)
        self._meanwhile.update(over)
        if self._refused or (self._full and len(self._ringing) < RINGING_MAX // 2):
            self._full = False
            self._refused = 0
            self._wake()

    def again(self, alarm: Any) -> None:
        """This one was not rung after all, and is looked for again."""
        self.over((alarm,))
        self._wake()


def _nothing() -> None: ...
