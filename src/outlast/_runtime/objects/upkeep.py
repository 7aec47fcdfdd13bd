"""What keeps the tables of objects small."""

from __future__ import annotations

from outlast._runtime.events import Events
from outlast._store.objects import Calls, Objects


class ObjectPruner:
    """Deletes objects past their retention, calls that nobody waits for and answers that nobody reads."""

    name = "object-pruner"

    def __init__(self, objects: Objects, calls: Calls, *, interval_s: float, batch_max: int, events: Events) -> None:
        self._objects = objects
        self._calls = calls
        self._interval_s = interval_s
        self._batch_max = batch_max
        self._events = events

    async def beat(self) -> float:
        """One batch; the next follows at once while there is more."""
        objects = await self._objects.prune(self._batch_max)
        calls = await self._calls.prune(self._batch_max)
        if objects or calls:
            self._events.emit("objects.pruned", objects=objects, calls=calls)
        return 0.0 if max(objects, calls) >= self._batch_max else self._interval_s
