"""The rows themselves, as callers see and steer them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from outlast._kernel.states import FINAL, RUNNING
from outlast._model import Ended, Filter, Held, NewInstance, Receipt, Row, Signal, Stopped
from outlast._store.children import span
from outlast._store.postgres.acts import locked_tree
from outlast._store.postgres.barriers import lower
from outlast._store.postgres.columns import columns_of, is_id, one_row, plain_columns_of
from outlast._store.postgres.desk import Desk, Transaction
from outlast._store.postgres.searches import counted, listed
from outlast._store.postgres.signals import send_within
from outlast._store.postgres.tags import retag_within, tag_new
from outlast._store.rows import is_plain


class Instances:
    """See `contract.Instances`. What is not an id at all is the id of nothing."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def add(self, rows: Sequence[NewInstance]) -> list[Held]:
        desk = self._desk
        if not all(map(is_plain, rows)):
            if any(row.tags is not None for row in rows):
                changed = await desk.transact(lambda transaction: _add_tagged(transaction, rows))
            else:
                changed = await desk.run("add_full", shielded=False, **columns_of(rows), now=desk.now())
        elif len(rows) == 1:
            changed = await desk.run("add_one", shielded=False, **one_row(rows[0]), now=desk.now())
        elif rows:
            changed = await desk.run("add", shielded=False, **plain_columns_of(rows), now=desk.now())
        else:
            changed = 0
        return [] if changed == len(rows) else await self._held(rows)

    async def _held(self, rows: Sequence[NewInstance]) -> list[Held]:
        """Rows that were left out. A key that was free again by the time we looked is tried once more."""
        ids, keys = [row.id for row in rows], [row.correlation_key for row in rows]
        found = [Held(*row) for row in await self._desk.rows("holders", ids=ids, correlation_keys=keys)]
        vanished = {held.id for held in found if held.holder is None}
        again = [row for row in rows if row.id in vanished]
        return [held for held in found if held.id not in vanished] + (await self.add(again) if again else [])

    async def get(self, id: str) -> Row | None:
        found = await self._desk.rows("get", id=id) if is_id(id) else []
        return Row(*found[0]) if found else None

    async def find(self, key: str) -> Row | None:
        found = await self._desk.rows("find_by_key", key=key) or await self._desk.rows("find_last_by_key", key=key)
        return await self.get(found[0][0]) if found else None

    async def ended(self, ids: Sequence[str]) -> list[Ended]:
        known = tuple(id for id in ids if is_id(id))
        return [Ended(*row) for row in await self._desk.rows("ended", ids=known)] if known else []

    async def cancel(self, id: str, error: str, retention_s: float | None, *, tree: bool = False) -> Stopped | None:
        if not is_id(id):
            return None

        async def cancel(transaction: Transaction) -> Stopped | None:
            ids = await locked_tree(transaction, id, whole=tree)
            stood = await transaction.rows("lock_instance", id=id)
            if not stood:
                return None
            ended = await transaction.rows("cancel", ids=ids, error=error, retention_s=retention_s, now=transaction.now)
            queues = await lower(transaction, [row[0] for row in ended])
            nodes = sorted({row[1] for row in ended if row[1] is not None})
            return Stopped(stood[0][0], nodes, [row[0] for row in ended], sorted(queues))

        return await self._desk.transact(cancel)

    async def delete(self, id: str) -> str | None:
        if not is_id(id):
            return None

        async def delete(transaction: Transaction) -> str | None:
            ids = [row[0] for row in await transaction.rows("tree", id=id, whole=False)]
            stood = await transaction.rows("lock_instance", id=id)
            if not stood:
                return None
            status: str = stood[0][0]
            if status != RUNNING:
                if status not in FINAL:
                    await lower(transaction, [id])
                await _forget_all(transaction, ids)
                await transaction.run("delete", ids=ids)
            return status

        return await self._desk.transact(delete)

    async def children(self, parent: str, *, round: int | None, after: tuple[int, int] | None, limit: int) -> list[Row]:
        if not is_id(parent):
            return []
        found = await self._desk.rows("children", parent=parent, **span(round, after), list_max=limit)
        return [Row(*row) for row in found]

    async def add_and_send(self, row: NewInstance, signal: Signal) -> tuple[list[Held], Receipt]:
        async def add_and_send(transaction: Transaction) -> tuple[list[Held], Receipt]:
            while True:
                changed = await _add_tagged(transaction, [row])
                (receipt,) = await send_within(transaction, [signal])
                if changed or receipt.instance == row.id:
                    return [], receipt
                if receipt.instance is not None:
                    return [Held(row.id, row.correlation_key or "", receipt.instance)], receipt
                if await transaction.rows("stand", id=row.id):
                    return [], receipt  # an earlier try has inserted it, and it has ended.
                # Whoever held the key has let go of it meanwhile.

        return await self._desk.transact(add_and_send)

    async def totals(self) -> dict[str, int]:
        return dict(await self._desk.rows("totals"))

    async def list(self, wanted: Filter) -> list[Row]:
        return [Row(*row) for row in await listed(self._desk, wanted)]

    async def count(self, wanted: Filter, by: str) -> dict[str, int]:
        return dict(await counted(self._desk, wanted, by))

    async def retag(self, id: str, changes: Mapping[str, str | None]) -> dict[str, str] | None:
        if not is_id(id):
            return None

        async def retag(transaction: Transaction) -> dict[str, str] | None:
            await retag_within(transaction, {id: changes})
            found = await transaction.rows("read_tags", ids=[id])
            return msgspec.json.decode(found[0][1] or "{}") if found else None

        return await self._desk.transact(retag)

    async def removable(self, ids: Sequence[str]) -> Sequence[str]:
        return [row[0] for row in await self._desk.rows("removable", ids=list(filter(is_id, ids)))]

    async def remove(self, ids: Sequence[str]) -> int:
        async def remove(transaction: Transaction) -> int:
            gone = [row[0] for row in await transaction.rows("lock_removable", ids=list(filter(is_id, ids)))]
            await _forget_all(transaction, gone)
            return await transaction.run("remove", ids=gone)

        return await self._desk.transact(remove)


async def _add_tagged(transaction: Transaction, rows: Sequence[NewInstance]) -> int:
    changed = await transaction.run("add_full", **columns_of(rows), now=transaction.now)
    await tag_new(transaction, rows)
    return changed


async def _forget_all(transaction: Transaction, ids: Sequence[str]) -> None:
    """Deletes what belongs to instances that this transaction deletes next."""
    for name in ("forget", "forget_journal", "forget_logs", "forget_acts", "forget_tags"):
        await transaction.run(name, ids=ids)
