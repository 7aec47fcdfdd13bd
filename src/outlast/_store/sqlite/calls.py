"""Calls that travel through the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from outlast._model import Answer, NewCall, Posted, WaitingCall
from outlast._store import parts
from outlast._store.sqlite.columns import objects_text
from outlast._store.sqlite.desk import Desk

_LATE_US: Final = int(parts.LATE_KEPT_S * 1_000_000)


class Calls:
    """See `contract.Calls`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def post(self, calls: Sequence[NewCall]) -> list[Posted]:
        if not calls:
            return []
        desk, now_us = self._desk, self._desk.now_us()
        text, is_any_keyed = _rows(calls), any(call.key is not None for call in calls)

        def post(connection: sqlite3.Connection) -> list[Posted]:
            values = {"calls": text, "late_us": _LATE_US, "now_us": now_us}
            if connection.execute(desk.text("post"), values).rowcount < len(calls) and is_any_keyed:
                connection.execute(desk.text("revive_calls"), values)
            return [Posted(*row) for row in connection.execute(desk.text("posted"), {"calls": text})]

        posted: list[Posted] = await desk.writer.write(post)
        return posted

    async def waiting(self, node: str, types: Sequence[str], limit: int) -> list[WaitingCall]:
        desk, now_us = self._desk, self._desk.now_us()

        def look(connection: sqlite3.Connection) -> list[Any]:
            found: list[Any] = []
            for type in types:
                values = {"node": node, "type": type, "limit": limit, "now_us": now_us}
                found += connection.execute(desk.text("waiting_calls"), values)
            return sorted(found)[:limit]  # By number, of which there are no two.

        rows = await desk.reader.read(look)
        return [WaitingCall._make((*row[1:-1], bool(row[-1]))) for row in rows]

    async def answers(self, calls: Sequence[str]) -> list[Answer]:
        return [Answer(*row) for row in await self._desk.rows("answers", calls=_ids(calls))] if calls else []

    async def drop(self, calls: Sequence[str]) -> None:
        if calls:
            await self._desk.run("drop_calls", calls=_ids(calls))

    async def prune(self, limit: int) -> int:
        return await self._desk.run("prune_calls", limit=limit, now_us=self._desk.now_us())


def post_within(connection: sqlite3.Connection, desk: Desk, calls: Sequence[NewCall], now_us: int) -> None:
    """Stores calls within a transaction."""
    connection.execute(desk.text("post"), {"calls": _rows(calls), "late_us": _LATE_US, "now_us": now_us})


def answer_within(connection: sqlite3.Connection, desk: Desk, answers: Sequence[parts.Row], now_us: int) -> None:
    """Stores answers (call, type, id, result, error) within a transaction."""
    text = objects_text(answers)
    connection.execute(desk.text("drop_answered"), {"answers": text})
    connection.execute(desk.text("answer_calls"), {"answers": text, "kept_s": parts.ANSWER_KEPT_S, "now_us": now_us})


def _rows(calls: Sequence[NewCall]) -> str:
    """Calls as `post` takes them."""
    return objects_text([astuple(call) for call in calls])


def _ids(calls: Sequence[str]) -> str:
    return msgspec.json.encode(list(calls)).decode()
