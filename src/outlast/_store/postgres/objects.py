"""Objects and who owns them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

from outlast._model import Activated, ObjectCommit, ObjectKey, ObjectRow, Owned, Wanted
from outlast._store import parts
from outlast._store.postgres.alarms import move_within
from outlast._store.postgres.calls import answer_within, post_within
from outlast._store.postgres.desk import Desk, Transaction

_LOOKS_MAX: Final = 5
_COMMIT: Final = attrgetter("type", "id", "epoch", "commit", "version")


class Objects:
    """See `contract.Objects`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def activate(self, node: str, wanted: Sequence[Wanted]) -> Activated:
        desk, found = self._desk, Activated([], [])
        left = {(item.type, item.id): item for item in wanted}
        for _ in range(_LOOKS_MAX):
            if not left:
                break
            values = {**_wanted(left), "node": node, "now": desk.now()}
            _sort_out(await desk.change("activate", **values), left, found)
            if left:
                values = {**_wanted(left), "node": node}
                rows = await desk.transact(lambda transaction, values=values: _take_over(transaction, values))  # type: ignore[misc]
                _sort_out(rows, left, found)
        return found

    async def save(self, node: str, batch: Sequence[ObjectCommit]) -> list[ObjectKey]:
        if not batch:
            return []
        desk = self._desk
        if len(batch) == 1 and (only := batch[0]).is_plain:
            if await desk.run("save_object", shielded=False, **parts.lone(only), node=node, now=desk.now()):
                return []
            return _stale(batch, await desk.rows("saved_objects", **_numbers(_commits(batch))))
        ordered = parts.in_order(batch)
        values = _commits(ordered)
        if all(item.is_plain for item in ordered):
            if await desk.run("save_objects", **values, node=node, now=desk.now()) == len(ordered):
                return []
            return _stale(ordered, await desk.rows("saved_objects", **_numbers(values)))
        return await desk.transact(lambda transaction: _save_within(transaction, node, ordered, values))

    async def owned(self, node: str, held: Sequence[tuple[str, str, int]]) -> list[ObjectKey]:
        if not held:
            return []
        return [(type, id) for type, id in await self._desk.rows("owned_objects", **_held(held), node=node)]

    async def release(self, node: str, held: Sequence[tuple[str, str, int]] | None) -> int:
        desk = self._desk
        if held is None:
            return await desk.run("release_all", node=node, now=desk.now())
        if not held:
            return 0
        return await desk.run("release_objects", **_held(sorted(held)), node=node, now=desk.now())

    async def get(self, type: str, id: str) -> ObjectRow | None:
        found = await self._desk.rows("get_object", type=type, id=id)
        return ObjectRow(*found[0]) if found else None

    async def counts(self) -> list[tuple[str, int, int]]:
        return [(type, count, owned) for type, count, owned in await self._desk.rows("count_objects")]

    async def list(self, type: str, *, after: str, limit: int, owned: bool | None = None) -> list[ObjectRow]:
        found = await self._desk.rows("list_objects", type=type, after=after, list_max=limit, owned=owned)
        return [ObjectRow(*row) for row in found]

    async def prune(self, limit: int) -> int:
        async def prune(transaction: Transaction) -> int:
            now = transaction.now
            if not (keys := await transaction.rows("lock_expired_objects", prune_max=limit, now=now)):
                return 0
            types, ids = zip(*sorted(map(tuple, keys)), strict=True)
            gone = await transaction.rows("drop_expired_objects", types=types, ids=ids, now=now)
            if gone:
                types, ids = zip(*sorted(map(tuple, gone)), strict=True)
                await transaction.run("clear_alarms", types=types, ids=ids)
            return len(gone)

        return await self._desk.transact(prune)


async def _take_over(transaction: Transaction, values: dict[str, Any]) -> list[Any]:
    """Makes the node the owner of objects whose owner is gone. Rows as `activate` gives them."""
    keys = {name: values[name] for name in ("types", "ids")}
    await transaction.rows("lock_objects", **keys)
    taken = await transaction.rows("take_over", **values, now=transaction.now)
    if len(taken) == len(keys["ids"]):
        return taken
    mine = {(row[0], row[1]) for row in taken}
    held = await transaction.rows("object_holders", **keys)
    return taken + [(*row, None, None, None, None, None) for row in held if (row[0], row[1]) not in mine]


def _sort_out(rows: Iterable[Sequence[Any]], left: dict[ObjectKey, Wanted], found: Activated) -> None:
    """Notes what became of wishes; those that nothing became of yet stay in `left`."""
    for type, id, holder, *object_ in rows:
        del left[type, id]
        if holder is None:
            found.owned.append(Owned(type, id, *object_))
        else:
            found.elsewhere.append((type, id, holder))


async def _save_within(
    transaction: Transaction, node: str, batch: Sequence[ObjectCommit], values: dict[str, Any]
) -> list[ObjectKey]:
    """Writes commits with all that follows from them. What follows comes only from what this very call has written."""
    rows = await transaction.rows("save_objects", **values, node=node, now=transaction.now)
    lost = [] if len(rows) == len(batch) else _stale(batch, await transaction.rows("saved_objects", **_numbers(values)))
    done = parts.written(batch, {(type, id) for type, id in rows})
    await move_within(transaction, done)
    if calls := parts.sent(done):
        await post_within(transaction, calls)
    if answers := parts.answered(done):
        await answer_within(transaction, answers)
    if held := parts.released(done):
        await transaction.run("release_objects", **_held(held), node=node, now=transaction.now)
    return lost


def _stale(batch: Sequence[ObjectCommit], saved: Iterable[Sequence[str]]) -> list[ObjectKey]:
    known = {(type, id) for type, id in saved}
    return [key for item in batch if (key := parts.key_of(item)) not in known]


def _wanted(left: dict[ObjectKey, Wanted]) -> dict[str, Any]:
    """Wishes as `activate` takes them."""
    ordered = [left[key] for key in sorted(left)]
    return {
        "types": [item.type for item in ordered],
        "ids": [item.id for item in ordered],
        "versions": [item.version for item in ordered],
        "states": [item.state for item in ordered],
    }


def _commits(batch: Sequence[ObjectCommit]) -> dict[str, Any]:
    """Commits as `save_objects` takes them."""
    types, ids, epochs, commits, versions = zip(*map(_COMMIT, batch), strict=True)
    return {
        "types": types,
        "ids": ids,
        "epochs": epochs,
        "commits": commits,
        "versions": versions,
        "states": [None if item.deleted else item.state for item in batch],
        "expires_s": [parts.expires_s(item) for item in batch],
    }


def _held(held: Sequence[tuple[str, str, int]]) -> dict[str, Any]:
    """Objects with the epochs under which they are owned, as statements take them."""
    types, ids, epochs = zip(*held, strict=True)
    return {"types": types, "ids": ids, "epochs": epochs}


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    """The part of a batch that says which commits these are."""
    return {name: values[name] for name in ("types", "ids", "epochs", "commits")}
