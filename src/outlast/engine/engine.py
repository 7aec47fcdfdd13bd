"""The engine: starts instances, alone, many, or in the caller's own transaction."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import Any, Final, Literal, TypeVar, Unpack

from outlast._kernel.requests import (
    Startable,
    Starting,
    StartingMany,
    StartOptions,
    many_options,
    start_options,
)
from outlast._model import Held, NewInstance
from outlast._runtime.crew import Crew
from outlast._store.contract import Enlisted
from outlast.engine.checks import checked_id, one_of, request_of
from outlast.engine.handles import Handle, SignalResult
from outlast.engine.objects import Objects
from outlast.errors import DuplicateKey

R = TypeVar("R")

CHUNK: Final = 1_000
"""Rows of `start_many` that share one transaction."""
_CLOCKS_APART_US: Final = 1_000_000
"""What is due this soon by our clock may be due already by the store's."""
OnConflict = Literal["raise", "return"]


class Engine(Objects):
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
        what: Startable[R],
        *,
        on_conflict: OnConflict = "raise",
        connection: Any = None,
        **options: Unpack[Starting],
    ) -> Handle[R]:
        """Starts an instance. When this returns it is committed (or is part of your transaction).

        Args:
            what: A description made by `.new(...)`, or a machine.
            schedule_in: Seconds (or a timedelta) to wait before it may run.
            schedule_at: An aware instant before which it does not run; not together with `schedule_in`.
            priority: A lower number goes first; 0 by default, negative ones jump the line.
            queue: Where it goes; the program's own queue by default.
            correlation_key: Its business key: at most one instance holds a key. Signals reach it by this key.
            correlation_scope: How long it holds the key: "live" (until it ends), "always" (until it is deleted),
                "none", or the statuses themselves (all live ones and any final ones).
            concurrency_key: Of the steps with the same key, one runs at a time in the whole cluster, or as many as
                `concurrency_limits` says for its name. A name, or (name, partition).
            rate_limit: A limit of `rate_limits` that its first step waits for. A name, or (name, partition).
            weight: Tokens that the first step takes from the rate limit; 1 by default.
            fair_key: Whose share of the queue it counts against (a tenant, say): keys take turns.
            fair_weight: How many of this key run for one of a key with weight 1.
            tags: What it is found by, `list(tags=...)`: up to 20 texts by name, each of 1 to 200 characters.
            on_conflict: When the key is held: "raise" DuplicateKey, or "return" the holder's handle.
            connection: Your own database connection or session: the instance is inserted in your transaction, and
                exists when you commit. asyncpg, psycopg 3, SQLAlchemy 2, Django, sqlite3.

        Raises: DuplicateKey, EncodingError, ConfigError, ArgumentError, StoreError, EngineStateError.
        """
        request, given = request_of(what), start_options(**options)
        one_of("on_conflict", on_conflict, ("raise", "return"))
        crew = self._running()
        await _check_rate(crew, given)
        row = crew.starts.row(request, given)
        held = await self._insert(crew, [row], connection)
        if held:
            holder: Handle[R] = Handle(self, held[0].holder, request.read_result)
            if on_conflict == "return":
                return holder
            raise DuplicateKey(held[0].key, holder)
        return Handle(self, row.id, request.read_result)

    async def signal_or_start(
        self,
        what: Startable[R],
        name: str,
        payload: Any = None,
        *,
        correlation_key: str,
        dedup_key: str | None = None,
        **options: Unpack[StartingMany],
    ) -> tuple[Handle[R], SignalResult]:
        """Sends a signal to the instance that holds the key, and starts one first if there is none: one transaction.

        Args are those of `start` and `signal`; the key is held until the instance ends.

        Returns: The instance's handle, and what became of the signal (`delivered` or `duplicate`).

        Raises: as `start` and `signal`.
        """
        request, crew = request_of(what), self._running()
        given = start_options(correlation_key=correlation_key, **options)
        await _check_rate(crew, given)
        row = crew.starts.row(request, given)
        signal = self._new_signal(row.id, name, payload, dedup_key)
        signal.instance, signal.key = None, row.correlation_key
        held, receipt = await crew.patiently(lambda: self._store.instances.add_and_send(row, signal))
        if not held:
            crew.doorbell.work([row.queue])
            crew.doorbell.timer()
        if self._events.wanted:
            self._tell_started([row], held)
        self._tell_sent(receipt, name)
        handle: Handle[R] = Handle(self, receipt.instance or row.id, request.read_result)
        return handle, receipt.result  # type: ignore[return-value]

    async def start_many(
        self, many: Iterable[Startable[R]], *, connection: Any = None, **options: Unpack[StartingMany]
    ) -> list[Handle[R]]:
        """Starts many, 1,000 to a transaction, in bounded memory: `many` may be a generator.

        Options are those of `start`, for all of them. When it fails half-way, the chunks before are committed and
        the error's notes say how many; inside your own `connection` all of them are yours to roll back.

        Returns: Handles, in order.
        """
        given = many_options(**options)
        crew = self._running()
        await _check_rate(crew, given)
        handles: list[Handle[R]] = []
        source = iter(many)
        stored = 0
        waiting: asyncio.Task[list[Held]] | None = None
        try:
            while chunk := list(itertools.islice(source, CHUNK)):
                rows = []
                for what in chunk:
                    request = request_of(what)
                    rows.append(crew.starts.row(request, given))
                    handles.append(Handle(self, rows[-1].id, request.read_result))
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

    async def _insert(self, crew: Crew, rows: list[NewInstance], connection: Any) -> list[Held]:
        if crew.tracing is None:
            return await self._insert_rows(crew, rows, connection)
        with crew.tracing.start(rows):
            return await self._insert_rows(crew, rows, connection)

    async def _insert_rows(self, crew: Crew, rows: list[NewInstance], connection: Any) -> list[Held]:
        soon_us = self._world.wall_us() + _CLOCKS_APART_US
        queues = {row.queue for row in rows if row.delay_s is None and (row.due_us is None or row.due_us < soon_us)}
        held: list[Held]
        if connection is None:
            held = await crew.intake.add(rows)
            crew.doorbell.work(queues)
            if any(not _is_plain(row) for row in rows):
                crew.doorbell.timer()
        else:
            enlisted = self._store.enlist(connection)
            answer = enlisted.add(rows, queues)
            held = await answer if enlisted.is_async else answer
        if self._events.wanted:
            self._tell_started(rows, held)
        return held

    def _tell_started(self, rows: Iterable[NewInstance], held: Iterable[Held]) -> None:
        refused = {each.id for each in held}
        for row in rows:
            if row.id not in refused:
                self._events.emit("instance.started", id=row.id, program=row.program, queue=row.queue)

    def handle(self, id: str) -> Handle[Any]:
        """A handle for an id that you kept. Nothing is read."""
        return Handle(self, checked_id(id))

    def handle_of(self, handle: Handle[R]) -> Handle[R]:
        """The same instance, asked through this engine."""
        return Handle(self, handle.id, handle._read_result)

    def enlist(self, connection: Any) -> Enlisted:
        """The caller's own connection as a place to insert. Raises: ConfigError: of a kind that is not known."""
        return self._store.enlist(connection)


def _is_plain(row: NewInstance) -> bool:
    """Whether it can be claimed at once, without the timekeeper."""
    return row.delay_s is None and row.due_us is None and row.concurrency_key is None and row.rate_limit is None


async def _check_rate(crew: Crew, options: StartOptions) -> None:
    if options.rate_limit is not None:
        await crew.rates.ensure(options.rate_limit, options.rate_weight)
