"""What is started again and again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec.structs import astuple

from outlast._model import Glance, NewInstance, RunStand, ScheduleRow
from outlast._store.postgres.columns import columns_of, is_id
from outlast._store.postgres.desk import Desk, Transaction
from outlast._store.postgres.tags import tag_new

_COLUMNS: Final = tuple(
    {"decided": "decided_at", "next_tick": "next_at"}.get(name, name) for name in ScheduleRow.__struct_fields__
)
_WRITTEN_BY_THE_STORE: Final = ("created_at", "updated_at")


class Schedules:
    """See `contract.Schedules`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def glance(self) -> Glance:
        return Glance(*(await self._desk.rows("glance", now=self._desk.now()))[0])

    async def due(self, now: datetime, limit: int, *, watch: bool) -> list[ScheduleRow]:
        found = await self._desk.rows("due_schedules", now=now, watch=watch, list_max=limit)
        return [ScheduleRow(*row) for row in found]

    async def stands(self, ids: Sequence[str]) -> list[RunStand]:
        known = [id for id in ids if is_id(id)]
        return [RunStand(*row) for row in await self._desk.rows("stand_runs", ids=known)] if known else []

    async def list(
        self, *, enabled: bool | None, program: str | None, queue: str | None, after: str, limit: int
    ) -> list[ScheduleRow]:
        found = await self._desk.rows(
            "list_schedules", enabled=enabled, program=program, queue=queue, after=after, list_max=limit
        )
        return [ScheduleRow(*row) for row in found]

    async def get(self, name: str) -> ScheduleRow | None:
        found = await self._desk.rows("get_schedule", name=name)
        return ScheduleRow(*found[0]) if found else None

    async def add(self, row: ScheduleRow) -> bool:
        given = _columns(row)
        del given["revision"]
        return await self._desk.run("add_schedule", **given, now=self._desk.now()) == 1

    async def change(self, row: ScheduleRow) -> bool:
        return await self._desk.run("change_schedule", **_columns(row), now=self._desk.now()) == 1

    async def fire(self, row: ScheduleRow, runs: Sequence[NewInstance]) -> bool:
        async def fire(transaction: Transaction) -> bool:
            # The schedule first: of two that fire the same ticks one waits here, and finds that they are decided.
            if await transaction.run("change_schedule", **_columns(row), now=transaction.now) != 1:
                return False
            await transaction.run("add_full", **columns_of(runs), now=transaction.now)
            await tag_new(transaction, runs)
            return True

        return await self._desk.transact(fire)

    async def delete(self, name: str) -> bool:
        return await self._desk.run("delete_schedule", name=name) == 1


def _columns(row: ScheduleRow) -> dict[str, Any]:
    """What the statements that write take."""
    values = zip(_COLUMNS, astuple(row), strict=True)
    return {name: value for name, value in values if name not in _WRITTEN_BY_THE_STORE}
