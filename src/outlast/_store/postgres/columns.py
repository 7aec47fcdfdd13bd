"""New rows as the insert statements take them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

from msgspec.structs import astuple

from outlast._model import NewInstance
from outlast._world import instant

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_COLUMNS: Final = (
    "ids",
    "programs",
    "versions",
    "queues",
    "priorities",
    "steps",
    "states",
    "correlation_keys",
    "correlation_scopes",
    "delays_s",
    "due_ats",
    "timeouts_s",
    "parents",
    "rounds",
    "children",
    "concurrency_keys",
    "rate_limits",
    "rate_weights",
    "fair_keys",
    "fair_weights",
    "traces",
    "tags",
)
"""The fields of a new instance, in their order, as the arrays that `add` takes."""

_plain = attrgetter(*NewInstance.__struct_fields__[:12])


def named_columns(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """Rows as parallel arrays by name. One that holds nothing at all is null: `unnest` fills it up.

    The driver looks at each element of an array, which costs as much as all else that is done with a row.
    """
    return {
        name: None if column[0] is None and column.count(None) == len(column) else column
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def is_id(text: str) -> bool:
    """Whether this is an id as we write them; Postgres refuses others, and reads some that we never wrote."""
    return _ID.fullmatch(text) is not None


def columns_of(rows: Sequence[NewInstance]) -> dict[str, Any]:
    """Rows as the `add_full` statement takes them.

    Sorted by key: two batches with the same keys in opposite orders would wait for each other.
    """
    if any(row.correlation_key is not None for row in rows):
        rows = sorted(rows, key=lambda row: row.correlation_key or "")
    return _timed(named_columns(_COLUMNS, map(astuple, rows)))


def plain_columns_of(rows: Sequence[NewInstance]) -> dict[str, Any]:
    """Rows as the `add` statement takes them: those without a parent, a limit, a share, a trace or tags."""
    if any(row.correlation_key is not None for row in rows):
        rows = sorted(rows, key=lambda row: row.correlation_key or "")
    return _timed(named_columns(_COLUMNS[:12], map(_plain, rows)))


def _timed(columns: dict[str, Any]) -> dict[str, Any]:
    if (moments_us := columns["due_ats"]) is not None:
        columns["due_ats"] = tuple(None if us is None else instant(us) for us in moments_us)
    return columns


def one_row(row: NewInstance) -> dict[str, Any]:
    """A row as the `add_one` statement takes it."""
    return {
        "id": row.id,
        "program": row.program,
        "version": row.version,
        "queue": row.queue,
        "priority": row.priority,
        "step": row.step,
        "state": row.state,
        "correlation_key": row.correlation_key,
        "correlation_scope": row.correlation_scope,
        "delay_s": row.delay_s,
        "due_at": None if row.due_us is None else instant(row.due_us),
        "timeout_s": row.timeout_s,
    }
