"""The engine: wires shapes, loops and store together, and does nothing else itself."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Literal, Self, TypeVar, Unpack

from outlast._codec import decode_any
from outlast._kernel.failures import read_error, reason_text
from outlast._kernel.program import DEFINED, Catalogue, Program, StartRequest
from outlast._kernel.states import ALL, CANCELLED, DONE, FAILED, LIVE, MOVES, QUARANTINED, RUNNING
from outlast._model import Ended, Filter, Held, Instance, NewInstance, Node, Progress, QueueCounts, Row, Standing
from outlast._runtime.crew import Crew
from outlast._runtime.events import Events
from outlast._runtime.waiters import SETTLED
from outlast._store.contract import Enlisted, Store
from outlast._store.door import database_file, open_store, sharing_warning, shown_url
from outlast._store.rows import checked_key, scope_text
from outlast._world import SystemWorld, World, instant_us
from outlast.config import Config, Options, checked_name, duration_s, make_config
from outlast.errors import (
    ConfigError,
    DuplicateKey,
    EncodingError,
    EngineStateError,
    IllegalMove,
    InstanceCancelled,
    InstanceFailed,
    InstanceQuarantined,
    NotFound,
    OutlastError,
    ResultTimeout,
    ValueTooLarge,
    did_you_mean,
)
from outlast.jobs import Job, Start

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

CHUNK: Final = 1_000
"""Rows of `start_many` that share one transaction."""
PAGE_MAX: Final = 1_000
_PRIORITY_MAX: Final = 2**31 - 1
_FOREVER_S: Final = 366 * 86_400.0
_CLOCKS_APART_US: Final = 1_000_000
"""What is due this soon by our clock may be due already by the store's."""
OnConflict = Literal["raise", "return"]


class Handle(Generic[R_co]):
    """One instance, from outside. Cheap; holds no row.

    Attributes:
        id: The instance.
    """

    __slots__ = ("_engine", "_read_result", "id")

    def __init__(self, engine: Engine, id: str, read_result: Any = None) -> None:
        self.id = id
        self._engine = engine
        self._read_result = read_result

    async def result(self, timeout: float | timedelta | None = None) -> R_co:
        """Waits for the end and returns the result.

        Args:
            timeout: Seconds to wait; None for ever. Running out harms nothing: call again to wait longer.

        Raises: InstanceFailed, InstanceCancelled, InstanceQuarantined: how it ended. ResultTimeout. NotFound.
        """
        ended = await self._engine._wait(self.id, timeout)
        return read_ended(ended, self._read_result)  # type: ignore[no-any-return]

    async def get(self) -> Instance:
        """The instance as it stands. Raises: NotFound."""
        return await self._engine.get(self.id)

    async def cancel(self, reason: str = "") -> Instance:
        """See `Engine.cancel`."""
        return await self._engine.cancel(self.id, reason)

    async def retry(self) -> Instance:
        """See `Engine.retry`."""
        return await self._engine.retry(self.id)

    def __repr__(self) -> str:
        return f"<Handle {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


