"""The rows themselves, as callers see and steer them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from outlast._kernel.states import FINAL, RUNNING
from outlast._model import Ended, Filter, Held, NewInstance, Receipt, Row, Signal, Stopped
from outlast._store.children import span
from outlast._store.rows import is_plain
from outlast._store.sqlite.barriers import lower
from outlast._store.sqlite.columns import one_row, plain_rows_text, rows_text
from outlast._store.sqlite.desk import Desk, scalar
from outlast._store.sqlite.searches import counted, listed
from outlast._store.sqlite.signals import send_within
from outlast._store.sqlite.tags import retag_within, tag_new
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

        def add(connection: sqlite3.Connection) -> int:
            added = connection.execute(text, values).rowcount
            if not is_all_plain:
                tag_new(connection, desk, rows)
            return added

        changed = await desk.writer.write(add)
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
            ids = scalar(connection, desk.text("tree"), {"id": id, "whole": tree})
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
                ids = scalar(connection, desk.text("tree"), {"id": id, "whole": False})
                forget_all(connection, desk, ids)
                connection.execute(desk.text("delete"), {"ids": ids})
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
            tag_new(connection, desk, [row])
            return changed, send_within(connection, desk, [signal], now_us)[0]

        changed, receipt = await desk.writer.write(add_and_send)
        if changed or receipt.instance in (row.id, None):  # None: an earlier try has inserted it, and it has ended.
            return [], receipt
        return [Held(row.id, row.correlation_key or "", receipt.instance)], receipt

    async def totals(self) -> dict[str, int]:
        return dict(await self._desk.rows("totals"))

    async def list(self, wanted: Filter) -> list[Row]:
        return [read_row(row) for row in await listed(self._desk, wanted)]

    async def count(self, wanted: Filter, by: str) -> dict[str, int]:
        return dict(await counted(self._desk, wanted, by))

    async def retag(self, id: str, changes: Mapping[str, str | None]) -> dict[str, str] | None:
        desk = self._desk

        def retag(connection: sqlite3.Connection) -> str | None:
            retag_within(connection, desk, {id: changes})
            found = msgspec.json.decode(scalar(connection, desk.text("read_tags"), {"ids": _json([id])}))
            return None if not found else found[0][1] or "{}"

        text: str | None = await desk.writer.write(retag)
        return None if text is None else msgspec.json.decode(text)

    async def removable(self, ids: Sequence[str]) -> Sequence[str]:
        found: Sequence[str] = msgspec.json.decode((await self._desk.rows("removable", ids=_json(ids)))[0][0])
        return found

    async def remove(self, ids: Sequence[str]) -> int:
        desk = self._desk

        def remove(connection: sqlite3.Connection) -> int:
            text = scalar(connection, desk.text("removable"), {"ids": _json(ids)})
            forget_all(connection, desk, text)
            return connection.execute(desk.text("prune"), {"ids": text}).rowcount

        removed: int = await desk.writer.write(remove)
        return removed


def forget_all(connection: sqlite3.Connection, desk: Desk, ids: str) -> None:
    """Deletes what belongs to instances (a JSON array of ids) that this transaction deletes next."""
    for name in ("forget", "forget_journal", "forget_logs", "forget_acts", "forget_tags"):
        connection.execute(desk.text(name), {"ids": ids})


def read_row(row: Sequence[Any]) -> Row:
    """A row with its times as instants."""
    values = list(row)
    for place in _TIME_PLACES:
        if values[place] is not None:
            values[place] = instant(values[place])
    return Row(*values)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
