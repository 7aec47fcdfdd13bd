"""Lists and counts: which statement serves a filter."""

from __future__ import annotations

from typing import Any

import msgspec

from outlast._model import Filter
from outlast._store.retag import WEIGHED_MAX, lightest_first
from outlast._store.sqlite.desk import Desk


async def listed(desk: Desk, wanted: Filter) -> list[Any]:
    """Rows that fit, the newest first."""
    values = {**_filters(wanted), "before": wanted.before, "limit": wanted.limit}
    if wanted.tags:
        return await desk.rows("list_tagged", **values, **await _tags(desk, wanted))
    if wanted.waiting_for is not None:
        return await desk.rows("list_waiting", **values)
    return await desk.rows("list", **values, id_prefix=wanted.id_prefix)


async def counted(desk: Desk, wanted: Filter, by: str) -> list[Any]:
    """How many fit, by the values of a column."""
    values = {**_filters(wanted), "by": by}
    if wanted.parent is not None:
        tags = _json(wanted.tags) if wanted.tags else None
        return await desk.rows("count_children", **values, tags=tags, parent=wanted.parent)
    if wanted.tags:
        return await desk.rows("count_tagged", **values, **await _tags(desk, wanted))
    return await desk.rows("count", **values)


async def _tags(desk: Desk, wanted: Filter) -> dict[str, Any]:
    """The tag that fewest have leads, and the others are looked at."""
    weights = {}
    if len(wanted.tags) > 1:
        weights = dict(await desk.rows("weigh_tags", tags=_json(wanted.tags), limit=WEIGHED_MAX))
    (name, value), *others = lightest_first(wanted.tags, weights)
    return {"tag_name": name, "tag_value": value, "tags": _json(others) if others else None}


def _filters(wanted: Filter) -> dict[str, Any]:
    return {
        "status": None if wanted.status is None else _json(wanted.status),
        "program": wanted.program,
        "queue": wanted.queue,
        "key": wanted.correlation_key,
        "paused": wanted.paused,
        "created_after_us": wanted.created_after_us,
        "created_before_us": wanted.created_before_us,
        "ended_before_us": wanted.ended_before_us,
        "waiting_for": wanted.waiting_for,
        "roots": wanted.roots,
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
