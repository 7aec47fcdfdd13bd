"""The rows themselves, as callers see and steer them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from outlast._kernel.states import FINAL, RUNNING
from outlast._model import Ended, Filter, Held, NewInstance, Receipt, Row, Signal, Stopped
from outlast._store.children import span
from outlast._store.rows import is_plain
from outlast._store.sqlite.barriers import lower
from outlast._store.sqlite.columns import one_row, plain_rows_text, rows_text
from outlast._store.sqlite.desk import Desk, scalar
from outlast._store.sqlite.signals import send_within
from outlast._world import instant

_TIMES = ("created_at", "due_at", "claimed_at", "finished_at", "expires_at", "wake_at", "paused_at")
_TIME_PLACES = tuple(Row._fields.index(name) for name in _TIMES)


class Instances:
    """See `contract.Instances`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def add(self, rows: Sequence[NewInstance]) -> list[Held]:
        desk = self._desk
        is_all_plain = all(map(is_plain, rows))
        if len(rows) == 1 and is_all_plain:
            text, values = desk.text("add_one"), one_row(rows[0], desk.now_us())
        else:
            made = plain_rows_text(rows) if is_all_plain else rows_text(rows)
            text, values = desk.text("add" if is_all_plain else "add_full"), {"rows": made, "now_us": desk.now_us()}
        changed = await desk.writer.write(lambda connection: connection.execute(text, values).rowcount)
        return [] if changed == len(rows) else await self._held(rows)

    async def _held(self, rows: Sequence[NewInstance]) -> list[Held]:
        """Rows that were left out. A key that was free again by the time we looked is tried once more."""
        found = [Held(*row) for row in await self._desk.rows("holders", rows=rows_text(rows))]
        vanished = {held.id for held in found if held.holder is None}
        again = [row for row in rows if row.id in vanished]
        return [held for held in found if held.id not in vanished] + (await self.add(again) if again else [])

    async def get(self, id: str) -> Row | None:
        found = await self._desk.rows("get", id=id)
        return read_row(found[0]) if found else None

    async def find(self, key: str) -> Row | None:
        found = await self._desk.rows("find_by_key", key=key) or await self._desk.rows("find_last_by_key", key=key)
        return await self.get(found[0][0]) if found else None

    async def ended(self, ids: Sequence[str]) -> list[Ended]:
        return [Ended(*row) for row in await self._desk.rows("ended", ids=_json(ids))]

    async def cancel(self, id: str, error: str, retention_s: float | None, *, tree: bool = False) -> Stopped | None:
        desk, now_us = self._desk, self._desk.now_us()

        def cancel(connection: sqlite3.Connection) -> Stopped | None:
            row = connection.execute(desk.text("stand"), {"id": id}).fetchone()
            if row is None:
                return None
            ids = scalar(connection, desk.text("tree"), {"id": id}) if tree else _json([id])
            text = scalar(connection, desk.text("find_live"), {"ids": ids})
            ended = msgspec.json.decode(text)
            values = {"ended": text, "error": error, "retention_s": retention_s, "now_us": now_us}
            connection.execute(desk.text("cancel"), values)
            queues = lower(connection, desk, [each for each, _ in ended], now_us)
            nodes = sorted({node for _, node in ended if node is not None})
            return Stopped(row[0], nodes, [each for each, _ in ended], sorted(queues))

        found: Stopped | None = await desk.writer.write(cancel)
        return found

    async def delete(self, id: str) -> str | None:
        desk, now_us = self._desk, self._desk.now_us()

        def delete(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(desk.text("stand"), {"id": id}).fetchone()
            if row is not None and row[0] != RUNNING:
                if row[0] not in FINAL:
                    lower(connection, desk, [id], now_us)
                connection.execute(desk.text("forget"), {"ids": _json([id])})
                connection.execute(desk.text("forget_journal"), {"ids": _json([id])})
                connection.execute(desk.text("forget_logs"), {"ids": _json([id])})
                connection.execute(desk.text("forget_acts"), {"ids": _json([id])})
                connection.execute(desk.text("delete"), {"id": id})
            return None if row is None else str(row[0])

        found: str | None = await desk.writer.write(delete)
        return found

    async def children(self, parent: str, *, round: int | None, after: tuple[int, int] | None, limit: int) -> list[Row]:
        found = await self._desk.rows("children", parent=parent, **span(round, after), limit=limit)
        return [read_row(row) for row in found]

    async def add_and_send(self, row: NewInstance, signal: Signal) -> tuple[list[Held], Receipt]:
        desk, now_us = self._desk, self._desk.now_us()

        def add_and_send(connection: sqlite3.Connection) -> tuple[int, Receipt]:
            values = {"rows": rows_text([row]), "now_us": now_us}
            changed = connection.execute(desk.text("add_full"), values).rowcount
            return changed, send_within(connection, desk, [signal], now_us)[0]

        changed, receipt = await desk.writer.write(add_and_send)
        if changed or receipt.instance in (row.id, None):  # None: an earlier try has inserted it, and it has ended.
            return [], receipt
        return [Held(row.id, row.correlation_key or "", receipt.instance)], receipt

    async def totals(self) -> dict[str, int]:
        return dict(await self._desk.rows("totals"))

    async def list(self, wanted: Filter) -> list[Row]:
        found = await self._desk.rows(
            "list",
            status=None if wanted.status is None else _json(wanted.status),
            program=wanted.program,
            queue=wanted.queue,
            key=wanted.correlation_key,
            created_after_us=wanted.created_after_us,
            created_before_us=wanted.created_before_us,
            id_prefix=wanted.id_prefix,
            paused=wanted.paused,
            before=wanted.before,
            limit=wanted.limit,
        )
        return [read_row(row) for row in found]


def read_row(row: Sequence[Any]) -> Row:
    """A row with its times as instants."""
    values = list(row)
    for place in _TIME_PLACES:
        if values[place] is not None:
            values[place] = instant(values[place])
    return Row(*values)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
