"""Parents that wait for their children."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from outlast._store.post import news_of
from outlast._store.sqlite.desk import Desk, scalar
from outlast._store.sqlite.signals import send_within


def lower(connection: sqlite3.Connection, desk: Desk, ended: Sequence[str], now_us: int) -> set[str]:
    """Tells parents that these of their children have ended. Returns queues of those that this wakes."""
    if not ended:
        return set()
    ids = msgspec.json.encode(ended).decode()
    callers = connection.execute(desk.text("find_callers"), {"ids": ids}).fetchall()
    receipts = send_within(connection, desk, [news_of(*caller) for caller in callers], now_us) if callers else []
    queues = {receipt.queue for receipt in receipts if receipt.queue is not None}
    text: str = scalar(connection, desk.text("find_lowered"), {"ids": ids})
    if text == "[]":
        return queues
    connection.execute(desk.text("lower"), {"parents": text, "now_us": now_us})
    return queues | {queue for _, pending, queue in msgspec.json.decode(text) if pending == 0}
