"""Alarms of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import astuple

from outlast._model import AlarmRow, AlarmsDue, ObjectCommit
from outlast._store import parts
from outlast._store.postgres.desk import Desk, Transaction
from outlast._world import instant

_COLUMNS: Final = (
    "types",
    "ids",
    "names",
    "revisions",
    "dues_at",
    "delays_s",
    "attempts",
    "every_s",
    "crons",
    "zones",
    "errors",
    "failed_at",
)
"""The fields of an alarm, in their order, by the names of the arrays that `set_alarms` takes."""
_MOVED: Final = ("types", "ids", "names", "revisions", "dues_at", "delays_s", "attempts", "errors", "failed")
"""The same of `move_alarms`."""


class Alarms:
    """See `contract.Alarms`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def due(self, node: str, types: Sequence[str], limit: int) -> AlarmsDue:
        desk = self._desk
        rows = await desk.rows("due_alarms", node=node, types=list(types), list_max=limit, now=desk.now())
        now_us, next_s = rows[0][:2]
        return AlarmsDue(now_us, [AlarmRow(*row[2:]) for row in rows if row[2] is not None], next_s)

    async def set(self, alarms: Sequence[AlarmRow]) -> None:
        if alarms:
            await self._desk.run("set_alarms", **_columns(parts.last_of_each(alarms)), now=self._desk.now())

    async def cancel(self, type: str, id: str, name: str | None) -> int:
        if name is None:
            return await self._desk.run("clear_alarms", types=[type], ids=[id])
        return await self._desk.run("cancel_alarms", types=[type], ids=[id], names=[name])

    async def list(self, type: str, id: str | None, limit: int) -> list[AlarmRow]:
        if id is None:
            found = await self._desk.rows("type_alarms", type=type, list_max=limit)
        else:
            found = await self._desk.rows("object_alarms", type=type, id=id, list_max=limit)
        return [AlarmRow(*row) for row in found]


async def move_within(transaction: Transaction, batch: Sequence[ObjectCommit]) -> None:
    """Writes what commits say of alarms: of those that rang first, of those that are set last."""
    if rows := parts.finished(batch):
        await transaction.run("finish_alarms", **_arrays(_MOVED[:4], rows))
    if rows := parts.moved(batch):
        columns = _arrays(_MOVED, rows)
        columns["dues_at"] = [us if us is None else instant(us) for us in columns["dues_at"]]
        await transaction.run("move_alarms", **columns, now=transaction.now)
    if rows := parts.cleared(batch):
        await transaction.run("clear_alarms", **_arrays(_MOVED[:2], rows))
    if rows := parts.cancelled(batch):
        await transaction.run("cancel_alarms", **_arrays(_MOVED[:3], rows))
    if alarms := parts.set_by(batch):
        await transaction.run("set_alarms", **_columns(alarms), now=transaction.now)


def _arrays(names: Sequence[str], rows: Sequence[parts.Row]) -> dict[str, Any]:
    return dict(zip(names, zip(*rows, strict=True), strict=True))


def _columns(alarms: Sequence[AlarmRow]) -> dict[str, Any]:
    """Alarms as `set_alarms` takes them."""
    columns = _arrays(_COLUMNS, [astuple(row) for row in alarms])
    for name in ("dues_at", "failed_at"):
        columns[name] = [us if us is None else instant(us) for us in columns[name]]
    return columns
