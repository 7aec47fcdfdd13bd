"""This process's lease: renewed from a thread of its own, so that a blocked event loop loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from outlast._runtime.events import Events
from outlast._runtime.patience import Patience
from outlast._store.contract import Leases
from outlast._world import World, host_name, process_id
from outlast.errors import StoreError

FENCE_SHARE: Final = 0.8
"""A node that could not renew for this share of its lease stops running steps: others may soon take over."""

JOIN_S: Final = 5.0
"""Closing waits this long for a renewal that is under way."""


class Node:
    """Registers, renews, and says when the lease is in doubt or gone.

    Args:
        on_doubt: Called on the loop when the lease could not be renewed for most of its length.
        on_buried: Called on the loop when others have taken over what this node held.
        on_well: Called on the loop when the lease is good again, after either.
        declare: Says what this node knows of limits, whenever it has registered.
    """

    def __init__(
        self,
        leases: Leases,
        *,
        lease_s: float,
        renew_s: float,
        on_doubt: Callable[[], None],
        on_buried: Callable[[], None],
        on_well: Callable[[], None],
        declare: Callable[[str], Awaitable[None]],
        events: Events,
        world: World,
    ) -> None:
        self.id = world.new_node_id()
        self._leases = leases
        self._lease_s = lease_s
        self._renew_s = renew_s
        self._on_doubt = on_doubt
        self._on_buried = on_buried
        self._on_well = on_well
        self._declare = declare
        self._events = events
        self._world = world
        self._renewer = leases.renewer()
        self._stop = threading.Event()
        self._ended = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._burial: asyncio.Task[None] | None = None
        self._asked_at = self._steady_since = float("-inf")
        self._rising = False
        self.in_doubt = False

    @property
    def claims_as(self) -> str:
        """The id to claim under; empty while the lease is in doubt or gone, when nothing may be begun.

        It looks at the clock: a process that was frozen knows this before its first renewal tells it. And it counts
        from when the last renewal was asked for: an answer that lay there meanwhile proves nothing.
        """
        return "" if self._rising or self.in_doubt or self._late_s() > FENCE_SHARE * self._lease_s else self.id

    @property
    def is_sure(self) -> bool:
        """Whether nobody can have taken over what this node holds: no other node can have seen its last sign of life
        before that was asked for."""
        return self._late_s() < FENCE_SHARE * self._lease_s and not self._rising

    def _late_s(self) -> float:
        return self._world.monotonic() - self._asked_at

    async def open(self) -> None:
        """Registers and begins to renew."""
        self._loop = asyncio.get_running_loop()
        await self._register()
        self._thread = threading.Thread(target=self._renew_for_ever, name="outlast-lease", daemon=True)
        self._thread.start()

    async def _register(self) -> None:
        asked_at = self._world.monotonic()
        await self._leases.register(self.id, host_name(), process_id(), self._lease_s)
        await self._declare(self.id)
        self.renewed(asked_at)

    def _renew_for_ever(self) -> None:
        wait_s = self._renew_s
        while not self._stop.wait(wait_s):
            node, asked_at = self.id, self._world.monotonic()
            try:
                alive = self._renewer.renew(node)
            except Exception as error:
                wait_s = self._missed(error)
            else:
                wait_s = self._answered(node, asked_at, alive=alive)
        with contextlib.suppress(StoreError):
            self._renewer.close()
        self._tell(self._ended.set)

    def _missed(self, error: Exception) -> float:
        """The lease was not renewed. Seconds until the next try."""
        if isinstance(error, StoreError):
            wait_s = min(1.0, self._renew_s) * (0.25 + 0.25 * self._world.dice.random())
        else:
            self._events.emit("loop.failed", loop="lease", error=f"{type(error).__name__}: {error}")
            wait_s = self._renew_s
        self._judge()
        return wait_s

    def _answered(self, node: str, asked_at: float, *, alive: bool) -> float:
        """The database has answered what was asked at `asked_at`. Seconds until the next renewal."""
        if alive:
            was_well = self.claims_as
            self.renewed(asked_at)
            self.in_doubt = False
            if not was_well:
                self._tell(self._on_well)
        else:
            self._tell(partial(self._bury, node))
        return self._renew_s

    def renewed(self, asked_at: float) -> None:
        """A sign of life was given: some time between `asked_at`, on the monotonic clock, and now."""
        now = self._world.monotonic()
        if self._is_late(now):
            self._steady_since = now
        self._asked_at = asked_at

    def steady_since(self) -> float:
        """Since when this node has renewed without a gap, on the monotonic clock.

        A gap is one in which a node with the same lease could have seemed dead, though it only could not write.
        """
        now = self._world.monotonic()
        return now if self._is_late(now) else self._steady_since

    def _is_late(self, now: float) -> bool:
        return now - self._asked_at > self._lease_s - self._renew_s

    def _judge(self) -> None:
        late_s = self._late_s()
        if late_s > FENCE_SHARE * self._lease_s and not self.in_doubt:
            self.in_doubt = True
            self._events.emit("node.fenced", late_s=round(late_s, 3))
            self._tell(self._on_doubt)

    def _tell(self, call: Callable[[], None]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed.
                self._loop.call_soon_threadsafe(call)

    def _bury(self, node: str) -> None:
        """Others have taken over what this node held: it lets go and comes back under a new id."""
        if node == self.id and not self._rising and not self._stop.is_set():
            self._rising = True
            self._burial = asyncio.get_running_loop().create_task(self._rise(), name="outlast-node")

    async def _rise(self) -> None:
        self._events.emit("node.buried", node=self.id)
        self._on_buried()
        self.id = self._world.new_node_id()
        # Nothing is claimed before the new id is in the table: a row whose node is unknown belongs to nobody.
        await Patience("lease", self._events, self._world).until_done(self._register)
        self.in_doubt = self._rising = False
        self._on_well()

    async def close(self) -> None:
        """Stops renewing and says goodbye."""
        self._stop.set()
        if self._burial is not None:
            self._burial.cancel()
            await asyncio.gather(self._burial, return_exceptions=True)
        with contextlib.suppress(StoreError):
            await self._leases.retire(self.id)

    async def join(self) -> None:
        """Waits for the renewing thread to end; not for ever, when the database does not answer it."""
        if self._thread is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(JOIN_S):
                    await self._ended.wait()
                    self._thread.join()  # that was its last line: this does not wait.
