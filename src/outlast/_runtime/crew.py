"""Everything that runs while an engine is open: who they are, how they start, and how they stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from outlast._kernel.failures import reason_text
from outlast._kernel.objects import ObjectTypes, Orders
from outlast._kernel.program import Catalogue
from outlast._kernel.states import LIVE
from outlast._model import Deed, RateRow, Stopped
from outlast._runtime.committer import Committer
from outlast._runtime.doorbell import Doorbell
from outlast._runtime.events import Events
from outlast._runtime.executor import Executor
from outlast._runtime.intake import Intake, Post
from outlast._runtime.lane import Lane
from outlast._runtime.logbook import LogBook
from outlast._runtime.node import Node
from outlast._runtime.objects import Keeper
from outlast._runtime.objects.upkeep import ObjectPruner
from outlast._runtime.patience import Patience
from outlast._runtime.progress import ProgressBook
from outlast._runtime.rates import Rates
from outlast._runtime.residents import Residents
from outlast._runtime.rounds import Actor, Rounds
from outlast._runtime.run import Kit, Why
from outlast._runtime.schedules import Scheduler
from outlast._runtime.starts import Starts
from outlast._runtime.suspects import Suspects
from outlast._runtime.threads import Threads
from outlast._runtime.tracing import make_tracing, measure
from outlast._runtime.upkeep import Pruner, Reaper, Reconciler, Sweeper, Timekeeper
from outlast._runtime.waiters import Waiters
from outlast._store.contract import Store
from outlast._world import World
from outlast.config import Config

T = TypeVar("T")

LAST_COMMITS_S: Final = 5.0
"""Shutdown waits this long for the database to take the last outcomes."""
LOOK_S: Final = 0.25
"""After a hint that anything may have changed, claims are compared with the rows this soon."""
CALL_GIVE_UP_S: Final = 5.0
"""An operator's call waits this long for a database that is away."""


