"""What workflows have recorded."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec
from msgspec.structs import astuple

from outlast._model import Asked, Note, Settlement
from outlast._store.sqlite.desk import Desk
from outlast._world import instant


class Journal:
    """See `contract.Journal`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def notes(self, ids: Sequence[str]) -> list[Note]:
        if not ids:
            return []
        desk = self._desk
        rows = await desk.rows("notes", ids=msgspec.json.encode(list(ids)).decode(), now_us=desk.now_us())
        return [_note(*row) for row in rows]

    async def left(self, waits: Sequence[tuple[str, str]]) -> list[tuple[str, str, float]]:
        if not waits:
            return []
        desk = self._desk
        return [*await desk.rows("left", waits=msgspec.json.encode(waits).decode(), now_us=desk.now_us())]

    async def pending(self, limit: int) -> list[Asked]:
        rows = await self._desk.rows("pending", limit=limit)
        return [
            Asked(instance, program, key, value, instant(since_us), None if until_us is None else instant(until_us))
            for instance, program, key, value, since_us, until_us in rows
        ]


def record_within(connection: sqlite3.Connection, desk: Desk, written: Sequence[Settlement], now_us: int) -> None:
    """Records what outcomes of this transaction bring."""
    entries = [(item.id, *astuple(entry)) for item in written for entry in item.entries or ()]
    if entries:
        values = {"entries": msgspec.json.encode(entries).decode(), "now_us": now_us}
        connection.execute(desk.text("record"), values)


def _note(
    instance: str,
    key: str,
    kind: str,
    status: str,
    number: int,
    attempt: int,
    value: str | None,
    error: str | None,
    duration_s: float | None,
    wake_us: int | None,
    left_s: float | None,
    recorded_us: int,
) -> Note:
    wake_at = None if wake_us is None else instant(wake_us)
    return Note(
        instance, key, kind, status, number, attempt, value, error, duration_s, wake_at, left_s, instant(recorded_us)
    )
