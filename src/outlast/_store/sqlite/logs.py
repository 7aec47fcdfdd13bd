"""What steps have said."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from outlast._model import Line
from outlast._store.sqlite.desk import Desk


class Logs:
    """See `contract.Logs`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def write(self, batch: Sequence[Line], lines_max: int) -> None:
        desk = self._desk
        lines = {"lines": msgspec.json.encode(batch).decode()}
        ids = sorted({line.instance for line in batch})
        kept = {"ids": msgspec.json.encode(ids).decode(), "lines_max": lines_max}

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(desk.text("write_logs"), lines)
            connection.execute(desk.text("trim_logs"), kept)

        if batch:
            await desk.writer.write(write)

    async def read(self, instance: str, after: int, limit: int, level: int, step: str | None) -> list[Line]:
        desk = self._desk
        rows = await desk.rows("read_logs", instance=instance, after=after, limit=limit, level=level, step=step)
        return [Line(*row) for row in rows]
