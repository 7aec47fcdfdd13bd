"""The engine for code without an event loop: scripts, Flask, Django. One portal, no second implementation.

    with outlast.sync.Engine("sqlite:///app.db", queues={}) as engine:
        handle = engine.start(send_email.new(to="ann@example.org", subject="hi"))
        print(handle.result(timeout=10))

The engine lives on a loop in a thread of its own; every call is handed over and waited for. It opens at its first
use, and again in a child process after a fork.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from outlast import engine as asynchronous
from outlast._kernel.cron import Cron, Dst
from outlast._kernel.limits import LimitsInEffect
from outlast._kernel.program import Program
from outlast._kernel.requests import Startable, Starting, StartingMany
from outlast._kernel.schedules import CatchUp, Overlap
from outlast._model import (
    Act,
    Instance,
    LogLine,
    Node,
    PendingInput,
    QueueCounts,
    RecordedStep,
    Schedule,
    Standing,
    StoredSignal,
)
from outlast._world import process_id
from outlast.config import Options
from outlast.engine import ONE_DAY, By, Filters, Listener, OnConflict, Runnable, ScheduleChanges, SignalResult, Target
from outlast.errors import ConfigError, DuplicateKey, EngineStateError
from outlast.graphs import Graph
from outlast.sync.handles import Handle
from outlast.sync.objects import Objects
from outlast.sync.portal import Latch, Portal, refuse_on_loop

__all__ = ["Engine", "Handle"]

T = TypeVar("T")
R = TypeVar("R")


class Engine(Objects):
    """Every operation of `outlast.Engine` under its name, for callers without an event loop.

    Safe to share between threads. Arguments, defaults and errors are those of `outlast.Engine`; a call made on a
    running event loop is refused, since it would block it.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        programs: Iterable[Runnable] | None = None,
        **options: Unpack[Options],
    ) -> None:
        kept = None if programs is None else list(programs)
        self._make: Callable[[], asynchronous.Engine] = lambda: asynchronous.Engine(url, programs=kept, **options)
        self._engine = self._make()
        self.config = self._engine.config
        self._lock = Latch()
        self._portal: Portal | None = None
        self._pid = process_id()
        self._listeners: list[tuple[str, Listener]] = []

    def on(self, pattern: str, callback: Listener | None = None) -> Any:
        """See `outlast.Engine.on`; the callback runs on the portal's thread."""
        if callback is None:
            return lambda given: self.on(pattern, given) and given
        off, entry = self._engine.on(pattern, callback), (pattern, callback)
        self._listeners.append(entry)

        def stop() -> None:
            off()
            self._listeners = [each for each in self._listeners if each is not entry]

        return stop

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """See `outlast.Engine.open`. Done by itself at the first call."""
        self._opened()

    def close(self) -> None:
        """See `outlast.Engine.close`. Done by itself at the interpreter's exit."""
        with self._lock:
            portal, self._portal = self._portal, None
        atexit.unregister(self.close)
        if portal is not None and self._pid == process_id():
            try:
                portal.call(self._engine.close())
            finally:
                portal.close()

    def _opened(self) -> Portal:
        refuse_on_loop()
        with self._lock:
            if self._pid != process_id():  # a forked child has neither the thread nor its connections.
                self._pid, self._portal, self._engine = process_id(), None, self._make()
                for pattern, listener in self._listeners:
                    self._engine.on(pattern, listener)
            if self._portal is None:
                portal = Portal()
                try:
                    portal.call(self._engine.open())
                except BaseException:
                    portal.close()
                    raise
                self._portal = portal
                atexit.register(self.close)
            return self._portal

    def _call(self, work: Callable[[asynchronous.Engine], Coroutine[Any, Any, T]]) -> T:
        portal = self._opened()
        try:
            return portal.call(work(self._engine))
        except DuplicateKey as error:
            raise self._ours(error) from None

    def _ours(self, error: DuplicateKey) -> DuplicateKey:
        """The same error, with a handle for callers without a loop."""
        return DuplicateKey(error.key, Handle(self, error.handle))

    def migrate(self) -> list[int]:
        """See `outlast.Engine.migrate`."""
        refuse_on_loop()
        if self._portal is not None and self._pid == process_id():
            return self._portal.call(self._engine.migrate())
        portal = Portal()
        try:
            return portal.call(self._make().migrate())
        finally:
            portal.close()

    def start(
        self,
        what: Startable[R],
        *,
        on_conflict: OnConflict = "raise",
        connection: Any = None,
        **options: Unpack[Starting],
    ) -> Handle[R]:
        """See `outlast.Engine.start`. `connection` is used in the calling thread, and must be a synchronous one."""
        enlisted = self._enlisted(connection)
        return Handle(
            self,
            self._call_here_or_there(
                enlisted is not None,
                lambda engine: engine.start(what, on_conflict=on_conflict, connection=connection, **options),
            ),
        )

    def signal_or_start(
        self,
        what: Startable[R],
        name: str,
        payload: Any = None,
        *,
        correlation_key: str,
        dedup_key: str | None = None,
        **options: Unpack[StartingMany],
    ) -> tuple[Handle[R], SignalResult]:
        """See `outlast.Engine.signal_or_start`."""
        handle, result = self._call(
            lambda engine: engine.signal_or_start(
                what, name, payload, correlation_key=correlation_key, dedup_key=dedup_key, **options
            )
        )
        return Handle(self, handle), result

    def start_many(
        self, many: Iterable[Startable[R]], *, connection: Any = None, **options: Unpack[StartingMany]
    ) -> list[Handle[R]]:
        """See `outlast.Engine.start_many`."""
        enlisted = self._enlisted(connection)
        found = self._call_here_or_there(
            enlisted is not None, lambda engine: engine.start_many(many, connection=connection, **options)
        )
        return [Handle(self, handle) for handle in found]

    def _enlisted(self, connection: Any) -> Any:
        if connection is None:
            return None
        self._opened()
        enlisted = self._engine.enlist(connection)
        if enlisted.is_async:
            raise ConfigError(
                f"outlast.sync needs a synchronous connection, not {type(connection).__name__}; use outlast.Engine"
            )
        return enlisted

    def _call_here_or_there(self, here: bool, work: Callable[[asynchronous.Engine], Coroutine[Any, Any, T]]) -> T:
        """On the portal; or in this thread, when the caller's own connection belongs to it and nothing is awaited."""
        if not here:
            return self._call(work)
        coroutine = work(self._engine)
        try:
            coroutine.send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        except DuplicateKey as error:
            raise self._ours(error) from None
        coroutine.close()
        raise EngineStateError("a start on a synchronous connection waited for something; this is a bug")

    def handle(self, id: str) -> Handle[Any]:
        """See `outlast.Engine.handle`."""
        return Handle(self, self._engine.handle(id))

    def get(self, id: str) -> Instance:
        """See `outlast.Engine.get`."""
        return self._call(lambda engine: engine.get(id))

    def find(self, correlation_key: str) -> Instance | None:
        """See `outlast.Engine.find`."""
        return self._call(lambda engine: engine.find(correlation_key))

    def list(self, *, before: str | None = None, limit: int = 50, **filters: Unpack[Filters]) -> Sequence[Instance]:
        """See `outlast.Engine.list`."""
        return self._call(lambda engine: engine.list(before=before, limit=limit, **filters))

    def list_all(self, *, page: int = 200, **filters: Any) -> Iterator[Instance]:
        """See `outlast.Engine.list_all`."""
        before: str | None = filters.pop("before", None)
        while True:
            found = self.list(limit=page, before=before, **filters)
            yield from found
            if len(found) < page:
                return
            before = found[-1].id

    def expand_id(self, prefix: str) -> str:
        """See `outlast.Engine.expand_id`."""
        return self._call(lambda engine: engine.expand_id(prefix))

    def cancel(self, id: str, reason: str = "", *, tree: bool = False) -> Instance:
        """See `outlast.Engine.cancel`."""
        return self._call(lambda engine: engine.cancel(id, reason, tree=tree))

    def signal(self, target: Target, name: str, payload: Any = None, *, dedup_key: str | None = None) -> SignalResult:
        """See `outlast.Engine.signal`."""
        return self._call(lambda engine: engine.signal(target, name, payload, dedup_key=dedup_key))

    def signals(self, target: Target) -> Sequence[StoredSignal]:
        """See `outlast.Engine.signals`."""
        return self._call(lambda engine: engine.signals(target))

    def drawing(self, name: str) -> Graph:
        """See `outlast.Engine.drawing`."""
        return self._engine.drawing(name)

    def graph(self, target: Target) -> Graph:
        """See `outlast.Engine.graph`."""
        return self._call(lambda engine: engine.graph(target))

    def steps(self, target: Target) -> Sequence[RecordedStep]:
        """See `outlast.Engine.steps`."""
        return self._call(lambda engine: engine.steps(target))

    def pending_inputs(
        self,
        *,
        program: str | None = None,
        name: str | None = None,
        until: datetime | None = None,
        limit: int = 50,
    ) -> Sequence[PendingInput]:
        """See `outlast.Engine.pending_inputs`."""
        return self._call(lambda engine: engine.pending_inputs(program=program, name=name, until=until, limit=limit))

    def provide_input(self, target: Target, name: str, answer: Any) -> SignalResult:
        """See `outlast.Engine.provide_input`."""
        return self._call(lambda engine: engine.provide_input(target, name, answer))

    def cancel_input(self, target: Target, name: str, reason: str = "") -> SignalResult:
        """See `outlast.Engine.cancel_input`."""
        return self._call(lambda engine: engine.cancel_input(target, name, reason))

    def children(
        self, target: Target, *, round: int | None = None, after: Instance | None = None, limit: int = 100
    ) -> Sequence[Instance]:
        """See `outlast.Engine.children`."""
        return self._call(lambda engine: engine.children(target, round=round, after=after, limit=limit))

    def all_children(self, target: Target, *, round: int | None = None) -> Iterator[Instance]:
        """See `outlast.Engine.all_children`."""
        last: Instance | None = None
        while page := self.children(target, round=round, after=last, limit=1_000):
            yield from page
            last = page[-1]

    def logs(
        self,
        target: Target,
        *,
        after: LogLine | int | None = None,
        level: str | int | None = None,
        step: str | None = None,
        limit: int = 100,
    ) -> Sequence[LogLine]:
        """See `outlast.Engine.logs`."""
        return self._call(lambda engine: engine.logs(target, after=after, level=level, step=step, limit=limit))

    def all_logs(
        self,
        target: Target,
        *,
        after: LogLine | int | None = None,
        level: str | int | None = None,
        step: str | None = None,
    ) -> Iterator[LogLine]:
        """See `outlast.Engine.all_logs`."""
        while page := self.logs(target, after=after, level=level, step=step, limit=1_000):
            yield from page
            after = page[-1]

    def retry(
        self,
        id: str,
        *,
        from_step: str | None = None,
        input: Mapping[str, Any] | None = None,
        state: Mapping[str, Any] | None = None,
        result_of: Mapping[str, Any] | None = None,
        reason: str = "",
        by: str | None = None,
    ) -> Instance:
        """See `outlast.Engine.retry`."""
        return self._call(
            lambda engine: engine.retry(
                id, from_step=from_step, input=input, state=state, result_of=result_of, reason=reason, by=by
            )
        )

    def pause(self, id: str, reason: str = "", *, tree: bool = False, by: str | None = None) -> Instance:
        """See `outlast.Engine.pause`."""
        return self._call(lambda engine: engine.pause(id, reason, tree=tree, by=by))

    def resume(self, id: str, reason: str = "", *, tree: bool = False, by: str | None = None) -> Instance:
        """See `outlast.Engine.resume`."""
        return self._call(lambda engine: engine.resume(id, reason, tree=tree, by=by))

    def acts(self, id: str) -> Sequence[Act]:
        """See `outlast.Engine.acts`."""
        return self._call(lambda engine: engine.acts(id))

    def delete(self, id: str) -> None:
        """See `outlast.Engine.delete`."""
        self._call(lambda engine: engine.delete(id))

    def pause_queue(self, name: str) -> None:
        """See `outlast.Engine.pause_queue`."""
        self._call(lambda engine: engine.pause_queue(name))

    def resume_queue(self, name: str) -> None:
        """See `outlast.Engine.resume_queue`."""
        self._call(lambda engine: engine.resume_queue(name))

    def queues(self) -> Sequence[QueueCounts]:
        """See `outlast.Engine.queues`."""
        return self._call(lambda engine: engine.queues())

    def limits(self) -> LimitsInEffect:
        """See `outlast.Engine.limits`."""
        return self._call(lambda engine: engine.limits())

    def totals(self, *, by: By = "status", parent: Any = None, **filters: Unpack[Filters]) -> dict[str, int]:
        """See `outlast.Engine.totals`."""
        return self._call(lambda engine: engine.totals(by=by, parent=parent, **filters))

    def set_tags(self, id: str, tags: Mapping[str, str | None]) -> dict[str, str]:
        """See `outlast.Engine.set_tags`."""
        return self._call(lambda engine: engine.set_tags(id, tags))

    def delete_many(
        self, *, older_than: float | timedelta | None = None, dry_run: bool = False, **filters: Unpack[Filters]
    ) -> int:
        """See `outlast.Engine.delete_many`."""
        return self._call(lambda engine: engine.delete_many(older_than=older_than, dry_run=dry_run, **filters))

    def nodes(self) -> Sequence[Node]:
        """See `outlast.Engine.nodes`."""
        return self._call(lambda engine: engine.nodes())

    def findings(self) -> Sequence[tuple[str, str, str]]:
        """See `outlast.Engine.findings`."""
        return self._call(lambda engine: engine.findings())

    def standing(self) -> Standing:
        """See `outlast.Engine.standing`."""
        return self._call(lambda engine: engine.standing())

    def schedule(
        self,
        what: Startable[Any],
        cron: str | Cron,
        *,
        name: str | None = None,
        zone: str = "UTC",
        dst: Dst = "auto",
        catch_up: CatchUp = "last",
        window: float | timedelta = ONE_DAY,
        overlap: Overlap = "allow",
        jitter: float | timedelta = 0,
        queue: str | None = None,
        priority: int = 0,
        tags: Mapping[str, str] | None = None,
        enabled: bool = True,
    ) -> Schedule:
        """See `outlast.Engine.schedule`."""
        return self._call(
            lambda engine: engine.schedule(
                what,
                cron,
                name=name,
                zone=zone,
                dst=dst,
                catch_up=catch_up,
                window=window,
                overlap=overlap,
                jitter=jitter,
                queue=queue,
                priority=priority,
                tags=tags,
                enabled=enabled,
            )
        )

    def schedules(
        self,
        *,
        enabled: bool | None = None,
        program: str | None = None,
        queue: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[Schedule]:
        """See `outlast.Engine.schedules`."""
        return self._call(
            lambda engine: engine.schedules(enabled=enabled, program=program, queue=queue, after=after, limit=limit)
        )

    def get_schedule(self, name: str) -> Schedule:
        """See `outlast.Engine.get_schedule`."""
        return self._call(lambda engine: engine.get_schedule(name))

    def update_schedule(self, name: str, **changes: Unpack[ScheduleChanges]) -> Schedule:
        """See `outlast.Engine.update_schedule`."""
        return self._call(lambda engine: engine.update_schedule(name, **changes))

    def enable_schedule(self, name: str) -> Schedule:
        """See `outlast.Engine.enable_schedule`."""
        return self._call(lambda engine: engine.enable_schedule(name))

    def disable_schedule(self, name: str) -> Schedule:
        """See `outlast.Engine.disable_schedule`."""
        return self._call(lambda engine: engine.disable_schedule(name))

    def delete_schedule(self, name: str) -> None:
        """See `outlast.Engine.delete_schedule`."""
        self._call(lambda engine: engine.delete_schedule(name))

    def trigger_schedule(self, name: str, what: Startable[Any] | None = None) -> Handle[Any]:
        """See `outlast.Engine.trigger_schedule`."""
        return Handle(self, self._call(lambda engine: engine.trigger_schedule(name, what)))

    @property
    def programs(self) -> Sequence[Program]:
        """See `outlast.Engine.programs`."""
        return self._engine.programs

    def program(self, name: str) -> Program:
        """See `outlast.Engine.program`."""
        return self._engine.program(name)
