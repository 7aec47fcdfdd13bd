"""What steps have said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import astuple

from outlast._model import Line
from outlast._store.postgres.columns import is_id
from outlast._store.postgres.desk import Desk, Transaction
from outlast._world import instant

_COLUMNS: Final = ("instances", "numbers", "ats", "levels", "messages", "sources", "steps", "attempts", "fields")
"""The fields of a line, in their order, by the names of the arrays that `write_logs` takes."""


class Logs:
    """See `contract.Logs`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def write(self, batch: Sequence[Line], lines_max: int) -> None:
        if not batch:
            return
        columns = dict(zip(_COLUMNS, zip(*map(astuple, batch), strict=True), strict=True))
        columns["ats"] = tuple(map(instant, columns["ats"]))
        ids = sorted(set(columns["instances"]))

        async def write(transaction: Transaction) -> None:
            await transaction.run("write_logs", **columns)
            await transaction.run("trim_logs", ids=ids, lines_max=lines_max)

        await self._desk.transact(write)

    async def read(self, instance: str, after: int, limit: int, level: int, step: str | None) -> list[Line]:
        if not is_id(instance):
            return []
        desk = self._desk
        rows = await desk.rows("read_logs", instance=instance, after=after, list_max=limit, level=level, step=step)
        return [Line(*row) for row in rows]
