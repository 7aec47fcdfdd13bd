"""Waiting out trouble: the one place that decides how long to wait before trying again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from outlast._runtime.events import Events
from outlast._world import World
from outlast.errors import SchemaError, StoreFull, StoreReadOnly, StoreUnavailable

T = TypeVar("T")

TRANSIENT: Final = (StoreUnavailable, StoreFull, StoreReadOnly, SchemaError)
"""Trouble of the whole database, which somebody will mend; what failed was not the row's fault."""
_FIRST_S: Final = 0.05
_LONGEST_S: Final = 5.0


class Patience:
    """Grows from 50 ms to 5 s, with full jitter, and says once when trouble begins and once when it ends."""

    def __init__(self, who: str, events: Events, world: World) -> None:
        self._who = who
        self._events = events
        self._world = world
        self._tries = 0

    def well(self) -> None:
        """It worked."""
        if self._tries:
            self._tries = 0
            self._events.emit("store.back", loop=self._who)

    def next_s(self, error: BaseException) -> float:
        """It failed: seconds to wait."""
        if not self._tries:
            self._events.emit("store.away", loop=self._who, error=f"{type(error).__name__}: {error}")
        self._tries += 1
        ceiling: float = min(_LONGEST_S, _FIRST_S * 2.0 ** min(self._tries, 10))
        return ceiling * (0.25 + 0.75 * self._world.dice.random())

    async def until_done(self, call: Callable[[], Awaitable[T]], *, give_up_s: float | None = None) -> T:
        """What `call` returns, tried again through transient trouble; for ever, or until `give_up_s` have passed."""
        started = self._world.monotonic()
        while True:
            try:
                answer = await call()
            except TRANSIENT as error:
                wait_s = self.next_s(error)
                if give_up_s is not None and self._world.monotonic() - started + wait_s > give_up_s:
                    raise
                await asyncio.sleep(wait_s)
            else:
                self.well()
                return answer
