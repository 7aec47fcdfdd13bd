"""The engine: starts instances, alone, many, or in the caller's own transaction."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeVar

from outlast._kernel.program import StartRequest
from outlast._model import Held, NewInstance
from outlast._runtime.crew import Crew
from outlast._store.contract import Enlisted
from outlast._store.rows import checked_key, scope_text
from outlast.config import checked_name
from outlast.engine.checks import checked_id, checked_priority, due, one_of
from outlast.engine.handles import Handle
from outlast.engine.operations import Operations
from outlast.errors import ConfigError, DuplicateKey, ValueTooLarge
from outlast.jobs import Start

R = TypeVar("R")

CHUNK: Final = 1_000
"""Rows of `start_many` that share one transaction."""
_CLOCKS_APART_US: Final = 1_000_000
"""What is due this soon by our clock may be due already by the store's."""
OnConflict = Literal["raise", "return"]


class Engine(Operations):
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
        one_of("on_conflict", on_conflict, ("raise", "return"))
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
        row = NewInstance(
            self._world.new_id(),
            program.name,
            program.version,
            program.queue if queue is None else checked_name(queue, what="queue"),
            checked_priority(priority),
            request.step,
            request.state,
            timeout_s=program.timeout_s,
        )
        if schedule_in is not None or schedule_at is not None:
            row.delay_s, row.due_us = due(schedule_in, schedule_at)
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
        return Handle(self, checked_id(id))

    def handle_of(self, handle: Handle[R]) -> Handle[R]:
        """The same instance, asked through this engine."""
        return Handle(self, handle.id, handle._read_result)

    def enlist(self, connection: Any) -> Enlisted:
        """The caller's own connection as a place to insert. Raises: ConfigError: of a kind that is not known."""
        return self._store.enlist(connection)
