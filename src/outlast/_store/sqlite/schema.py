"""The tables, and how they come to be."""

from __future__ import annotations

import sqlite3

from outlast._store.schema_files import migrations, refuse_newer, split
from outlast._store.sqlite.writer import Writer


class Schema:
    """See `contract.Schema`. Each migration is one transaction, recorded in the same."""

    def __init__(self, writer: Writer, schema: str) -> None:
        self._writer = writer
        self._schema = schema
        self._migrations = migrations("outlast._store.sqlite.migrations", schema)

    @property
    def latest(self) -> int:
        return max(self._migrations)

    async def version(self) -> int:
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
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._schema}_migrations (version INTEGER NOT NULL PRIMARY KEY) STRICT"
        )
        todo = [number for number in sorted(self._migrations) if number > now]
        for number in todo:
            for statement in split(self._migrations[number]):
                connection.execute(statement)
            connection.execute(f"INSERT INTO {self._schema}_migrations (version) VALUES (?)", (number,))
        return todo

    def script(self, since: int = 0) -> str:
        parts = [text for number, text in sorted(self._migrations.items()) if number > since]
        return "\n".join(parts)
