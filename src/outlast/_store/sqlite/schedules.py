"""What is started again and again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from outlast._model import Glance, NewInstance, RunStand, ScheduleRow
from outlast._store.sqlite.columns import rows_text
from outlast._store.sqlite.desk import Desk
from outlast._store.sqlite.tags import tag_new
from outlast._world import instant, instant_us

_NAMES: Final = ScheduleRow.__struct_fields__
_ENABLED: Final = _NAMES.index("enabled")
_TIMES: Final = {
    "decided": "decided_us",
    "next_tick": "next_us",
    "last_run_at": "last_run_us",
    "last_error_at": "last_error_us",
    "disabled_at": "disabled_us",
    "created_at": "created_us",
    "updated_at": "updated_us",
}
_TIME_PLACES: Final = tuple(_NAMES.index(name) for name in _TIMES)
_WRITTEN_BY_THE_STORE: Final = ("created_at", "updated_at")


class Schedules:
    """See `contract.Schedules`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def glance(self) -> Glance:
        next_us, watched, queued = (await self._desk.rows("glance"))[0]
        next_tick = None if next_us is None else instant(next_us)
        return Glance(instant(self._desk.now_us()), next_tick, bool(watched), bool(queued))

    async def due(self, now: datetime, limit: int, *, watch: bool) -> list[ScheduleRow]:
        found = await self._desk.rows("due_schedules", now_us=instant_us(now), watch=watch, limit=limit)
        return [_read(row) for row in found]

    async def stands(self, ids: Sequence[str]) -> list[RunStand]:
        if not ids:
            return []
        found = await self._desk.rows("stand_runs", ids=msgspec.json.encode(list(ids)).decode())
        return [RunStand(id, status, error, us and instant(us)) for id, status, error, us in found]

    async def list(
        self, *, enabled: bool | None, program: str | None, queue: str | None, after: str, limit: int
    ) -> list[ScheduleRow]:
        found = await self._desk.rows(
            "list_schedules", enabled=enabled, program=program, queue=queue, after=after, limit=limit
        )
        return [_read(row) for row in found]

    async def get(self, name: str) -> ScheduleRow | None:
        found = await self._desk.rows("get_schedule", name=name)
        return _read(found[0]) if found else None

    async def add(self, row: ScheduleRow) -> bool:
        given = _columns(row)
        del given["revision"]
        return await self._desk.run("add_schedule", **given, now_us=self._desk.now_us()) == 1

    async def change(self, row: ScheduleRow) -> bool:
        return await self._desk.run("change_schedule", **_columns(row), now_us=self._desk.now_us()) == 1

    async def fire(self, row: ScheduleRow, runs: Sequence[NewInstance]) -> bool:
        desk, now_us = self._desk, self._desk.now_us()

        def fire(connection: sqlite3.Connection) -> bool:
            changed = connection.execute(desk.text("change_schedule"), {**_columns(row), "now_us": now_us}).rowcount
            if changed != 1:
                return False
            connection.execute(desk.text("add_full"), {"rows": rows_text(runs), "now_us": now_us})
            tag_new(connection, desk, runs)
            return True

        fired: bool = await desk.writer.write(fire)
        return fired

    async def delete(self, name: str) -> bool:
        return await self._desk.run("delete_schedule", name=name) == 1


def _columns(row: ScheduleRow) -> dict[str, Any]:
    """What the statements that write take."""
    given: dict[str, Any] = {}
    for name, value in zip(_NAMES, astuple(row), strict=True):
        if name not in _WRITTEN_BY_THE_STORE:
            given[_TIMES.get(name, name)] = instant_us(value) if isinstance(value, datetime) else value
    return given


def _read(row: Sequence[Any]) -> ScheduleRow:
    values = list(row)
    values[_ENABLED] = bool(values[_ENABLED])
    for place in _TIME_PLACES:
        if values[place] is not None:
            values[place] = instant(values[place])
    return ScheduleRow(*values)
