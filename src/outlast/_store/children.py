"""Shared by both stores: an outcome's children as rows."""

from __future__ import annotations

from collections.abc import Iterable

from outlast._model import NewInstance, Settlement


def children_rows(item: Settlement) -> list[NewInstance]:
    """The children, told their places: the parent's id, the number of the round, their number within it."""
    children = item.children or []
    if item.round is None:
        raise ValueError("an outcome with children must say which round they are")
    for number, child in enumerate(children):
        child.parent, child.round, child.child = item.id, item.round, number
    return children


def ready_queues(rows: Iterable[NewInstance]) -> set[str]:
    """Queues in which these can be claimed at once."""
    return {
        row.queue
        for row in rows
        if row.delay_s is None and row.due_us is None and row.concurrency_key is None and row.rate_limit is None
    }
