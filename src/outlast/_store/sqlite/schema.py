"""The tables, and how they come to be."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Final

from outlast._store.schema_files import migrations, refuse_newer, split
from outlast._store.sqlite.writer import Writer

_TABLES: Final = (
    "instances",
    "signals",
    "journal",
    "logs",
    "tags",
    "acts",
    "gates",
    "rates",
    "buckets",
    "nodes",
    "queues",
    "schedules",
    "objects",
    "alarms",
    "calls",
    "migrations",
)


class Schema:
    """See `contract.Schema`. Each migration is one transaction, recorded in the same.

    Args:
        writer: Where everything runs.
        schema: What the tables' names begin with.
        begin: Makes sure that the writer is open: tables are looked at and made before the store is.
    """

    def __init__(self, writer: Writer, schema: str, *, begin: Callable[[], Awaitable[None]]) -> None:
        self._writer = writer
        self._schema = schema
        self._begin = begin
        self._migrations = migrations("outlast._store.sqlite.migrations", schema)

    @property
    def latest(self) -> int:
        return max(self._migrations)

    async def version(self) -> int:
        await self._begin()
        found: int = await self._writer.read(self._version)
        return found

    def _version(self, connection: sqlite3.Connection) -> int:
        table = f"{self._schema}_migrations"
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
        if known.fetchone() is None:
            return 0
        return int(connection.execute(f"SELECT COALESCE(max(version), 0) FROM {table}").fetchone()[0])

    async def migrate(self) -> list[int]:
        if await self.version() == self.latest:
            return []
        applied: list[int] = await self._writer.write(self._apply)
        return applied

    def _apply(self, connection: sqlite3.Connection) -> list[int]:
        now = self._version(connection)
        refuse_newer(now, self.latest)
        for statement in self._statements(now):
            connection.execute(statement)
        return [number for number in sorted(self._migrations) if number > now]

    def _statements(self, since: int) -> list[str]:
        table = f"{self._schema}_migrations"
        found = [f"CREATE TABLE IF NOT EXISTS {table} (version INTEGER NOT NULL PRIMARY KEY) STRICT"]
        for number, text in sorted(self._migrations.items()):
            if number > since:
                found += [*split(text), f"INSERT INTO {table} (version) VALUES ({number})"]
        return found

    async def drop(self) -> None:
        await self._begin()
        await self._writer.write(self._drop)

    def _drop(self, connection: sqlite3.Connection) -> None:
        for table in _TABLES:
            connection.execute(f"DROP TABLE IF EXISTS {self._schema}_{table}")

    def script(self, since: int = 0) -> str:
        return "\n\n".join(f"{statement};" for statement in ("BEGIN", *self._statements(since), "COMMIT")) + "\n"
