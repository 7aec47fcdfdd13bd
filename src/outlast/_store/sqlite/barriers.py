"""Parents that wait for their children."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from outlast._store.sqlite.desk import Desk, scalar


def lower(connection: sqlite3.Connection, desk: Desk, ended: Sequence[str], now_us: int) -> set[str]:
    """Tells parents that these of their children have ended. Returns queues of those that this wakes."""
    if not ended:
        return set()
    ids = msgspec.json.encode(ended).decode()
    text: str = scalar(connection, desk.text("find_lowered"), {"ids": ids})
    if text == "[]":
        return set()
    connection.execute(desk.text("lower"), {"parents": text, "now_us": now_us})
    return {queue for _, pending, queue in msgspec.json.decode(text) if pending == 0}
