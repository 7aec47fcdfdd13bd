"""Operations on what exists: instances, queues, nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Generic, TypeVar

from outlast._kernel.identity import checked_key
from outlast._kernel.limits import LimitsInEffect
from outlast._kernel.states import CANCELLED, LIVE, RUNNING
from outlast._model import Ended, Filter, Instance, Node, QueueCounts, Standing
from outlast._runtime.upkeep import STRAYS_MAX
from outlast._runtime.waiters import SETTLED
from outlast.config import checked_name, duration_s, shown
from outlast.engine.checks import checked_id
from outlast.engine.reading import read_instance
from outlast.engine.searches import Searches
from outlast.errors import ConfigError, IllegalMove, NotFound, OutlastError, ResultTimeout

T = TypeVar("T")


class Operations(Searches):
    """The operations on instances and queues that exist."""

    async def get(self, id: str) -> Instance:
        """The instance as it stands. Raises: NotFound."""
        self._running()
        row = await self._store.instances.get(checked_id(id))
        if row is None:
            raise NotFound(f"no instance has the id {id}")
        return read_instance(row)

    async def find(self, correlation_key: str) -> Instance | None:
        """The instance that holds a correlation key, else the newest one that had it, or None."""
        self._running()
        row = await self._store.instances.find(checked_key(correlation_key))
        return None if row is None else read_instance(row)

    async def expand_id(self, prefix: str) -> str:
        """The one id that begins with `prefix`. Raises: NotFound: none; ConfigError: several."""
        self._running()
        text = prefix.strip().lower()
        if len(text) < 4 or not set(text) <= set("0123456789abcdef-"):
            raise ConfigError(f"an id, or at least 4 characters of its beginning, was expected, not {shown(prefix)}")
        found = await self._store.instances.list(Filter(id_prefix=text, limit=2))
        if not found:
            raise NotFound(f"no instance has an id that begins with {prefix!r}")
        if len(found) > 1:
            raise ConfigError(f"several instances have an id that begins with {prefix!r}; give more of it")
        return found[0].id

    async def cancel(self, id: str, reason: str = "", *, tree: bool = False) -> Instance:
        """Ends a live instance as `cancelled`, whatever it is doing; cancelling it again changes nothing.

        With `tree` its live descendants end with it, in the same transaction; without, its children run on.

        A running step can no longer commit from this moment. Its code is cancelled as soon as its process hears of
        it; a plain `def` runs to its end, unheard.

        Raises: NotFound. IllegalMove: it has ended otherwise.
        """
        stopped = await self._running().cancel(checked_id(id), reason, tree=tree)
        if stopped is None:
            raise NotFound(f"no instance has the id {id}")
        if stopped.former not in LIVE and stopped.former != CANCELLED:
            raise IllegalMove(f"instance {id} has ended as {stopped.former!r} and cannot be cancelled", stopped.former)
        return await self.get(id)

    async def delete(self, id: str) -> None:
        """Deletes an instance for good. Raises: NotFound. IllegalMove: it is running; cancel it first."""
        crew = self._running()
        call = Tried(lambda: self._store.instances.delete(checked_id(id)))
        former = await crew.patiently(call)
        if former is None and not call.again:
            raise NotFound(f"no instance has the id {id}")
        if former == RUNNING:
            raise IllegalMove(f"instance {id} is running; cancel it before deleting it", former)
        crew.waiters.heard(id)
        crew.doorbell.timer()
        crew.sweep()

    async def pause_queue(self, name: str) -> None:
        """Nobody claims from the queue until it is resumed, in any process; stored. Running steps go on."""
        crew = self._running()
        await crew.patiently(lambda: self._store.queues.pause(checked_name(name, what="queue")))

    async def resume_queue(self, name: str) -> None:
        """Takes a pause back."""
        crew = self._running()
        await crew.patiently(lambda: self._store.queues.resume(checked_name(name, what="queue")))
        crew.doorbell.work([name])

    async def queues(self) -> Sequence[QueueCounts]:
        """Live instances by queue, and which queues are paused."""
        self._running()
        return await self._store.queues.counts()

    async def limits(self) -> LimitsInEffect:
        """Concurrency limits and rate limits as they hold in the whole cluster, not only what this engine says."""
        self._running()
        store = self._store.limits
        return LimitsInEffect(await store.slots(), {rate.name: rate for rate in await store.rates()})

    async def nodes(self) -> Sequence[Node]:
        """The processes that serve queues, and what they hold."""
        self._running()
        return await self._store.leases.nodes()

    async def findings(self) -> Sequence[tuple[str, str, str]]:
        """What an operator should know of the database: (level, subject, sentence)."""
        self._running()
        found = list(await self._store.upkeep.findings())
        for limit in await self._store.limits.strays(STRAYS_MAX):
            found.append(("problem", "rate limit", f"instances wait for {limit!r}, which no worker has declared"))
        return found

    async def standing(self) -> Standing:
        """What waits, and for how long: what an operator asks first."""
        self._running()
        return await self._store.upkeep.standing()

    async def ended(self, id: str, timeout: float | timedelta | None) -> Ended:
        """How the instance ended, once it has. Raises: ResultTimeout, NotFound."""
        crew = self._running()
        timeout_s = None if timeout is None else duration_s(timeout, name="timeout")
        try:
            async with asyncio.timeout(timeout_s):
                ended = await crew.waiters.wait(checked_id(id))
        except TimeoutError:
            ended = await self._last_look(id)
            if ended is None or ended.status not in SETTLED:
                raise ResultTimeout(id, timeout_s or 0.0, ended and ended.status) from None
        if ended is None:
            raise NotFound(f"no instance has the id {id}")
        return ended

    async def _last_look(self, id: str) -> Ended | None:
        try:
            async with asyncio.timeout(1.0):
                found = await self._store.instances.ended([id])
        except (OutlastError, TimeoutError):
            return None
        return found[0] if found else None


class Tried(Generic[T]):
    """A call that knows whether it was made before: then an earlier try may have done the work and lost its reply."""

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._tries = 0

    def __call__(self) -> Awaitable[T]:
        self._tries += 1
        return self._call()

    @property
    def again(self) -> bool:
        """Whether it was called more than once."""
        return self._tries > 1
