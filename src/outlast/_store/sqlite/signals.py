"""Durable signals."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import astuple

from outlast._model import Letter, Receipt, Signal
from outlast._store.post import Target, deliverable, receipts, woken
from outlast._store.sqlite.desk import Desk, scalar
from outlast._world import instant


class Signals:
    """See `contract.Signals`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def send(self, batch: Sequence[Signal]) -> list[Receipt]:
        if not batch:
            return []
        desk, now_us = self._desk, self._desk.now_us()
        found: list[Receipt] = await desk.writer.write(lambda connection: send_within(connection, desk, batch, now_us))
        return found

    async def inbox(self, ids: Sequence[str]) -> list[Letter]:
        return [_letter(row) for row in await self._desk.rows("inbox", ids=_json(ids))] if ids else []

    async def list(self, instance: str) -> list[Letter]:
        return [_letter(row) for row in await self._desk.rows("signals", id=instance)]


def send_within(connection: sqlite3.Connection, desk: Desk, batch: Sequence[Signal], now_us: int) -> list[Receipt]:
    """Delivers signals within a transaction."""
    rows = msgspec.json.decode(
        scalar(connection, desk.text("find_targets"), {"batch": _json([astuple(signal) for signal in batch])})
    )
    targets = {n: Target(*target) for n, *target in rows}
    places = deliverable(batch, targets)
    stored: set[str] = set()
    wakers: dict[str, str] = {}
    if places:
        letters = [(batch[n].id, targets[n].id, batch[n].name, batch[n].payload, batch[n].dedup_key) for n in places]
        stored = _store(connection, desk, letters, now_us)
        wakers = woken(batch, targets, stored)
        if stored:
            met = {letter[1] for letter in letters if letter[0] in stored}
            connection.execute(desk.text("note_mail"), {"ids": _json(list(met))})
        if wakers:
            connection.execute(desk.text("wake"), {"woken": _json(list(wakers)), "now_us": now_us})
    unmet = [signal.key for n, signal in enumerate(batch) if signal.key is not None and n not in targets]
    known = msgspec.json.decode(scalar(connection, desk.text("known_keys"), {"keys": _json(unmet)})) if unmet else ()
    return receipts(batch, targets, stored, wakers, known)


def _store(connection: sqlite3.Connection, desk: Desk, letters: list[Any], now_us: int) -> set[str]:
    """Inserts letters. Returns the ids of those that are new."""
    values = {"letters": _json(letters), "now_us": now_us}
    before = set(msgspec.json.decode(scalar(connection, desk.text("find_stored"), values)))
    changed = connection.execute(desk.text("deliver"), values).rowcount
    if changed == len(letters):
        return {letter[0] for letter in letters}
    return set(msgspec.json.decode(scalar(connection, desk.text("find_stored"), values))) - before


def _letter(row: Sequence[Any]) -> Letter:
    id, instance, name, payload, dedup_key, sent_us, consumed_us = row
    consumed_at = None if consumed_us is None else instant(consumed_us)
    return Letter(id, instance, name, payload, dedup_key, instant(sent_us), consumed_at)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
