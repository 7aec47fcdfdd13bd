"""What outcomes change beside their own rows: signals used up, children started, parents woken. One transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from outlast._kernel.states import FINAL, WAITING
from outlast._model import NewInstance, Settlement
from outlast._store.children import children_rows, chunks, pending, ready_queues, started_rows
from outlast._store.post import USED_KEPT_S
from outlast._store.sqlite.barriers import lower
from outlast._store.sqlite.columns import rows_text
from outlast._store.sqlite.desk import Desk, scalar
from outlast._store.sqlite.journal import record_within
from outlast._store.sqlite.tags import retag_by, tag_new


def write_effects(connection: sqlite3.Connection, desk: Desk, written: Sequence[Settlement], now_us: int) -> set[str]:
    """What follows from outcomes that this transaction has written. Returns queues that received work."""
    _consume(connection, desk, written, now_us)
    record_within(connection, desk, written, now_us)
    retag_by(connection, desk, written)
    queues = _spawn(connection, desk, [item for item in written if item.children is not None], now_us)
    queues |= _start(connection, desk, started_rows(written), now_us)
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
        old_us = now_us - int(USED_KEPT_S * 1_000_000)
        connection.execute(desk.text("drop_used"), {"used": text, "old_us": old_us})


def _recheck(connection: sqlite3.Connection, desk: Desk, parks: list[Any], now_us: int) -> set[str]:
    """Wakes those whose signal came before they began to wait."""
    found = msgspec.json.decode(scalar(connection, desk.text("recheck"), {"parks": _json(parks)}))
    if found:
        connection.execute(desk.text("wake"), {"woken": _json([id for id, _ in found]), "now_us": now_us})
    return {queue for _, queue in found}


def _spawn(connection: sqlite3.Connection, desk: Desk, parents: Sequence[Settlement], now_us: int) -> set[str]:
    """Inserts the children of outcomes and lets their parents wait for them. Returns queues that received work."""
    if not parents:
        return set()
    rows, added = children_rows(parents), 0
    for chunk in chunks(rows):
        added += connection.execute(desk.text("add_full"), {"rows": rows_text(chunk), "now_us": now_us}).rowcount
    tag_new(connection, desk, rows)
    landed = {item.id: len(item.children or ()) for item in parents}
    if added < len(rows):
        rounds = _json([(item.id, item.round) for item in parents])
        landed = dict(msgspec.json.decode(scalar(connection, desk.text("landed"), {"rounds": rounds})))
    waits = [(item.id, item.round, pending(item, landed[item.id])) for item in parents]
    connection.execute(desk.text("open_round"), {"parents": _json(waits), "now_us": now_us})
    opened = _json([id for id, _, count in waits if count == 0])
    return ready_queues(rows) | set(msgspec.json.decode(scalar(connection, desk.text("queues_of"), {"ids": opened})))


def _start(connection: sqlite3.Connection, desk: Desk, rows: list[NewInstance], now_us: int) -> set[str]:
    """Inserts children for which no round waits. Returns queues that received work."""
    for chunk in chunks(rows):
        connection.execute(desk.text("add_full"), {"rows": rows_text(chunk), "now_us": now_us})
    tag_new(connection, desk, rows)
    return ready_queues(rows)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
