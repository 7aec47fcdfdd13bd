"""The rows themselves, as callers see and steer them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import astuple

from outlast._model import Ended, Filter, Held, NewInstance, Row
from outlast._store.postgres.desk import Desk
from outlast._store.postgres.faults import is_key_taken
from outlast._world import instant
from outlast.errors import StoreError

_LEAST: Final = "00000000-0000-0000-0000-000000000000"
_GREATEST: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Instances:
    """See `contract.Instances`. What is not an id at all is the id of nothing."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def add(self, rows: Sequence[NewInstance]) -> list[Held]:
        desk = self._desk
        if len(rows) == 1:
            changed = await desk.run("add_one", shielded=False, **one_row(rows[0]), now=desk.now())
        elif rows:
            changed = await desk.run("add", shielded=False, **columns_of(rows), now=desk.now())
        else:
            changed = 0
        return [] if changed == len(rows) else await self._held(rows)

    async def _held(self, rows: Sequence[NewInstance]) -> list[Held]:
        """Rows that were left out. A key that was free again by the time we looked is tried once more."""
        ids, keys = [row.id for row in rows], [row.correlation_key for row in rows]
        found = [Held(*row) for row in await self._desk.rows("holders", ids=ids, correlation_keys=keys)]
        vanished = {held.id for held in found if held.holder is None}
        again = [row for row in rows if row.id in vanished]
        return [held for held in found if held.id not in vanished] + (await self.add(again) if again else [])

    async def get(self, id: str) -> Row | None:
        found = await self._desk.rows("get", id=id) if is_id(id) else []
        return Row(*found[0]) if found else None

    async def find(self, key: str) -> Row | None:
        found = await self._desk.rows("find_by_key", key=key) or await self._desk.rows("find_last_by_key", key=key)
        return await self.get(found[0][0]) if found else None

    async def ended(self, ids: Sequence[str]) -> list[Ended]:
        known = tuple(id for id in ids if is_id(id))
        return [Ended(*row) for row in await self._desk.rows("ended", ids=known)] if known else []

    async def cancel(self, id: str, error: str, retention_s: float | None) -> tuple[str, str | None] | None:
        if not is_id(id):
            return None
        desk = self._desk
        found = await desk.change("cancel", id=id, error=error, retention_s=retention_s, now=desk.now())
        return (found[0][0], found[0][1]) if found else None

    async def retry(self, id: str) -> tuple[str, str] | Held | None:
        if not is_id(id):
            return None
        while True:
            try:
                found = await self._desk.change("retry", id=id, now=self._desk.now())
            except StoreError as error:
                if error.__cause__ is None or not is_key_taken(error.__cause__):
                    raise
            else:
                return (found[0][0], found[0][1]) if found else None
            if (held := await self._holder(id)) is not None:
                return held
            # Whoever held the key has let go of it meanwhile.

    async def _holder(self, id: str) -> Held | None:
        stood = await self._desk.rows("stand", id=id)
        if not stood or stood[0][3] is None:
            return None
        key: str = stood[0][3]
        found = await self._desk.rows("find_by_key", key=key)
        return Held(id, key, found[0][0]) if found and found[0][0] != id else None

    async def delete(self, id: str) -> str | None:
        found = await self._desk.change("delete", id=id) if is_id(id) else []
        return str(found[0][0]) if found else None

    async def totals(self) -> dict[str, int]:
        return dict(await self._desk.rows("totals"))

    async def list(self, wanted: Filter) -> list[Row]:
        prefix = wanted.id_prefix or ""
        least, greatest = prefix + _LEAST[len(prefix) :], prefix + _GREATEST[len(prefix) :]
        before = wanted.before
        if not is_id(least) or not is_id(greatest) or (before is not None and not is_id(before)):
            return []
        found = await self._desk.rows(
            "list",
            statuses=wanted.status,
            program=wanted.program,
            queue=wanted.queue,
            key=wanted.correlation_key,
            created_after=None if wanted.created_after_us is None else instant(wanted.created_after_us),
            created_before=None if wanted.created_before_us is None else instant(wanted.created_before_us),
            least=least,
            greatest=greatest,
            before=before,
            list_max=wanted.limit,
        )
        return [Row(*row) for row in found]


def is_id(text: str) -> bool:
    """Whether this is an id as we write them; Postgres refuses others, and reads some that we never wrote."""
    return _ID.fullmatch(text) is not None


def columns_of(rows: Sequence[NewInstance]) -> dict[str, Any]:
    """Rows as the `add` statement takes them.

    Sorted by key: two batches with the same keys in opposite orders would wait for each other.
    """
    if any(row.correlation_key is not None for row in rows):
        rows = sorted(rows, key=lambda row: row.correlation_key or "")
    columns = list(zip(*map(astuple, rows), strict=True))[:12]
    ids, programs, versions, queues, priorities, steps, states, keys, scopes, delays_s, dues_us, timeouts_s = columns
    return {
        "ids": ids,
        "programs": programs,
        "versions": versions,
        "queues": queues,
        "priorities": priorities,
        "steps": steps,
        "states": states,
        "correlation_keys": keys,
        "correlation_scopes": scopes,
        "delays_s": delays_s,
        "due_ats": [None if us is None else instant(us) for us in dues_us],
        "timeouts_s": timeouts_s,
    }


def one_row(row: NewInstance) -> dict[str, Any]:
    """A row as the `add_one` statement takes it."""
    return {
        "id": row.id,
        "program": row.program,
        "version": row.version,
        "queue": row.queue,
        "priority": row.priority,
        "step": row.step,
        "state": row.state,
        "correlation_key": row.correlation_key,
        "correlation_scope": row.correlation_scope,
        "delay_s": row.delay_s,
        "due_at": None if row.due_us is None else instant(row.due_us),
        "timeout_s": row.timeout_s,
    }