class Crew:
    """The loops of one open engine."""

    def __init__(
        self,
        config: Config,
        store: Store,
        catalogue: Catalogue,
        world: World,
        *,
        events: Events,
        refresh: Callable[[], None],
        types: ObjectTypes,
        make_ref: Callable[[Any, str, Callable[[], Orders]], Any],
    ) -> None:
        self._config = config
        self._store = store
        self._catalogue = catalogue
        self._world = world
        self._refresh = refresh
        self._known: tuple[int, list[str]] = (-1, [])
        self._tasks: list[asyncio.Task[None]] = []
        self.events = events
        self.tracing = make_tracing() if config.telemetry == "auto" else None
        self._stop_measuring = measure(events) if config.telemetry == "auto" else None
        self.doorbell = Doorbell(store.bell, remote=config.doorbell == "auto")
        self.waiters = Waiters(store.instances)
        self.threads = Threads(config.threads, self.events, may_begin=self._may_begin)
        self.progress = ProgressBook(store.claims)
        self.logs = None if config.log_capture == "off" else LogBook(store.logs, config, events=events, world=world)
        self.rates = Rates(config, store.limits)
        self.starts = Starts(
            catalogue, self.rates, bytes_max=config.payload_bytes_max, world=world, tracing=self.tracing
        )
        self.intake = Intake(store.instances, batch_max=config.commit_batch, events=self.events, world=world)
        self.post = Post(store.signals, batch_max=config.commit_batch, events=self.events, world=world)
        self.committer = Committer(
            store.claims,
            store.limits,
            batch_max=config.commit_batch,
            waiters=self.waiters,
            doorbell=self.doorbell,
            events=self.events,
            world=world,
        )
        self.residents = Residents(config.residents_max, config.residents_age, events=self.events, world=world)
        self.committer.on_settled(self.residents.settled)
        kit = Kit(
            self.committer,
            instances=store.instances,
            signals=store.signals,
            journal=store.journal,
            residents=self.residents,
            cancel_tree=lambda id, reason: self.cancel(id, reason, tree=True),
            may_begin=self._may_begin,
            starts=self.starts,
            threads=self.threads,
            progress=self.progress,
            bytes_max=config.payload_bytes_max,
            events=self.events,
            world=world,
            scribe=self.logs,
        )
        self.executor = Executor(
            kit, catalogue, retention_s=config.retention, grace_s=config.lease, tracing=self.tracing
        )
        self.keeper = Keeper(
            store,
            config,
            types=types,
            node=self._claims_as if config.queues else None,
            is_sure=lambda: self.node is not None and self.node.is_sure,
            make_ref=make_ref,
            threads=self.threads,
            doorbell=self.doorbell,
            events=self.events,
            world=world,
        )
        self.committer.on_paused(self.executor.pause)
        self.node: Node | None = None
        self.lanes: list[Lane] = []
        self._lane_tasks: list[asyncio.Task[None]] = []
        self._look_later: asyncio.TimerHandle | None = None
        self._reconciler: Rounds | None = None
        self._sweeper: Rounds | None = None

    async def open(self) -> None:
        """Starts the loops that this engine's options ask for."""
        config, events = self._config, self.events
        events.open()
        waiters = self._rounds(self.waiters)
        self.waiters.on_wake(waiters.wake)
        self.doorbell.on_ended(self.waiters.heard)
        self.progress.begin(self._rounds(self.progress))
        if self.residents.is_on:
            self._rounds(self.residents)
        if self.logs is not None:
            self.logs.open(self._rounds(self.logs))
        self.keeper.outbox.on_wake(self._rounds(self.keeper.outbox).wake)
        self.doorbell.on_answers(self.keeper.outbox.heard)
        if config.queues:
            await self._open_lanes()
            self.host_objects()
        if config.queues if config.maintenance is None else config.maintenance:
            timekeeper = Timekeeper(self._store.timers, self.doorbell, poll_s=config.poll_interval, events=events)
            self.doorbell.on_timer(self._rounds(timekeeper).wake)
            self.doorbell.on_schedule(self._rounds(self.make_scheduler()).wake)
            self._rounds(self._reaper())
            self._sweeper = self._rounds(Sweeper(self._store.limits, self.doorbell, events=events))
            self._rounds(
                Pruner(
                    self._store.upkeep,
                    self._store.limits,
                    interval_s=config.prune_interval,
                    batch_max=config.prune_batch,
                    events=events,
                )
            )
            self._rounds(
                ObjectPruner(
                    self._store.objects,
                    self._store.calls,
                    interval_s=config.prune_interval,
                    batch_max=config.prune_batch,
                    events=events,
                )
            )
        await self.doorbell.open()
        events.emit("engine.started", store=self._store.describe(), queues=",".join(config.queues) or None)

    def make_scheduler(self) -> Scheduler:
        """Who fires schedules."""
        return Scheduler(
            self._store.schedules,
            self.doorbell,
            poll_s=self._config.max_poll_interval,
            events=self.events,
            world=self._world,
        )

    def _rounds(self, actor: Actor) -> Rounds:
        rounds = Rounds(actor, events=self.events, world=self._world)
        self._tasks.append(asyncio.create_task(rounds.run(), name=f"outlast-{actor.name}"))
        return rounds

    async def _open_lanes(self) -> None:
        config = self._config
        self.node = Node(
            self._store.leases,
            lease_s=config.lease,
            renew_s=config.renew_s,
            on_doubt=self._fence,
            on_buried=self._bury,
            on_well=self._ring,
            declare=self.declare,
            events=self.events,
            world=self._world,
        )
        await self.node.open()
        self._reconciler = self._rounds(self._make_reconciler())
        suspects = Suspects(config.max_crashes, self._world)
        for name, how in config.queues.items():
            lane = Lane(
                name,
                how,
                claims=self._store.claims,
                signals=self._store.signals,
                journal=self._store.journal,
                executor=self.executor,
                committer=self.committer,
                node=self._claims_as,
                known=self.known_programs,
                on_doubt=self._reconciler.wake,
                on_denied=self.doorbell.timer,
                on_clear=self._ring,
                suspects=suspects,
                grace_s=config.lease,
                payload_bytes_max=config.payload_bytes_max,
                poll_s=config.poll_interval,
                poll_s_max=config.max_poll_interval,
                events=self.events,
                world=self._world,
            )
            self.lanes.append(lane)
            self.doorbell.on_queue(name, lane.ring)
        self.committer.on_room(self._room)
        self.doorbell.on_cancelled(self._cancelled)
        self._lane_tasks = [asyncio.create_task(lane.run(), name=f"outlast-lane-{lane.name}") for lane in self.lanes]

    def host_objects(self, node: Callable[[], str] | None = None) -> None:
        """Keeps objects here. The test kit does so as a node of its own, and rings alarms by hand."""
        keeper = self.keeper
        keeper.inbox.on_wake(self._rounds(keeper.inbox).wake)
        if node is None:
            keeper.alarms.on_wake(self._rounds(keeper.alarms).wake)
        else:
            keeper.move_in(node)
        self._rounds(keeper)

        def called(node: str) -> None:
            keeper.inbox.heard(node)
            keeper.alarms.heard(node)

        self.doorbell.on_objects(called)

    async def declare(self, node: str) -> None:
        """Says for a node what it knows of limits."""
        config = self._config
        rates = [
            RateRow(name, float(limit.allowed), limit.period_s, limit.burst_max)
            for name, limit in config.rate_limits.items()
        ]
        await self._store.limits.declare(node, config.concurrency_limits, rates)

    def _reaper(self) -> Reaper:
        return Reaper(
            self._store.leases,
            self.doorbell,
            interval_s=self._config.reap_interval,
            max_crashes=self._config.max_crashes,
            own_node=self._node_id,
            steady_since=self._steady_since,
            events=self.events,
            world=self._world,
        )

    def _make_reconciler(self) -> Reconciler:
        return Reconciler(
            self._store.claims,
            node=self._node_id,
            held=self._held,
            open_claims=self._open_claims,
            takes=self._takes,
            give_back=lambda claims: self.committer.release(claims, "*"),
            stop=self._stop_lost,
            pause=self._pause,
            interval_s=self._config.renew_s,
            events=self.events,
        )

    def _node_id(self) -> str:
        return self.node.id if self.node is not None else ""

    def _steady_since(self) -> float:
        return self.node.steady_since() if self.node is not None else float("-inf")

    def _claims_as(self) -> str:
        return self.node.claims_as if self.node is not None else ""

    def _may_begin(self) -> bool:
        return self.node is None or self.node.claims_as != ""

    def _ring(self) -> None:
        self.keeper.on_well()
        for lane in self.lanes:
            lane.ring()

    def known_programs(self) -> list[str]:
        """What can be run here, as "name@version"."""
        self._refresh()
        changes, known = self._known
        if changes != self._catalogue.changes:
            known = self._catalogue.known()
            self._known = (self._catalogue.changes, known)
        return known

    def _held(self) -> set[str]:
        held = set(self.executor.running) | self.committer.holds()
        return held.union(*(lane.holds() for lane in self.lanes))

    def _takes(self) -> frozenset[tuple[str, int]]:
        """The claims that are being made, by queue and number."""
        return frozenset((lane.name, number) for lane in self.lanes if (number := lane.take_under_way()) is not None)

    def _open_claims(self) -> dict[str, int]:
        """What is claimed and has no outcome yet, by id and epoch."""
        found = {id: run.claim.epoch for id, run in self.executor.running.items()}
        for lane in self.lanes:
            found |= lane.waiting()
        return found

    def sweep(self) -> None:
        """Slots or places may have come free in a way that nobody else notices."""
        if self._sweeper is not None:
            self._sweeper.wake()

    def _room(self) -> None:
        for lane in self.lanes:
            lane.room()

    def _cancelled(self, id: str) -> None:
        self.residents.drop((id,))
        if self._reconciler is None:
            return
        if id == "*":  # on SQLite this comes with every commit of another process: look now and then.
            if self._look_later is None or self._look_later.when() < asyncio.get_running_loop().time():
                self._look_later = asyncio.get_running_loop().call_later(LOOK_S, self._reconciler.wake)
        elif id in self._open_claims():
            self._reconciler.wake()

    def _stop_lost(self, ids: set[str]) -> None:
        for lane in self.lanes:
            lane.drop(ids)
        self.executor.stop(Why.LOST, only=ids)

    def _pause(self, ids: set[str]) -> None:
        for lane in self.lanes:
            lane.hold(ids)
        self.executor.pause(ids)

    def _fence(self) -> None:
        """The lease is in doubt: nothing is begun, and what runs is stopped before others may run it."""
        for lane in self.lanes:
            lane.give_back()
        self.executor.stop(Why.FENCED)

    def _bury(self) -> None:
        """Others have taken over all that this process held."""
        for lane in self.lanes:
            lane.drop()
        self.executor.stop(Why.LOST)
        self.keeper.bury()

    async def cancel(self, id: str, reason: str, *, tree: bool) -> Stopped | None:
        """Ends an instance as cancelled, with `tree` its descendants, too, and tells whoever must know."""
        error, retention_s = reason_text(reason, kind="Cancel"), self._config.retention
        cancel = self._store.instances.cancel
        stopped = await self.patiently(lambda: cancel(id, error, retention_s, tree=tree))
        if stopped is None or (stopped.former not in LIVE and not stopped.ids):
            return stopped
        ended = stopped.ids or [id]
        self.residents.drop(ended)
        if stopped.nodes:
            self.doorbell.cancelled(ended)
        for each in ended:
            self.waiters.heard(each)
        self.doorbell.ended(ended)
        self.doorbell.work(stopped.queues)
        self.doorbell.timer()  # a parent that has a limit is admitted by the timekeeper.
        self.sweep()
        return stopped

    async def pause(self, id: str, deed: Deed, *, tree: bool) -> Stopped | None:
        """Pauses an instance, with `tree` its descendants, too, and tells whoever must know."""
        paused = await self.patiently(lambda: self._store.acts.pause(id, deed, tree=tree))
        if paused is not None and paused.ids:
            if paused.nodes:
                self.doorbell.cancelled(paused.ids)
            self.sweep()  # one that was let in to its key holds others back no longer.
        return paused

    async def resume(self, id: str, deed: Deed, *, tree: bool) -> Stopped | None:
        """Takes a pause back, with `tree` that of its descendants, too, and tells whoever must know."""
        resumed = await self.patiently(lambda: self._store.acts.resume(id, deed, tree=tree))
        if resumed is not None and resumed.ids:
            self.doorbell.work(resumed.queues)
            self.doorbell.timer()  # what has a limit is admitted by the timekeeper.
        return resumed

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """An operator's call, tried again for a while when the database is away."""
        return await Patience("call", self.events, self._world).until_done(call, give_up_s=CALL_GIVE_UP_S)

    async def close(self) -> None:
        """Stops in two phases; nothing of it costs an attempt."""
        config = self._config
        released = sum(len(lane.holds()) for lane in self.lanes)
        self.events.emit("engine.draining", running=len(self.executor.running), released=released)
        self.executor.kit.stopping = True
        for lane in self.lanes:
            lane.stop()
        try:
            if self._lane_tasks:  # a claim whose reply is on its way is given back, too.
                await asyncio.wait(self._lane_tasks, timeout=LAST_COMMITS_S)
            if not await self.executor.idle(config.drain_timeout):
                stopped = self.executor.stop(Why.DRAIN)
                await self.executor.idle(config.cancel_timeout)
                self.executor.forget(stopped)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_COMMITS_S + config.drain_timeout):
                    await self.keeper.drain(config.drain_timeout)
                    await self.intake.settled()
                    await self.post.settled()
                    await self.committer.settled()
                    if self.logs is not None:
                        await self.logs.settled()
        finally:
            await self.abort()
            self.events.emit("engine.stopped")

    async def abort(self) -> None:
        """Ends every loop and thread now."""
        if self._stop_measuring is not None:
            self._stop_measuring()
        if self._look_later is not None:
            self._look_later.cancel()
        stopped = self.executor.stop(Why.DRAIN)
        tasks = [*self._tasks, *self._lane_tasks, *self.intake.tasks(), *self.post.tasks(), *self.keeper.tasks()]
        self.keeper.close()
        for task in tasks:
            task.cancel()
        tasks += [run.task for run in stopped if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        self.residents.close()
        self.intake.close()
        self.post.close()
        if self.logs is not None:
            self.logs.close()
        self.executor.forget(stopped)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self.committer.settled()
        await self.committer.close()
        self.executor.kit.eager.close()
        self._tasks, self._lane_tasks = [], []
        self.waiters.close()
        await self.threads.close()
        if self.node is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_COMMITS_S):
                    await self.node.close()
            await self.node.join()
