"""Shared by both stores: what a row needs on its way in or out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from outlast._kernel.states import RUNNING
from outlast._model import Committed, NewInstance, QueueCounts, Settlement


def assemble_counts(
    paused: Mapping[str, datetime], found: Iterable[tuple[str, str, int, float | None]]
) -> list[QueueCounts]:
    """Counts by queue, from (queue, status, count, age of the oldest in seconds or None)."""
    columns: dict[str, dict[str, Any]] = {name: {} for name in paused}
    for queue, status, count, oldest_s in found:
        row = columns.setdefault(queue, {})
        row[status] = count
        if status == "ready" and oldest_s is not None:
            row["oldest_ready_s"] = max(0.0, oldest_s)
    return [QueueCounts(name, paused.get(name), **row) for name, row in sorted(columns.items())]


def committed_of(batch: Sequence[Settlement], settled: Iterable[Sequence[Any]], queues: Iterable[str]) -> Committed:
    """What became of a batch, from (id, whether it is paused) of those whose last written outcome is this claim's."""
    known = {id: bool(paused) for id, paused in settled}
    stale = [item.id for item in batch if item.id not in known]
    paused = tuple(item.id for item in batch if item.status == RUNNING and known.get(item.id))
    return Committed(stale, sorted(queues), paused)


def is_plain(row: NewInstance) -> bool:
    """Whether it has no parent, no limit, no share, no trace and no tags of its own."""
    return (
        row.parent is None
        and row.concurrency_key is None
        and row.rate_limit is None
        and row.fair_key is None
        and row.trace is None
        and row.tags is None
    )
