"""The SQLite store: opens the file, checks it, and hands out the nouns."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from outlast._store.contract import Enlisted
from outlast._store.enlist import enlist
from outlast._store.schema_files import refuse_newer
from outlast._store.sqlite.acts import Acts
from outlast._store.sqlite.alarms import Alarms
from outlast._store.sqlite.calls import Calls
from outlast._store.sqlite.claims import Claims
from outlast._store.sqlite.desk import Desk
from outlast._store.sqlite.files import database_path, make_file
from outlast._store.sqlite.instances import Instances
from outlast._store.sqlite.journal import Journal
from outlast._store.sqlite.leases import Leases
from outlast._store.sqlite.limits import Limits
from outlast._store.sqlite.link import refuse_inherited
from outlast._store.sqlite.logs import Logs
from outlast._store.sqlite.objects import Objects
from outlast._store.sqlite.schedules import Schedules
from outlast._store.sqlite.schema import Schema
from outlast._store.sqlite.signals import Signals
from outlast._store.sqlite.upkeep import Queues, Timers, Upkeep
from outlast._store.sqlite.writer import Writer
from outlast._store.statements import load
from outlast._world import World
from outlast.config import Config
from outlast.errors import ConfigError

FLOOR: Final = (3, 37, 0)


class SqliteStore:
    """See `contract.Store`."""

    dialect = "sqlite"

    def __init__(self, config: Config, world: World) -> None:
        self._path = database_path(config.url)
        self._config = config
        self._writer = self._thread("sqlite", world, checkpoints=True)
        in_memory = self._path is None
        self._reader = self._writer if in_memory else self._thread("sqlite-read", world, checkpoints=False)
        sql = load("outlast._store.sqlite.sql", schema=config.schema)
        desk = Desk(self._writer, self._reader, sql, world)
        self.instances = Instances(desk)
        self.acts = Acts(desk)
        self.signals = Signals(desk)
        self.journal = Journal(desk)
        self.logs = Logs(desk)
        self.claims = Claims(desk)
        self.limits = Limits(desk)
        self.leases = Leases(desk)
        self.timers = Timers(desk, self.limits)
        self.queues = Queues(desk)
        self.schedules = Schedules(desk)
        self.objects = Objects(desk)
        self.calls = Calls(desk)
        self.alarms = Alarms(desk)
        self.upkeep = Upkeep(desk, shared=self._path is not None)
        self.schema = Schema(self._writer, config.schema, begin=self._begin)
        self.bell = Bell(self._writer)
        self._now_us = desk.now_us

    def _thread(self, label: str, world: World, *, checkpoints: bool) -> Writer:
        return Writer(
            self._connect,
            path=self._path,
            world=world,
            busy_s=self._config.statement_timeout,
            label=label,
            checkpoints=checkpoints,
        )

    async def open(self) -> None:
        try:
            refuse_newer(await self.schema.version(), self.schema.latest)
            await self.schema.migrate()
            if self._reader is not self._writer:
                await self._reader.open()
        except BaseException:
            await self.close()
            raise

    async def _begin(self) -> None:
        """Opens the writer, unless it was: enough to look at the tables, and to make them."""
        if self._writer.started:
            return
        if sqlite3.sqlite_version_info < FLOOR:
            raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old; 3.37 or later is needed")
        if self._path is not None:
            make_file(self._path)
        await self._writer.open()

    def _connect(self) -> sqlite3.Connection:
        where = ":memory:" if self._path is None else str(self._path)
        if self._path is not None:
            refuse_inherited(self._path)
        # No busy handler: the writer takes its own naps. One thread uses it, and another, which forks, may close it.
        connection = sqlite3.connect(
            where, timeout=0, isolation_level=None, cached_statements=256, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # Only the writer checkpoints: the WAL-reset bug.
            connection.execute("PRAGMA cache_size = -16000")
            connection.execute("PRAGMA temp_store = MEMORY")
            if self._path is not None:
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                connection.execute("PRAGMA schema_version").fetchone()  # Makes the log's file, unless it is there.
        except BaseException:
            connection.close()
            raise
        return connection

    async def close(self) -> None:
        # The reader first: whoever closes the last connection folds the log back, and that must be the writer.
        try:
            await self._reader.close()
        finally:
            await self._writer.close()

    def describe(self) -> str:
        where = "in memory" if self._path is None else str(self._path)
        return f"SQLite {sqlite3.sqlite_version}, {where}"

    def enlist(self, connection: Any) -> Enlisted:
        if self._path is None:
            raise ConfigError("connection: the engine's database is in memory, where no other connection reaches it")
        return enlist(connection, dialect=self.dialect, schema=self._config.schema, notify=False, now_us=self._now_us)


class Bell:
    """See `contract.Bell`: across processes, SQLite's own change counter rings for every commit."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def listen(self, heard: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody listens any more.
                loop.call_soon_threadsafe(heard, "*")

        self._writer.watch(wake)

    def ring(self, message: str) -> None:
        """Nothing to do: the commit itself is what others notice."""
