"""What workflows have recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import astuple

from outlast._model import Asked, Note, Settlement
from outlast._store.postgres.columns import is_id, named_columns
from outlast._store.postgres.desk import Desk, Transaction

_COLUMNS: Final = (
    "instances",
    "keys",
    "kinds",
    "entry_statuses",
    "numbers",
    "entry_attempts",
    "values",
    "entry_errors",
    "durations_s",
    "wakes_s",
)
"""The instance and the fields of an entry, in their order, by the names of the arrays that `record` takes."""


class Journal:
    """See `contract.Journal`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def notes(self, ids: Sequence[str]) -> list[Note]:
        known = [id for id in ids if is_id(id)]
        if not known:
            return []
        return [Note(*row) for row in await self._desk.rows("notes", ids=known, now=self._desk.now())]

    async def left(self, waits: Sequence[tuple[str, str]]) -> list[tuple[str, str, float]]:
        known = [wait for wait in waits if is_id(wait[0])]
        if not known:
            return []
        instances, keys = zip(*known, strict=True)
        rows = await self._desk.rows("left", instances=instances, keys=keys, now=self._desk.now())
        return [(instance, key, seconds) for instance, key, seconds in rows]

    async def pending(self, limit: int) -> list[Asked]:
        return [Asked(*row) for row in await self._desk.rows("pending", pending_max=limit)]


def entry_columns(written: Sequence[Settlement]) -> dict[str, Any]:
    """What outcomes bring to be recorded, as `record` takes it; all null when it is nothing."""
    entries = sorted((item.id, *astuple(entry)) for item in written for entry in item.entries or ())
    return named_columns(_COLUMNS, entries) if entries else dict.fromkeys(_COLUMNS)


async def record_within(transaction: Transaction, written: Sequence[Settlement]) -> None:
    """Records what outcomes of this transaction bring."""
    if any(item.entries for item in written):
        await transaction.run("record", **entry_columns(written), now=transaction.now)
