"""What instances are found by: kept in their rows, and once more where they are searched."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from outlast._model import NewInstance, Settlement
from outlast._store.retag import merged, merged_by
from outlast._store.sqlite.desk import Desk, scalar


def tag_new(connection: sqlite3.Connection, desk: Desk, rows: Iterable[NewInstance]) -> None:
    """Lets rows that this transaction has inserted be found by their tags."""
    tags = [(row.id, row.tags) for row in rows if row.tags is not None]
    if tags:
        connection.execute(desk.text("add_tags"), {"tags": _json(tags)})


def retag_within(connection: sqlite3.Connection, desk: Desk, changes: Mapping[str, Mapping[str, str | None]]) -> None:
    """Gives instances other tags: those named, by their ids; None takes one away."""
    if not changes:
        return
    ids = {"ids": _json(sorted(changes))}
    known: dict[str, str | None] = dict(msgspec.json.decode(scalar(connection, desk.text("read_tags"), ids)))
    connection.execute(desk.text("forget_tags"), ids)
    tags = {"tags": _json([(id, merged(text, changes[id])) for id, text in known.items()])}
    connection.execute(desk.text("write_tags"), tags)
    connection.execute(desk.text("add_tags"), tags)


def retag_by(connection: sqlite3.Connection, desk: Desk, written: Sequence[Settlement]) -> None:
    """Gives the tags that outcomes of this transaction have recorded."""
    retag_within(connection, desk, merged_by(written))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