class Engine:
    """Starts durable work, runs it, and answers questions about it.

        async with Engine("sqlite:///app.db", queues={"default": 10}) as engine:
            handle = await engine.start(send_email.new(to="ann@example.org", subject="hi"))
            print(await handle.result(timeout=10))

    Args:
        url: `sqlite:///app.db`, `sqlite:////absolute.db`, `sqlite://` (in memory) or `postgresql://...`. Left out:
            `OUTLAST_DATABASE_URL`, `[tool.outlast] url`, else `sqlite:///outlast.db`.
        programs: What this engine can run; None (default) is every job defined at module level in this process.
            What is started here is known here in any case.
        options: See `outlast.config.Config`, which describes each with its default. `queues={}` only submits.

    Raises: ConfigError: an option or the URL is wrong. Nothing is opened before `async with` (or `open`).
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        programs: Iterable[Program | Job[..., Any, Any, Any]] | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.config: Config = make_config(url, options)
        self._world: World = SystemWorld()
        self._catalogue = Catalogue(() if programs is None else programs)
        self._adopts = programs is None
        self._adopted = -1
        self._store: Store = open_store(self.config, self._world)
        self._events = Events(self.config.name, "")
        self._crew: Crew | None = None
        self._turning = False

    def configure(self, url: str | None = None, **options: Unpack[Options]) -> None:
        """Changes settings before the engine is opened; what is left out stays as it is.

        Raises: ConfigError. EngineStateError: it is open.
        """
        if self._crew is not None:
            raise EngineStateError("this engine is running: its settings cannot be changed any more")
        given: dict[str, Any] = dict(options) if url is None else {"url": url, **options}
        self.config = replace(self.config, **given)
        self._events.rename(self.config.name)
        self._store = open_store(self.config, self._world)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Opens the database and starts the loops.

        Raises: StoreError: it cannot be used; SchemaError: run `migrate` first (Postgres). EngineStateError.
        """
        if self._crew is not None:
            raise EngineStateError("this engine is running already")
        if self._turning:
            raise EngineStateError("this engine is just being opened or closed")
        self._turning = True
        try:
            self._adopt()
            crew = Crew(
                self.config, self._store, self._catalogue, self._world, events=self._events, refresh=self._adopt
            )
            try:
                await self._store.open()
                self._crew = crew  # before the first step runs: it may use the engine.
                await crew.open()
            except BaseException:
                self._crew = None
                await crew.abort()
                await self._let_go()
                raise
        finally:
            self._turning = False

    async def close(self) -> None:
        """Stops in two phases: running steps may end for `drain_timeout`, then are cancelled and given back.

        What was claimed and not started is given back at once. None of it costs an attempt.
        """
        crew, self._crew = self._crew, None
        if crew is None:
            return
        self._turning = True
        try:
            await crew.close()
        finally:
            try:
                await self._let_go()
            finally:
                self._turning = False

    async def _let_go(self) -> None:
        """Closes the store; a store is opened once, so the next opening takes a new one."""
        store, self._store = self._store, open_store(self.config, self._world)
        await store.close()

    async def run_forever(self) -> None:
        """Opens, runs until SIGTERM, SIGINT or cancellation, and closes. A second signal ends the process at once."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        signals = []
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread.
                loop.add_signal_handler(number, _stop_or_end, stop, number)
                signals.append(number)
        try:
            async with self:
                await stop.wait()
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def _adopt(self) -> None:
        """Knows the programs defined since it last looked."""
        if self._adopts and self._adopted != DEFINED.changes:
            self._adopted = DEFINED.changes
            for program in DEFINED:
                self._catalogue.add(program)

    def _running(self) -> Crew:
        if self._crew is None:
            raise EngineStateError("the engine is not open: use `async with engine:` or `await engine.open()` first")
        return self._crew

    @property
    def events(self) -> Events:
        """What the engine reports; listen before it is opened, to miss nothing."""
        return self._events

    @property
    def programs(self) -> list[Program]:
        """What this engine can run."""
        self._adopt()
        return list(self._catalogue)

    def program(self, name: str) -> Program:
        """The newest version of a program by name. Raises: UnknownProgram."""
        self._adopt()
        return self._catalogue.newest(name)

    async def migrate(self) -> list[int]:
        """Brings the tables up to this release; safe from many processes at once, and when there is nothing to do.

        SQLite does this by itself when it opens. Returns the versions applied.
        """
        if self._crew is not None:
            return await self._store.schema.migrate()
        store = open_store(self.config, self._world)
        try:
            return await store.schema.migrate()
        finally:
            await store.close()

    async def tables(self) -> tuple[int, int]:
        """The version of the tables (0: there are none), and the one that this release needs. For a closed engine."""
        store = open_store(self.config, self._world)
        path = self.database_file
        if path is not None and not path.exists():
            return 0, store.schema.latest  # looking must not make a file.
        try:
            return await store.schema.version(), store.schema.latest
        finally:
            await store.close()

    def migration_script(self, since: int = 0) -> str:
        """The SQL that brings tables of version `since` up to this release."""
        return self._store.schema.script(since)

    async def drop_tables(self) -> None:
        """Deletes this engine's tables and everything in them, for good. For a closed engine: demos and tests."""
        store = open_store(self.config, self._world)
        try:
            await store.schema.drop()
        finally:
            await store.close()

    def describe(self) -> str:
        """The database in one line, without secrets."""
        return self._store.describe()

    @property
    def shown_url(self) -> str:
        """The database's URL without secrets."""
        return shown_url(self.config)

    @property
    def database_file(self) -> Path | None:
        """The file of a SQLite database, whether it exists or not; None: it is in memory, or not SQLite."""
        return database_file(self.config)

    @property
    def sharing_warning(self) -> str | None:
        """What to know before several processes use this database; None: nothing."""
        return sharing_warning(self.config)

    async def start(
        self,
        what: Start[R],
        *,
        schedule_in: float | timedelta | None = None,
        schedule_at: datetime | None = None,
        priority: int = 0,
        queue: str | None = None,
        correlation_key: str | None = None,
        correlation_scope: str | Iterable[str] = "live",
        on_conflict: OnConflict = "raise",
        connection: Any = None,
    ) -> Handle[R]:
        """Starts an instance. When this returns it is committed (or is part of your transaction).

        Args:
            what: A description made by `.new(...)`.
            schedule_in: Seconds (or a timedelta) to wait before it may run.
            schedule_at: An aware instant before which it does not run; not together with `schedule_in`.
            priority: A lower number goes first; 0 by default, negative ones jump the line.
            queue: Where it goes; the program's own queue by default.
            correlation_key: Its business key: at most one instance holds a key.
            correlation_scope: How long it holds the key: "live" (until it ends), "always" (until it is deleted),
                "none", or the statuses themselves (all live ones and any final ones).
            on_conflict: When the key is held: "raise" DuplicateKey, or "return" the holder's handle.
            connection: Your own database connection or session: the instance is inserted in your transaction, and
                exists when you commit. asyncpg, psycopg 3, SQLAlchemy 2, Django, sqlite3.

        Raises: DuplicateKey, EncodingError, ConfigError, StoreError, EngineStateError.
        """
        row, request = self._row(what, schedule_in, schedule_at, priority, queue, correlation_key, correlation_scope)
        _one_of_words("on_conflict", on_conflict, ("raise", "return"))
        crew = self._running()
        held = await self._insert(crew, [row], connection)
        if held:
            holder: Handle[R] = Handle(self, held[0].holder, request.read_result)
            if on_conflict == "return":
                return holder
            raise DuplicateKey(held[0].key, holder)
        return Handle(self, row.id, request.read_result)

    async def start_many(
        self,
        many: Iterable[Start[R]],
        *,
        schedule_in: float | timedelta | None = None,
        schedule_at: datetime | None = None,
        priority: int = 0,
        queue: str | None = None,
        connection: Any = None,
    ) -> list[Handle[R]]:
        """Starts many, 1,000 to a transaction, in bounded memory: `many` may be a generator.

        Options are those of `start`, for all of them. When it fails half-way, the chunks before are committed and
        the error's notes say how many; inside your own `connection` all of them are yours to roll back.

        Returns: Handles, in order.
        """
        crew = self._running()
        handles: list[Handle[R]] = []
        source = iter(many)
        stored = 0
        waiting: asyncio.Task[list[Held]] | None = None
        try:
            while chunk := list(itertools.islice(source, CHUNK)):
                rows = []
                for what in chunk:
                    row, request = self._row(what, schedule_in, schedule_at, priority, queue, None, "none")
                    rows.append(row)
                    handles.append(Handle(self, row.id, request.read_result))
                if connection is not None:
                    await self._insert(crew, rows, connection)
                    continue
                if waiting is not None:  # the next chunk is prepared while the database takes this one.
                    await waiting
                    stored += CHUNK
                waiting = asyncio.create_task(self._insert(crew, rows, None))
                await asyncio.sleep(0)
            if waiting is not None:
                await waiting
        except BaseException as error:
            if waiting is not None:
                (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
                stored += 0 if isinstance(outcome, BaseException) else CHUNK
            if connection is None:
                error.add_note(f"start_many: {stored:,} were stored before this error")
            raise
        return handles

    def _row(
        self,
        what: Start[Any],
        schedule_in: float | timedelta | None,
        schedule_at: datetime | None,
        priority: int,
        queue: str | None,
        key: str | None,
        scope: str | Iterable[str],
    ) -> tuple[NewInstance, StartRequest]:
        if not hasattr(what, "start_request"):
            raise ConfigError(f"start takes what .new(...) returns, such as my_job.new(x=1), not {what!r}")
        request = what.start_request()
        program = request.program
        size = len(request.state)
        if size > self.config.payload_bytes_max // 4 and len(request.state.encode()) > self.config.payload_bytes_max:
            raise ValueTooLarge(
                f"the arguments of {program.name!r}",
                len(request.state.encode()),
                self.config.payload_bytes_max,
            )
        if self._catalogue.find(program.name, program.version) is not program:
            self._catalogue.add(program)
        if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > _PRIORITY_MAX:
            raise ConfigError(f"priority must be a whole number (a lower one goes first), not {priority!r}")
        row = NewInstance(
            self._world.new_id(),
            program.name,
            program.version,
            program.queue if queue is None else checked_name(queue, what="queue"),
            priority,
            request.step,
            request.state,
            timeout_s=program.timeout_s,
        )
        if schedule_in is not None or schedule_at is not None:
            row.delay_s, row.due_us = _due(schedule_in, schedule_at)
        if key is not None:
            row.correlation_key, row.correlation_scope = checked_key(key), scope_text(scope)
        return row, request

    async def _insert(self, crew: Crew, rows: list[NewInstance], connection: Any) -> list[Held]:
        soon_us = self._world.wall_us() + _CLOCKS_APART_US
        queues = {row.queue for row in rows if row.delay_s is None and (row.due_us is None or row.due_us < soon_us)}
        held: list[Held]
        if connection is None:
            held = await crew.intake.add(rows)
            crew.doorbell.work(queues)
            if any(row.delay_s is not None or row.due_us is not None for row in rows):
                crew.doorbell.timer()
            return held
        enlisted = self._store.enlist(connection)
        answer = enlisted.add(rows, queues)
        held = await answer if enlisted.is_async else answer
        return held

    def handle(self, id: str) -> Handle[Any]:
        """A handle for an id that you kept. Nothing is read."""
        return Handle(self, _checked_id(id))

    def handle_of(self, handle: Handle[R]) -> Handle[R]:
        """The same instance, asked through this engine."""
        return Handle(self, handle.id, handle._read_result)

    def enlist(self, connection: Any) -> Enlisted:
        """The caller's own connection as a place to insert. Raises: ConfigError: of a kind that is not known."""
        return self._store.enlist(connection)

    async def get(self, id: str) -> Instance:
        """The instance as it stands. Raises: NotFound."""
        self._running()
        row = await self._store.instances.get(_checked_id(id))
        if row is None:
            raise NotFound(f"no instance has the id {id}")
        return read_instance(row)

    async def find(self, correlation_key: str) -> Instance | None:
        """The instance that holds a correlation key, else the newest one that had it, or None."""
        self._running()
        row = await self._store.instances.find(checked_key(correlation_key))
        return None if row is None else read_instance(row)

    async def list(
        self,
        *,
        status: str | Iterable[str] | None = None,
        program: str | None = None,
        queue: str | None = None,
        correlation_key: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[Instance]:
        """Instances, newest first.

        Args:
            status: One status or several.
            program, queue, correlation_key: Only with this very value.
            created_after, created_before: Aware instants; from (inclusive), until (exclusive).
            before: The last id of the page before, to get the next one.
            limit: At most this many, up to 1,000.

        Raises: ConfigError.
        """
        self._running()
        wanted = Filter(
            status=_statuses(status),
            program=program,
            queue=queue,
            correlation_key=correlation_key,
            created_after_us=_moment_us("created_after", created_after),
            created_before_us=_moment_us("created_before", created_before),
            before=None if before is None else _checked_id(before),
            limit=_checked_limit(limit),
        )
        return [read_instance(row) for row in await self._store.instances.list(wanted)]

    async def list_all(self, *, page: int = 200, **filters: Any) -> AsyncIterator[Instance]:
        """Every instance that the filters of `list` let pass, newest first, read page by page."""
        before: str | None = filters.pop("before", None)
        while True:
            found = await self.list(limit=page, before=before, **filters)
            for instance in found:
                yield instance
            if len(found) < page:
                return
            before = found[-1].id

    async def expand_id(self, prefix: str) -> str:
        """The one id that begins with `prefix`. Raises: NotFound: none; ConfigError: several."""
        self._running()
        text = prefix.strip().lower()
        if len(text) < 4 or not set(text) <= set("0123456789abcdef-"):
            raise ConfigError(f"an id, or at least 4 characters of its beginning, was expected, not {prefix!r}")
        found = await self._store.instances.list(Filter(id_prefix=text, limit=2))
        if not found:
            raise NotFound(f"no instance has an id that begins with {prefix!r}")
        if len(found) > 1:
            raise ConfigError(f"several instances have an id that begins with {prefix!r}; give more of it")
        return found[0].id

    async def cancel(self, id: str, reason: str = "") -> Instance:
        """Ends a live instance as `cancelled`, whatever it is doing; cancelling it again changes nothing.

        A running step can no longer commit from this moment. Its code is cancelled as soon as its process hears of
        it; a plain `def` runs to its end, unheard.

        Raises: NotFound. IllegalMove: it has ended otherwise.
        """
        crew = self._running()
        error = reason_text(reason, kind="Cancel")
        found = await crew.patiently(
            lambda: self._store.instances.cancel(_checked_id(id), error, self.config.retention)
        )
        if found is None:
            raise NotFound(f"no instance has the id {id}")
        former, node = found
        if former not in LIVE and former != CANCELLED:
            raise IllegalMove(f"instance {id} has ended as {former!r} and cannot be cancelled", former)
        if node is not None:
            crew.doorbell.cancelled(id)
        crew.waiters.heard(id)
        crew.doorbell.ended([id])
        return await self.get(id)

    async def retry(self, id: str) -> Instance:
        """Runs an ended or quarantined instance again, with all its attempts; its former result is dropped.

        Raises: NotFound. IllegalMove: it is done, or has not ended. DuplicateKey: its key belongs to another by now.
        """
        crew = self._running()
        found = await crew.patiently(lambda: self._store.instances.retry(_checked_id(id)))
        if found is None:
            raise NotFound(f"no instance has the id {id}")
        if isinstance(found, Held):
            raise DuplicateKey(found.key, Handle(self, found.holder))
        former, queue = found
        if former not in MOVES["retry"]:
            raise IllegalMove(f"instance {id} is {former!r}; only {', '.join(MOVES['retry'])} can be retried", former)
        crew.doorbell.work([queue])
        return await self.get(id)

    async def delete(self, id: str) -> None:
        """Deletes an instance for good. Raises: NotFound. IllegalMove: it is running; cancel it first."""
        crew = self._running()
        former = await crew.patiently(lambda: self._store.instances.delete(_checked_id(id)))
        if former is None:
            raise NotFound(f"no instance has the id {id}")
        if former == RUNNING:
            raise IllegalMove(f"instance {id} is running; cancel it before deleting it", former)
        crew.waiters.heard(id)

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

    async def totals(self) -> dict[str, int]:
        """How many instances there are, by status. Reads the whole table."""
        self._running()
        return await self._store.instances.totals()

    async def nodes(self) -> Sequence[Node]:
        """The processes that serve queues, and what they hold."""
        self._running()
        return await self._store.leases.nodes()

    async def findings(self) -> Sequence[tuple[str, str, str]]:
        """What an operator should know of the database: (level, subject, sentence)."""
        self._running()
        return await self._store.upkeep.findings()

    async def standing(self) -> Standing:
        """What waits, and for how long: what an operator asks first."""
        self._running()
        return await self._store.upkeep.standing()

    async def _wait(self, id: str, timeout: float | timedelta | None) -> Ended:
        crew = self._running()
        timeout_s = None if timeout is None else duration_s(timeout, name="timeout")
        try:
            async with asyncio.timeout(timeout_s):
                ended = await crew.waiters.wait(_checked_id(id))
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


def read_ended(ended: Ended, read_result: Any = None) -> Any:
    """The result of an ended instance. Raises: InstanceFailed, InstanceCancelled, InstanceQuarantined."""
    if ended.status == DONE:
        text = ended.result or "null"
        return decode_any(text) if read_result is None else read_result(text)
    error = read_error(ended.error)
    reason = str(error.get("message", "")) if error else ""
    kind = {CANCELLED: InstanceCancelled, QUARANTINED: InstanceQuarantined}.get(ended.status, InstanceFailed)
    what = f"{error['type']}: {reason}" if error and ended.status == FAILED else reason
    raise kind(f"instance {ended.id} ended as {ended.status!r}: {what}", id=ended.id, reason=reason, error=error)


def read_instance(row: Row) -> Instance:
    """A row as callers see it."""
    progress = None if row.progress is None else Progress(row.progress, row.progress_note or "")
    return Instance(
        id=row.id,
        program=row.program,
        version=row.version,
        step=row.step,
        queue=row.queue,
        priority=row.priority,
        status=row.status,
        attempt=row.attempt,
        crashes=row.crashes,
        epoch=row.epoch,
        state=_readable(row.state),
        result=_readable(row.result),
        error=read_error(row.error),
        progress=progress,
        correlation_key=row.correlation_key,
        created_at=row.created_at,
        due_at=row.due_at,
        claimed_at=row.claimed_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
        node=row.node,
    )


def _readable(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return decode_any(text)
    except EncodingError:
        return text  # an operator must be able to look at a row that cannot be decoded.


def _due(schedule_in: float | timedelta | None, schedule_at: datetime | None) -> tuple[float | None, int | None]:
    if schedule_in is not None and schedule_at is not None:
        raise ConfigError("give schedule_in or schedule_at, not both")
    if schedule_in is not None:
        delay_s = duration_s(schedule_in, name="schedule_in")
        return (delay_s or None), None
    return None, _moment_us("schedule_at", schedule_at)


def _moment_us(name: str, moment: datetime | None) -> int | None:
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ConfigError(f"{name} must be a datetime with a time zone, such as datetime.now(UTC), not {moment!r}")
    return instant_us(moment)


def _checked_id(id: str) -> str:
    text = id.lower() if isinstance(id, str) else ""
    if (
        len(text) != 36
        or not set(text) <= set("0123456789abcdef-")
        or [len(p) for p in text.split("-")] != [8, 4, 4, 4, 12]
    ):
        raise ConfigError(f"an instance id looks like 0190a2b3-..., not {id!r}")
    return text


def _checked_limit(limit: int) -> int:
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= PAGE_MAX:
        raise ConfigError(f"limit must be a whole number from 1 to {PAGE_MAX:,}, not {limit!r}")
    return limit


def _statuses(status: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if status is None:
        return None
    chosen = (status,) if isinstance(status, str) else tuple(status)
    for word in chosen:
        if word not in ALL:
            raise ConfigError(f"no status is called {word!r}{did_you_mean(str(word), ALL)}")
    return chosen


def _one_of_words(name: str, value: str, words: Sequence[str]) -> None:
    if value not in words:
        raise ConfigError(f"{name} must be one of {', '.join(words)}, not {value!r}")


def _stop_or_end(stop: asyncio.Event, number: int) -> None:
    if stop.is_set():
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(signal.Signals(number))
    stop.set()
