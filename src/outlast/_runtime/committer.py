"""Group commit: outcomes of many steps share one transaction, without any fixed delay.

While one flush is in flight the next one gathers: an idle engine commits at once, a busy one in batches.
A step's slot is free before its outcome is durable, because nothing that starts next depends on it; what is
not yet durable is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from outlast._kernel.failures import reason_text
from outlast._kernel.limits import KEY
from outlast._kernel.states import FAILED, FINAL, QUARANTINED, READY, SCHEDULED
from outlast._model import Settlement
from outlast._runtime.doorbell import Doorbell
from outlast._runtime.events import Events
from outlast._runtime.patience import TRANSIENT, Patience
from outlast._runtime.telling import tell_of_entries
from outlast._runtime.waiters import Waiters
from outlast._store.contract import Claims, Limits
from outlast._world import World
from outlast.errors import StoreError

_FINAL: Final = frozenset(FINAL)
Item = tuple[Settlement, str, str]
"""An outcome, the queue and the program it came from."""
SPLIT_MIN: Final = 64
"""From so many outcomes on that somebody waits for, two halves take turns: while one is written, the other one runs."""
UNFLUSHED_BATCHES: Final = 4
"""Batches of outcomes that may be waiting for the database before lanes stop starting steps."""


class Committer:
    """Takes outcomes, makes them durable, and tells whoever waits.

    Args:
        claims: Where outcomes are written.
        limits: Where the gates of keys that come free are opened.
        batch_max: Outcomes in one transaction at most.
    """

    def __init__(
        self,
        claims: Claims,
        limits: Limits,
        *,
        batch_max: int,
        waiters: Waiters,
        doorbell: Doorbell,
        events: Events,
        world: World,
    ) -> None:
        self._claims = claims
        self._limits = limits
        self._batch_max = batch_max
        self._waiters = waiters
        self._doorbell = doorbell
        self._events = events
        self._world = world
        self._patience = Patience("committer", events, world)
        self._pending: list[Item] = []
        self._released: list[tuple[str, int]] = []
        self._released_queues: set[str] = set()
        self._in_flight = 0
        self._holding: set[str] = set()
        self._answers: dict[tuple[str, int], asyncio.Future[bool]] = {}
        self._task: asyncio.Task[None] | None = None
        self._on_room: Callable[[], None] = _nothing
        self._on_paused: Callable[[set[str]], None] = _nothing
        self._on_settled: Callable[[Sequence[Settlement], set[str]], None] = _nothing
        self._closed = False
        self.unflushed_max = UNFLUSHED_BATCHES * batch_max

    def on_room(self, call: Callable[[], None]) -> None:
        """Calls `call()` after each flush."""
        self._on_room = call

    def on_paused(self, call: Callable[[set[str]], None]) -> None:
        """Calls `call(ids)` with instances that go on after an outcome and are paused, before anybody goes on."""
        self._on_paused = call

    def on_settled(self, call: Callable[[Sequence[Settlement], set[str]], None]) -> None:
        """Calls `call(outcomes, stale)` with what is durable and the ids of those that were refused, before others are
        told."""
        self._on_settled = call

    @property
    def unflushed(self) -> int:
        """Outcomes not yet durable."""
        return len(self._pending) + self._in_flight

    @property
    def has_room(self) -> bool:
        """Whether more steps may be started."""
        return len(self._pending) + self._in_flight < self.unflushed_max

    def holds(self) -> set[str]:
        """Ids whose outcome or release is not yet durable."""
        return self._holding | {item.id for item, _, _ in self._pending} | {id for id, _ in self._released}

    def put(self, settlement: Settlement, queue: str, program: str = "") -> None:
        """Takes an outcome. It is durable some moment later."""
        if self._closed:
            return
        self._pending.append((settlement, queue, program))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._flush(), name="outlast-committer")

    def durable(self, settlement: Settlement, queue: str, program: str = "") -> asyncio.Future[bool]:
        """Takes an outcome; the answer comes when it is durable. False: the claim was no longer ours."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._answers[settlement.id, settlement.epoch] = future
        self.put(settlement, queue, program)
        return future

    def release(self, claims: list[tuple[str, int]], queue: str) -> None:
        """Gives claims of a queue back that were not run, or whose run does not count."""
        if self._closed:
            return
        self._released += claims
        self._released_queues.add(queue)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._flush(), name="outlast-committer")

    async def close(self) -> None:
        """Drops what is not durable by now, and whatever comes later: steps that were given up may still end."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def settled(self) -> None:
        """Waits until everything taken so far is durable."""
        while self._task is not None:
            await asyncio.shield(self._task)

    async def _flush(self) -> None:
        at_most = self._first_batch()
        try:
            while self._pending or self._released:
                try:
                    if self._pending:  # first: a claim that is given back may have a step on its way.
                        batch_max, at_most = at_most, self._batch_max
                        await self._next_batch(batch_max)
                    if self._released:
                        await self._give_back()
                except Exception as error:
                    # What was in hand is dropped: its rows stay ours without our knowing, and the reconciler gives
                    # them back. The rest must go on.
                    self._events.emit("loop.failed", loop="committer", error=f"{type(error).__name__}: {error}")
                    await asyncio.sleep(self._patience.next_s(error))
        finally:
            self._task = None

    def _first_batch(self) -> int:
        """How many outcomes to write first, when nothing was being written.

        Runs that wait for their outcomes would all wait for one commit, and the next commit for all of them, in turns
        for ever: database and process would never work at the same time.
        """
        if len(self._answers) < SPLIT_MIN:
            return self._batch_max
        return min(self._batch_max, (len(self._pending) + 1) // 2)

    async def _next_batch(self, batch_max: int) -> None:
        batch = self._pending[:batch_max]
        if len({item.id for item, _, _ in batch}) < len(batch):
            batch = _one_of_each(batch)
        del self._pending[: len(batch)]
        self._in_flight = len(batch)
        self._holding = {item.id for item, _, _ in batch}
        # A run goes on when it has its answer, and may be back with its next outcome before all is told of this one.
        claims = [(item.id, item.epoch) for item, _, _ in batch] if self._answers else []
        asked = {claim: self._answers[claim] for claim in claims if claim in self._answers}
        try:
            await self._commit(batch)
        finally:
            for claim, future in asked.items():
                if self._answers.get(claim) is future:
                    self._answer(claim, ours=False)
            self._in_flight = 0
            self._holding = set()
        self._on_room()

    def _answer(self, claim: tuple[str, int], *, ours: bool) -> None:
        future = self._answers.pop(claim, None)
        if future is not None and not future.done():
            future.set_result(ours)

    async def _give_back(self) -> None:
        claims, self._released = self._released, []
        queues, self._released_queues = self._released_queues, set()
        self._holding = {id for id, _ in claims}
        try:
            await self._patience.until_done(lambda: self._claims.release(claims))
        finally:
            self._holding = set()
        self._doorbell.others(queues)
        self._doorbell.timer(tell_others=False)  # what has a limit went back to the timekeeper.

    async def _commit(self, batch: list[Item]) -> None:
        settlements = [item for item, _, _ in batch]
        began = self._world.monotonic()
        try:
            committed = await self._patience.until_done(lambda: self._claims.commit(settlements))
        except StoreError as error:
            if isinstance(error, TRANSIENT):
                raise
            await self._split(batch, error)
            return
        if committed.paused:
            self._on_paused(set(committed.paused))
        self._tell(batch, set(committed.stale), committed.queues, began)
        if freed := {KEY + item.frees for item in settlements if item.frees is not None}:
            self._doorbell.work(await self._patience.until_done(lambda: self._limits.open(freed)))

    async def _split(self, batch: list[Item], error: StoreError) -> None:
        """The database refused a row of this batch: halve until it stands alone, then record that instead."""
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._commit(batch[:middle])
            await self._commit(batch[middle:])
            return
        refused, queue, program = batch[0]
        self._events.emit("outcome.refused", id=refused.id, program=program, error=str(error))
        if refused.result is None and refused.status == FAILED:
            return  # even the plain record was refused; the lease gives the instance to somebody else.
        text = reason_text(f"the database refused the outcome: {error}", kind="StoreError")
        instead = Settlement(refused.id, refused.epoch, FAILED, refused.attempt, None, text, None, refused.retention_s)
        await self._commit([(instead, queue, program)])

    def _tell(self, batch: list[Item], stale: set[str], queues: Iterable[str], began: float) -> None:
        settlements = [item for item, _, _ in batch]
        self._on_settled(settlements, stale)
        ended: list[str] = []
        ready = set(queues)
        later = bool(ready)  # parents that were woken, or children: those with a limit are the timekeeper's.
        for item, queue, program in batch:
            id, status = item.id, item.status
            if self._answers:
                self._answer((id, item.epoch), ours=id not in stale)
            if stale and id in stale:
                self._events.emit("claim.stale", id=id, program=program, epoch=item.epoch, status=status)
                continue
            if status in _FINAL:
                ended.append(id)
            elif status == READY:
                ready.add(queue)
            elif status == SCHEDULED or item.wake_s is not None or item.born:
                later = True
            elif status == QUARANTINED:
                self._events.emit("instance.quarantined", id=id, program=program, error=item.error)
                ended.append(id)
        if self._events.wanted:
            self._report([each for each in batch if each[0].id not in stale], len(batch), began)
        self._waiters.settled(settlements, stale)
        self._doorbell.ended(ended)
        if ready:
            self._doorbell.work(ready)
        if later:
            self._doorbell.timer()

    def _report(self, batch: list[Item], count: int, began: float) -> None:
        emit = self._events.emit
        duration_s = self._world.monotonic() - began
        settled = [(item.id, item.epoch, item.status) for item, _, _ in batch]
        emit("commit.stop", count=count, stale=count - len(batch), settled=settled, duration_s=duration_s)
        for item, queue, program in batch:
            if item.entries:
                tell_of_entries(emit, item, program, queue)
            for child in item.born:
                emit("instance.started", id=child.id, program=child.program, queue=child.queue, parent=item.id)
            if item.status in _FINAL:
                emit("instance.ended", id=item.id, program=program, queue=queue, status=item.status)


def _one_of_each(items: list[Item]) -> list[Item]:
    """The first items, up to where an instance comes for the second time.

    Its claim was in doubt, and given back, and is here again. Of two outcomes of one instance in a batch the store
    could not say which is stale.
    """
    seen: set[str] = set()
    for place, (item, _, _) in enumerate(items):
        if item.id in seen:
            return items[:place]
        seen.add(item.id)
    return items


def _nothing(*_: object) -> None: ...
