"""Alarms of objects."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from msgspec.structs import astuple

from outlast._model import AlarmRow, AlarmsDue, ObjectCommit
from outlast._store import parts
from outlast._store.sqlite.columns import objects_text
from outlast._store.sqlite.desk import Desk, scalar

_PLACE: Final = attrgetter("due_us", "type", "id", "name")


class Alarms:
    """See `contract.Alarms`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def due(self, node: str, types: Sequence[str], limit: int) -> AlarmsDue:
        desk, now_us = self._desk, self._desk.now_us()

        def look(connection: sqlite3.Connection) -> AlarmsDue:
            found: list[AlarmRow] = []
            next_us: list[int] = []
            for type in types:
                values = {"node": node, "type": type, "limit": limit, "now_us": now_us}
                found += [AlarmRow(*row) for row in connection.execute(desk.text("due_alarms"), values)]
                us = scalar(connection, desk.text("next_alarm"), {"type": type, "now_us": now_us})
                next_us += [] if us is None else [us]
            found.sort(key=_PLACE)
            return AlarmsDue(now_us, found[:limit], (min(next_us) - now_us) / 1_000_000 if next_us else None)

        due: AlarmsDue = await desk.reader.read(look)
        return due

    async def set(self, alarms: Sequence[AlarmRow]) -> None:
        if alarms:
            await self._desk.run("set_alarms", alarms=_rows(alarms), now_us=self._desk.now_us())

    async def cancel(self, type: str, id: str, name: str | None) -> int:
        if name is None:
            return await self._desk.run("clear_alarms", objects=objects_text([(type, id)]))
        return await self._desk.run("cancel_alarms", alarms=objects_text([(type, id, name)]))

    async def list(self, type: str, id: str | None, limit: int) -> list[AlarmRow]:
        if id is None:
            found = await self._desk.rows("type_alarms", type=type, limit=limit)
        else:
            found = await self._desk.rows("object_alarms", type=type, id=id, limit=limit)
        return [AlarmRow(*row) for row in found]


def move_within(connection: sqlite3.Connection, desk: Desk, batch: Sequence[ObjectCommit], now_us: int) -> None:
    """Writes what commits say of alarms: of those that rang first, of those that are set last."""
    if rows := parts.finished(batch):
        connection.execute(desk.text("finish_alarms"), {"finished": objects_text(rows)})
    if rows := parts.moved(batch):
        connection.execute(desk.text("move_alarms"), {"moved": objects_text(rows), "now_us": now_us})
    if rows := parts.cleared(batch):
        connection.execute(desk.text("clear_alarms"), {"objects": objects_text(rows)})
    if rows := parts.cancelled(batch):
        connection.execute(desk.text("cancel_alarms"), {"alarms": objects_text(rows)})
    if alarms := parts.set_by(batch):
        connection.execute(desk.text("set_alarms"), {"alarms": _rows(alarms), "now_us": now_us})


def _rows(alarms: Sequence[AlarmRow]) -> str:
    """Alarms as `set_alarms` takes them."""
    return objects_text([astuple(row) for row in parts.last_of_each(alarms)])
