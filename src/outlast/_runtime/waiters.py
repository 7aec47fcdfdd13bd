"""Those who wait for an instance to end, in this process. The answer is always what the row holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from outlast._kernel.states import FINAL, QUARANTINED
from outlast._model import Ended, Settlement
from outlast._runtime.patience import TRANSIENT
from outlast._store.contract import Instances
from outlast.errors import EngineStateError

SETTLED: Final = frozenset((*FINAL, QUARANTINED))
"""Statuses that answer those who wait."""
LOOK_S: Final = 0.5
"""How often those who wait look at the rows when no doorbell rings."""
ASKED_MAX: Final = 1_000


class Waiters:
    """Wakes waiters from local commits, doorbells and, in any case, from a look at the rows now and then."""

    name = "waiters"

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._waiting: dict[str, list[asyncio.Future[Ended | None]]] = {}
        self._wake = _nothing

    def on_wake(self, wake: object) -> None:
        """`wake()` makes the next look happen now."""
        self._wake = wake  # type: ignore[assignment]

    async def wait(self, id: str) -> Ended | None:
        """How the instance ended, once it has; None: there is no such row. Cancel to stop waiting.

        Raises: EngineStateError: the engine was closed meanwhile.
        """
        future: asyncio.Future[Ended | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(id, []).append(future)
        try:
            try:
                found = await self._instances.ended([id])
            except TRANSIENT:
                return await future  # the rounds look again, until the database is back.
            if future.done():
                return future.result()
            if not found:
                return None
            if found[0].status in SETTLED:
                return found[0]
            return await future
        finally:
            self._forget(id, future)

    def _forget(self, id: str, future: asyncio.Future[Ended | None]) -> None:
        if not future.cancel() and not future.cancelled():
            future.exception()  # heard, also when nobody listens any more.
        others = self._waiting.get(id)
        if others is not None and future in others:
            others.remove(future)
            if not others:
                del self._waiting[id]

    def settled(self, batch: Sequence[Settlement], stale: set[str]) -> None:
        """This process has committed these outcomes."""
        if not self._waiting:
            return
        for item in batch:
            if item.id in self._waiting and item.status in SETTLED and item.id not in stale:
                self._answer(item.id, Ended(item.id, item.status, item.result, item.error))

    def heard(self, id: str) -> None:
        """Another process says that this one ended ("*": perhaps any)."""
        if id in self._waiting or (id == "*" and self._waiting):
            self._wake()

    def _answer(self, id: str, ended: Ended | None) -> None:
        for future in self._waiting.pop(id, ()):
            if not future.done():
                future.set_result(ended)

    def close(self) -> None:
        """Tells all who still wait that they will not hear of it here."""
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(EngineStateError("the engine was closed while its result was waited for"))

    async def beat(self) -> float:
        """Looks at the rows of all that are waited for."""
        ids = list(self._waiting)
        for first in range(0, len(ids), ASKED_MAX):
            asked = ids[first : first + ASKED_MAX]
            found = {ended.id: ended for ended in await self._instances.ended(asked)}
            for id in asked:
                ended = found.get(id)
                if ended is None or ended.status in SETTLED:  # no row: it was deleted, and will never end.
                    self._answer(id, ended)
        return LOOK_S


def _nothing() -> None: ...
