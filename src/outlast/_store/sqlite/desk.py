"""What every noun of this store shares: the writer, the reader, the statements and the clock."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from outlast._store.sqlite.writer import Writer
from outlast._store.statements import Statement
from outlast._world import World


@dataclass(slots=True)
class Desk:
    """The tools of a noun.

    Attributes:
        writer: For all that writes.
        reader: For plain reads; the writer itself when the database is in memory.
        sql: The statements, by name.
        world: The clock; SQLite has none that may be trusted across versions.
    """

    writer: Writer
    reader: Writer
    sql: Mapping[str, Statement]
    world: World

    def text(self, name: str) -> str:
        """A statement's text."""
        return self.sql[name].text

    def now_us(self, now_us: int | None = None) -> int:
        """The instant that statements take as now."""
        if now_us is not None:
            return now_us
        pinned = self.world.pinned_us()
        return self.world.wall_us() if pinned is None else pinned

    async def run(self, name: str, /, **values: Any) -> int:
        """One writing statement in a transaction. Returns the count of rows changed."""
        text = self.sql[name].text
        return cast(int, await self.writer.write(lambda connection: connection.execute(text, values).rowcount))

    async def rows(self, name: str, /, **values: Any) -> list[Any]:
        """One reading statement's rows."""
        text = self.sql[name].text
        return cast(
            "list[Any]",
            await self.reader.read(lambda connection: connection.execute(text, values).fetchall()),
        )


def scalar(connection: sqlite3.Connection, text: str, values: Mapping[str, Any]) -> Any:
    """The first column of the only row."""
    return connection.execute(text, values).fetchone()[0]
