"""Lists and counts: which statement serves a filter."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from outlast._model import Filter
from outlast._store.postgres.columns import is_id
from outlast._store.postgres.desk import Desk
from outlast._store.retag import WEIGHED_MAX, lightest_first
from outlast._world import instant

_LEAST: Final = "00000000-0000-0000-0000-000000000000"
_GREATEST: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"


async def listed(desk: Desk, wanted: Filter) -> list[Any]:
    """Rows that fit, the newest first."""
    prefix = wanted.id_prefix or ""
    least, greatest = prefix + _LEAST[len(prefix) :], prefix + _GREATEST[len(prefix) :]
    before = wanted.before
    if not is_id(least) or not is_id(greatest) or (before is not None and not is_id(before)):
        return []
    values = {**_filters(wanted), "before": before, "list_max": wanted.limit}
    if wanted.tags:
        return await desk.rows("list_tagged", **values, **await _tags(desk, wanted))
    if wanted.waiting_for is not None:
        return await desk.rows("list_waiting", **values)
    return await desk.rows("list", **values, least=least, greatest=greatest)


async def counted(desk: Desk, wanted: Filter, by: str) -> list[Any]:
    """How many fit, by the values of a column."""
    values = {**_filters(wanted), "by": by}
    if wanted.parent is not None:
        if not is_id(wanted.parent):
            return []
        tags = _json(dict(wanted.tags)) if wanted.tags else None
        return await desk.rows("count_children", **values, tags=tags, parent=wanted.parent)
    if wanted.tags:
        return await desk.rows("count_tagged", **values, **await _tags(desk, wanted))
    return await desk.rows("count", **values)


async def _tags(desk: Desk, wanted: Filter) -> dict[str, Any]:
    """The tag that fewest have leads, and the others are looked at."""
    weights: dict[int, int] = {}
    if len(wanted.tags) > 1:
        names, values = zip(*wanted.tags, strict=True)
        found = await desk.rows("weigh_tags", names=names, values=values, count_max=WEIGHED_MAX)
        weights = {place - 1: count for place, count in found}
    (name, value), *others = lightest_first(wanted.tags, weights)
    return {"tag_name": name, "tag_value": value, "tags": _json(dict(others)) if others else None}


def _filters(wanted: Filter) -> dict[str, Any]:
    return {
        "statuses": wanted.status,
        "program": wanted.program,
        "queue": wanted.queue,
        "key": wanted.correlation_key,
        "paused": wanted.paused,
        "created_after": _moment(wanted.created_after_us),
        "created_before": _moment(wanted.created_before_us),
        "ended_before": _moment(wanted.ended_before_us),
        "waiting_for": wanted.waiting_for,
        "roots": wanted.roots,
    }


def _moment(us: int | None) -> datetime | None:
    return None if us is None else instant(us)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
