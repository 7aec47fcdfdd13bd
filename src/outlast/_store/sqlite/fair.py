"""Rows with a fair key: the keys take turns."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from outlast._store.sqlite.desk import Desk, scalar


def take_fair(
    connection: sqlite3.Connection, desk: Desk, wanted: Mapping[str, Any], after: str, limit: int
) -> tuple[str, str | None]:
    """Claims as `mark_taken` takes them, the keys in turns, beginning behind the key `after`; and the last key served.

    Looks at as many keys as it may claim rows, and of each at no more rows than its share, and as many again.
    """
    keys = _keys(connection, desk, wanted, after, limit)
    chosen: list[tuple[float, int, str]] = []
    for turn, key in enumerate(keys):
        values = {**wanted, "fair_key": key, "limit": 1 + 2 * limit // len(keys)}
        picked = msgspec.json.decode(scalar(connection, desk.text("pick_fair"), values))
        chosen += [(place / weight, turn, id) for place, (id, weight) in enumerate(picked, start=1)]
    chosen = sorted(chosen)[:limit]
    if not chosen:
        return "[]", None
    ids = msgspec.json.encode([id for _, _, id in chosen]).decode()
    return scalar(connection, desk.text("read_chosen"), {"ids": ids}), keys[chosen[-1][1]]


def _keys(connection: sqlite3.Connection, desk: Desk, wanted: Mapping[str, Any], after: str, limit: int) -> list[str]:
    """Up to `limit` fair keys of which some are ready: those behind `after`, then those from the first up to it."""
    keys: list[str] = []
    last, wrapped = after, False
    while len(keys) < limit:
        row = connection.execute(desk.text("next_fair"), {**wanted, "after": last}).fetchone()
        if row is not None and (not wrapped or row[0] <= after):
            last = row[0]
            keys.append(last)
        elif wrapped or not after:
            break
        else:
            last, wrapped = "", True
    return keys
