"""Which objects are in this process's memory, and when they leave it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from outlast._kernel.objects import ObjectType, ObjectTypes
from outlast._model import ObjectKey
from outlast._runtime.events import Events
from outlast._runtime.objects.resident import Resident
from outlast._world import World

LOOK_MAX: Final = 1_000
"""Objects looked at before others have their turn on the loop."""
EVICT_LOOKS: Final = 8
"""Objects looked at for each one that comes when the memory is full."""
Held = tuple[str, str, int]
"""Type, id and epoch of an object that is owned here."""


class Memory:
    """Objects in memory, the least recently used first. An object that leaves it is still owned by its node, until its
    time to be given up has come.

    Args:
        resident_max: More leave as soon as they are idle. Of as many that have left it is known when they are to be
            given up; of more, those that left first are given up sooner.
        release: Gives objects of a node up.
    """

    name = "object-memory"

    def __init__(
        self,
        types: ObjectTypes,
        *,
        resident_max: int,
        release: Callable[[str, Sequence[Held]], Awaitable[object]],
        events: Events,
        world: World,
    ) -> None:
        self._types = types
        self._resident_max = resident_max
        self._release = release
        self._events = events
        self._world = world
        self._residents: OrderedDict[ObjectKey, Resident] = OrderedDict()
        self._left: dict[ObjectKey, tuple[int, str, float]] = {}

    def __len__(self) -> int:
        return len(self._residents)

    def __iter__(self) -> Iterator[Resident]:
        return iter(list(self._residents.values()))

    def find(self, key: ObjectKey) -> Resident | None:
        """The object, if it is here."""
        return self._residents.get(key)

    def use(self, resident: Resident) -> None:
        """It is called now."""
        resident.used_at = self._world.monotonic()
        self._residents.move_to_end(resident.key)

    def add(self, resident: Resident) -> None:
        """It is on its way here."""
        self._residents[resident.key] = resident
        self._left.pop(resident.key, None)
        if len(self._residents) > self._resident_max:
            self._evict(resident)

    def drop(self, resident: Resident) -> None:
        """It is not here any more."""
        if self._residents.get(resident.key) is resident:
            del self._residents[resident.key]

    def forget_owned(self) -> None:
        """Nothing that has left is owned here any more."""
        self._left.clear()

    def _evict(self, newest: Resident | None = None, looks: int = EVICT_LOOKS) -> None:
        """The least recently used idle ones leave until there is room; those at work are in use."""
        for _ in range(looks):
            if len(self._residents) <= self._resident_max:
                return
            oldest = next(iter(self._residents.values()))
            if oldest.is_idle and oldest is not newest:
                self._hibernate(oldest)
            else:
                self.use(oldest)

    def _hibernate(self, resident: Resident) -> None:
        resident.leave_idle()
        keep_s = _given_up_s(resident.kind)
        if keep_s is not None:
            self._left[resident.key] = (resident.epoch, resident.node, resident.used_at + keep_s)
        if self._events.wanted:
            self._events.emit("object.hibernated", type=resident.key[0], id=resident.key[1])

    async def beat(self) -> float:
        """Lets idle objects leave, and gives up those that were idle for long."""
        self._evict(looks=LOOK_MAX)
        spans = {kind.name: span for kind in self._types if (span := _leaves_s(kind)) is not None}
        least_s = min(spans.values(), default=3_600.0)
        now = self._world.monotonic()
        for number, resident in enumerate(self, 1):
            idle_s = now - resident.used_at
            if idle_s < least_s:
                break
            span = spans.get(resident.kind.name)
            if span is not None and idle_s >= span and resident.is_idle and not resident.gone:
                self._hibernate(resident)
            if number % LOOK_MAX == 0:
                await asyncio.sleep(0)
        await self._give_up(now)
        return max(0.05, min(5.0, least_s / 4))

    async def _give_up(self, now: float) -> None:
        too_many = len(self._left) - self._resident_max
        over = [item for number, item in enumerate(self._left.items()) if item[1][2] <= now or number < too_many]
        for start in range(0, len(over), LOOK_MAX):
            some = over[start : start + LOOK_MAX]
            by_node: dict[str, list[Held]] = {}
            for key, (epoch, node, _) in some:
                by_node.setdefault(node, []).append((*key, epoch))
            for node, held in by_node.items():
                await self._release(node, held)
            for key, left in some:
                if self._left.get(key) is left:
                    del self._left[key]


def _given_up_s(kind: ObjectType) -> float | None:
    """Seconds without a call after which an object that has left is given up.

    At once where it is kept for a time only: what somebody owns is not deleted.
    """
    return 0.0 if kind.retention_s is not None else kind.shutdown_s


def _leaves_s(kind: ObjectType) -> float | None:
    """Seconds without a call after which an object leaves the memory."""
    spans = (kind.hibernate_s, kind.shutdown_s, kind.retention_s)
    return min((span for span in spans if span is not None), default=None)
