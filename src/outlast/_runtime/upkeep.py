"""The actors that keep work moving: timekeeper, reaper, reconciler, pruner. Any number of processes may run them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from outlast._model import Beat
from outlast._runtime.doorbell import Doorbell
from outlast._runtime.events import Events
from outlast._store.contract import Claims, Leases, Limits, Timers, Upkeep
from outlast._world import World

PROMOTE_MAX: Final = 1_000
RECLAIM_MAX: Final = 1_000
SWEEP_MAX: Final = 200
"""Gates looked at in one go."""
BUCKETS_MAX: Final = 1_000
"""Buckets looked at in one go."""
STRAYS_MAX: Final = 100
"""Rate limits that nobody declares, told of at once."""
SWEEP_S: Final = 5.0
SWEEP_SOON_S: Final = 0.05
"""Seconds between rounds over all gates, and between the goes of one round."""


class Timekeeper:
    """Makes scheduled instances ready when they are due, and sleeps until the next one is."""

    name = "timekeeper"

    def __init__(self, timers: Timers, doorbell: Doorbell, *, poll_s: float, events: Events) -> None:
        self._timers = timers
        self._doorbell = doorbell
        self._poll_s = poll_s
        self._events = events

    async def beat(self) -> float:
        """Promotes what is due."""
        due = await self._timers.promote(PROMOTE_MAX)
        if due.queues:
            self._doorbell.work(due.queues)
        if due.promoted:
            self._events.emit("timers.promoted", count=due.promoted)
        if due.timed_out:
            self._events.emit("awaits.timed_out", count=due.timed_out)
        if due.promoted >= PROMOTE_MAX:
            return 0.0
        return self._poll_s if due.next_s is None else min(self._poll_s, due.next_s)


class Reaper:
    """Takes back what dead nodes held.

    A node is dead only when this reaper has itself seen its beat unchanged for a whole lease, on its own clock. After
    any gap in its own rounds (the database was away, this process was frozen) it starts to observe anew; likewise while
    its own node cannot renew: a full disk answers reads, and silences everybody.

    Args:
        steady_since: Since when the own node's renewals have succeeded without a gap.
    """

    name = "reaper"

    def __init__(
        self,
        leases: Leases,
        doorbell: Doorbell,
        *,
        interval_s: float,
        max_crashes: int,
        own_node: Callable[[], str],
        steady_since: Callable[[], float],
        events: Events,
        world: World,
    ) -> None:
        self._leases = leases
        self._doorbell = doorbell
        self._interval_s = interval_s
        self._max_crashes = max_crashes
        self._own_node = own_node
        self._steady_since = steady_since
        self._events = events
        self._world = world
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked_at = float("-inf")
        self._wait_s = interval_s
        self._overdue_from = float("-inf")

    async def beat(self) -> float:
        """Buries nodes that have died, and gives back what nobody holds any more."""
        try:
            return await self._round()
        except BaseException:
            self._looked_at = float("-inf")
            raise

    async def _round(self) -> float:
        began = self._world.monotonic()
        beats = await self._leases.beats()
        now = self._world.monotonic()
        shortest_s = min((beat.lease_s for beat in beats), default=self._interval_s * 4)
        if now - self._looked_at > self._wait_s + max(shortest_s / 2, 0.1) or now - began > shortest_s / 2:
            self._seen.clear()
            self._overdue_from = now + shortest_s
        self._looked_at = now
        for beat in beats:
            await self._watch(beat, now)
        for gone in self._seen.keys() - {beat.node for beat in beats}:
            del self._seen[gone]
        await self._reclaim(overdue=now >= max(self._overdue_from, self._steady_since() + shortest_s))
        self._wait_s = min(self._interval_s, shortest_s / 4)
        return self._wait_s

    async def _watch(self, beat: Beat, now: float) -> None:
        known = self._seen.get(beat.node)
        if known is None or known[0] != beat.beat:
            self._seen[beat.node] = (beat.beat, now)
            return
        silent_s = now - max(known[1], self._steady_since())
        if silent_s > beat.lease_s and beat.node != self._own_node():
            if await self._leases.bury(beat.node, beat.beat):
                self._events.emit("node.died", node=beat.node, silent_s=round(silent_s, 3))
            del self._seen[beat.node]

    async def _reclaim(self, *, overdue: bool) -> None:
        while True:
            found = await self._leases.reclaim(RECLAIM_MAX, self._max_crashes, overdue=overdue)
            if not (found.returned or found.quarantined):
                return
            self._events.emit("claims.reclaimed", returned=found.returned, quarantined=found.quarantined)
            self._doorbell.work(found.queues)
            self._doorbell.timer()  # what has a limit is admitted by the timekeeper.
            if found.returned + found.quarantined < RECLAIM_MAX:
                return


class Reconciler:
    """Compares what the rows say this node holds with what it does hold.

    A claim that it holds without knowing (the reply was lost) goes back, once seen twice, and once every claim that
    was being made when it was first seen has its answer: until then it may be among what that answer brings. A claim
    that it runs without holding (cancelled, or taken over) is stopped at once: it was acknowledged before it was run,
    so its row can only have been changed by somebody else. One that is paused begins nothing more.
    """

    name = "reconciler"

    def __init__(
        self,
        claims: Claims,
        *,
        node: Callable[[], str],
        held: Callable[[], set[str]],
        open_claims: Callable[[], dict[str, int]],
        takes: Callable[[], frozenset[tuple[str, int]]],
        give_back: Callable[[list[tuple[str, int]]], None],
        stop: Callable[[set[str]], None],
        pause: Callable[[set[str]], None],
        interval_s: float,
        events: Events,
    ) -> None:
        self._claims = claims
        self._node = node
        self._held = held
        self._open_claims = open_claims
        self._takes = takes
        self._give_back = give_back
        self._stop = stop
        self._pause = pause
        self._interval_s = interval_s
        self._events = events
        self._orphans: dict[tuple[str, int], frozenset[tuple[str, int]]] = {}

    async def beat(self) -> float:
        """One comparison. Looks again soon while there are orphans."""
        held, claims = self._held(), set(self._open_claims().items())
        found = await self._claims.owned(self._node())
        rows = {(id, epoch) for id, epoch, _ in found}
        held |= self._held()  # what was being claimed when the rows were read is held by now, or among these:
        takes = self._takes()
        orphans = {(id, epoch) for id, epoch in rows if id not in held}
        if lost := (claims & set(self._open_claims().items())) - rows:
            self._stop({id for id, _ in lost})
        if paused := {id for id, epoch, paused in found if paused and (id, epoch) in claims}:
            self._pause(paused)
        known = self._orphans
        if twice := sorted(claim for claim in orphans if claim in known and not known[claim] & takes):
            self._events.emit("claims.orphaned", count=len(twice))
            self._give_back(twice)
        self._orphans = {claim: known.get(claim, takes) for claim in orphans.difference(twice)}
        return min(0.5, self._interval_s) if self._orphans else self._interval_s


class Pruner:
    """Deletes ended instances past their retention, and idle buckets, in bounded batches."""

    name = "pruner"

    def __init__(self, upkeep: Upkeep, limits: Limits, *, interval_s: float, batch_max: int, events: Events) -> None:
        self._upkeep = upkeep
        self._limits = limits
        self._bucket = ""
        self._interval_s = interval_s
        self._batch_max = batch_max
        self._events = events

    async def beat(self) -> float:
        """One batch; the next follows at once while there is more."""
        deleted = await self._upkeep.prune(self._batch_max)
        buckets, self._bucket = await self._limits.prune(self._bucket, BUCKETS_MAX)
        if deleted or buckets:
            self._events.emit("retention.pruned", count=deleted, buckets=buckets)
        if deleted >= self._batch_max:
            return 0.0
        return min(SWEEP_SOON_S, self._interval_s) if self._bucket else self._interval_s


class Sweeper:
    """Looks at every gate in turn, so that nobody waits at one that is open: after a crash, or a change of limits.

    Whoever lets go of a slot opens its gate at once; this is for those who could not.
    """

    name = "sweeper"

    def __init__(self, limits: Limits, doorbell: Doorbell, *, events: Events) -> None:
        self._limits = limits
        self._doorbell = doorbell
        self._events = events
        self._after = ""
        self._strays: set[str] = set()

    async def beat(self) -> float:
        """Some gates; the next follow soon while there are more."""
        if not self._after:
            await self._look_for_strays()
        queues, self._after = await self._limits.sweep(self._after, SWEEP_MAX)
        if queues:
            self._doorbell.work(queues)
            self._events.emit("limits.opened", queues=",".join(queues))
        return SWEEP_SOON_S if self._after else SWEEP_S

    async def _look_for_strays(self) -> None:
        strays = set(await self._limits.strays(STRAYS_MAX))
        for limit in sorted(strays - self._strays):
            self._events.emit("rate.unknown", limit=limit)
        self._strays = strays
