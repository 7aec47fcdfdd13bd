"""Objects and who owns them."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final

from outlast._model import Activated, ObjectCommit, ObjectKey, ObjectRow, Owned, Wanted
from outlast._store import parts
from outlast._store.sqlite.alarms import move_within
from outlast._store.sqlite.calls import answer_within, post_within
from outlast._store.sqlite.columns import checked_text, objects_text
from outlast._store.sqlite.desk import Desk
from outlast._world import instant

_TIMES: Final = ("created_at", "updated_at")
_TIME_PLACES: Final = tuple(ObjectRow._fields.index(name) for name in _TIMES)


class Objects:
    """See `contract.Objects`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def activate(self, node: str, wanted: Sequence[Wanted]) -> Activated:
        if not wanted:
            return Activated([], [])
        desk, now_us = self._desk, self._desk.now_us()
        rows = list({(item.type, item.id): (item.type, item.id, item.version, item.state) for item in wanted}.values())
        values = {"wanted": objects_text(rows), "node": node, "now_us": now_us}

        def activate(connection: sqlite3.Connection) -> Activated:
            taken = connection.execute(desk.text("activate"), values).fetchall()
            owned = [Owned._make((*row[:-1], bool(row[-1]))) for row in taken]
            if len(owned) == len(rows):
                return Activated(owned, [])
            mine = {(each.type, each.id) for each in owned}
            rest = objects_text([row[:2] for row in rows if row[:2] not in mine])
            return Activated(owned, connection.execute(desk.text("object_holders"), {"objects": rest}).fetchall())

        activated: Activated = await desk.writer.write(activate)
        return activated

    async def save(self, node: str, batch: Sequence[ObjectCommit]) -> list[ObjectKey]:
        if not batch:
            return []
        desk, now_us = self._desk, self._desk.now_us()
        if len(batch) == 1 and (only := batch[0]).is_plain:
            return await self._save_lone(node, only, now_us)
        values = {"node": node, "saved": _saved(batch), "now_us": now_us}
        is_all_plain = all(item.is_plain for item in batch)

        def save(connection: sqlite3.Connection) -> list[ObjectKey]:
            numbers = objects_text([(item.type, item.id, item.epoch, item.commit) for item in batch])
            ours: Collection[ObjectKey] = ()
            if not is_all_plain:
                ours = set(connection.execute(desk.text("find_unsaved"), {"node": node, "numbers": numbers}))
            changed = connection.execute(desk.text("save_objects"), values).rowcount
            if done := parts.written(batch, ours):
                move_within(connection, desk, done, now_us)
                if calls := parts.sent(done):
                    post_within(connection, desk, calls, now_us)
                if answers := parts.answered(done):
                    answer_within(connection, desk, answers, now_us)
                if held := parts.released(done):
                    left = {"node": node, "held": objects_text(held), "now_us": now_us}
                    connection.execute(desk.text("release_objects"), left)
            if changed == len(batch):
                return []
            known = set(connection.execute(desk.text("saved_objects"), {"numbers": numbers}))
            return [key for item in batch if (key := parts.key_of(item)) not in known]

        stale: list[ObjectKey] = await desk.writer.write(save)
        return stale

    async def _save_lone(self, node: str, item: ObjectCommit, now_us: int) -> list[ObjectKey]:
        desk = self._desk
        checked_text(item.state)
        values = {**parts.lone(item), "node": node, "now_us": now_us}

        def save(connection: sqlite3.Connection) -> list[ObjectKey]:
            if connection.execute(desk.text("save_object"), values).rowcount:
                return []
            numbers = {"numbers": objects_text([(item.type, item.id, item.epoch, item.commit)])}
            return [] if connection.execute(desk.text("saved_objects"), numbers).fetchone() else [parts.key_of(item)]

        stale: list[ObjectKey] = await desk.writer.write(save)
        return stale

    async def owned(self, node: str, held: Sequence[tuple[str, str, int]]) -> list[ObjectKey]:
        return await self._desk.rows("owned_objects", node=node, held=objects_text(held)) if held else []

    async def release(self, node: str, held: Sequence[tuple[str, str, int]] | None) -> int:
        desk = self._desk
        if held is None:
            return await desk.run("release_all", node=node, now_us=desk.now_us())
        if not held:
            return 0
        return await desk.run("release_objects", node=node, held=objects_text(held), now_us=desk.now_us())

    async def get(self, type: str, id: str) -> ObjectRow | None:
        found = await self._desk.rows("get_object", type=type, id=id)
        return _read(found[0]) if found else None

    async def counts(self) -> list[tuple[str, int, int]]:
        return await self._desk.rows("count_objects")

    async def list(self, type: str, *, after: str, limit: int, owned: bool | None = None) -> list[ObjectRow]:
        found = await self._desk.rows("list_objects", type=type, after=after, limit=limit, owned=owned)
        return [_read(row) for row in found]

    async def prune(self, limit: int) -> int:
        desk, now_us = self._desk, self._desk.now_us()
        if not await desk.rows("find_expired_objects", limit=1, now_us=now_us):
            return 0

        def prune(connection: sqlite3.Connection) -> int:
            values = {"limit": limit, "now_us": now_us}
            keys = {"objects": objects_text(connection.execute(desk.text("find_expired_objects"), values).fetchall())}
            connection.execute(desk.text("clear_alarms"), keys)
            return connection.execute(desk.text("drop_expired_objects"), keys).rowcount

        pruned: int = await desk.writer.write(prune)
        return pruned


def _saved(batch: Sequence[ObjectCommit]) -> str:
    """Commits as `save_objects` takes them."""
    return objects_text(
        [
            (
                item.type,
                item.id,
                item.epoch,
                item.commit,
                item.version,
                None if item.deleted else item.state,
                parts.expires_s(item),
            )
            for item in batch
        ]
    )


def _read(row: Sequence[Any]) -> ObjectRow:
    values = list(row)
    for place in _TIME_PLACES:
        values[place] = instant(values[place])
    return ObjectRow(*values)
