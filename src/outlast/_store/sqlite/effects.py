"""What outcomes change beside their own rows: signals used up, children started, parents woken. One transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from outlast._kernel.states import FINAL, WAITING
from outlast._model import Settlement
from outlast._store.children import children_rows, ready_queues
from outlast._store.sqlite.barriers import lower
from outlast._store.sqlite.columns import rows_text
from outlast._store.sqlite.desk import Desk, scalar

_CHUNK = 5_000
"""Children that one statement inserts."""


def write_effects(connection: sqlite3.Connection, desk: Desk, written: Sequence[Settlement], now_us: int) -> set[str]:
    """What follows from outcomes that this transaction has written. Returns queues that received work."""
    queues: set[str] = set()
    _consume(connection, desk, written, now_us)
    for item in written:
        if item.children is not None:
            queues |= _spawn(connection, desk, item, now_us)
    parks = [(item.id, item.awaits, item.shown or []) for item in written if item.status == WAITING and item.awaits]
    if parks:
        queues |= _recheck(connection, desk, parks, now_us)
    return queues | lower(
        connection, desk, [item.id for item in written if item.parent and item.status in FINAL], now_us
    )


def _consume(connection: sqlite3.Connection, desk: Desk, written: Sequence[Settlement], now_us: int) -> None:
    used = [(item.id, signal) for item in written for signal in item.consumed or ()]
    if used:
        text = _json(used)
        connection.execute(desk.text("keep_used"), {"used": text, "now_us": now_us})
        connection.execute(desk.text("drop_used"), {"used": text})


def _recheck(connection: sqlite3.Connection, desk: Desk, parks: list[Any], now_us: int) -> set[str]:
    """Wakes those whose signal came before they began to wait."""
    found = msgspec.json.decode(scalar(connection, desk.text("recheck"), {"parks": _json(parks)}))
    if found:
        connection.execute(desk.text("wake"), {"woken": _json([id for id, _ in found]), "now_us": now_us})
    return {queue for _, queue in found}


def _spawn(connection: sqlite3.Connection, desk: Desk, item: Settlement, now_us: int) -> set[str]:
    """Inserts an outcome's children and lets their parent wait for them. Returns queues that received work."""
    children = children_rows(item)
    landed = 0
    for start in range(0, len(children), _CHUNK):
        values = {"rows": rows_text(children[start : start + _CHUNK]), "now_us": now_us}
        landed += connection.execute(desk.text("add"), values).rowcount
    pending = landed if item.need is None else min(item.need, landed)
    connection.execute(
        desk.text("open_round"), {"id": item.id, "round": item.round, "pending": pending, "now_us": now_us}
    )
    queues = ready_queues(children)
    if pending == 0:
        queues.add(scalar(connection, desk.text("queue_of"), {"id": item.id}))
    return queues


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
