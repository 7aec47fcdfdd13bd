"""Shared by both stores: an outcome's children as rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from outlast._model import NewInstance, Settlement

CHUNK: Final = 5_000
"""Children that one statement inserts."""
_ROUND_MAX: Final = 2**31 - 1


def children_rows(parents: Iterable[Settlement]) -> list[NewInstance]:
    """All their children, told their places: the parent's id, the number of the round, their number within it.

    In the order of their keys: two batches with the same keys would wait for each other.
    """
    rows: list[NewInstance] = []
    for item in parents:
        if item.round is None:
            raise ValueError("an outcome with children must say which round they are")
        for number, child in enumerate(item.children or ()):
            child.parent, child.round, child.child = item.id, item.round, number
            rows.append(child)
    if any(row.correlation_key is not None for row in rows):
        rows.sort(key=lambda row: row.correlation_key or "")
    return rows


def started_rows(parents: Iterable[Settlement]) -> list[NewInstance]:
    """Children for which no round waits: each has its number already."""
    rows = [row for item in parents for row in item.started or ()]
    if any(row.correlation_key is not None for row in rows):
        rows.sort(key=lambda row: row.correlation_key or "")
    return rows


def chunks(rows: Sequence[NewInstance]) -> Iterator[Sequence[NewInstance]]:
    """The rows, as many at a time as one statement inserts."""
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def pending(item: Settlement, landed: int) -> int:
    """How many children must end before the parent wakes, of those that were inserted."""
    return landed if item.need is None else min(item.need, landed)


def ready_queues(rows: Iterable[NewInstance]) -> set[str]:
    """Queues in which these can be claimed at once."""
    return {
        row.queue
        for row in rows
        if row.delay_s is None and row.due_us is None and row.concurrency_key is None and row.rate_limit is None
    }


def span(round: int | None, after: tuple[int, int] | None) -> dict[str, int]:
    """Where to read children, by (round, number): those behind `after`, and only of one `round`, or of any."""
    first = (-1, -1) if round is None else (round, -1)
    after_round, after_child = first if after is None else max(first, after)
    return {
        "after_round": after_round,
        "after_child": after_child,
        "last_round": _ROUND_MAX if round is None else round,
    }
