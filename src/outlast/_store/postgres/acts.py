"""What operators do with single instances: pause, resume, retry."""

from __future__ import annotations

import msgspec

from outlast._kernel.states import MOVES, QUARANTINED
from outlast._model import Deed, DeedRow, Held, Redo, Retried, Stopped
from outlast._store.postgres.columns import is_id
from outlast._store.postgres.desk import Desk, Transaction
from outlast._store.postgres.faults import is_key_taken
from outlast.errors import StoreError


class Acts:
    """See `contract.Acts`. What is not an id at all is the id of nothing."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def pause(self, id: str, deed: Deed, *, tree: bool = False) -> Stopped | None:
        return await self._turn(id, deed, tree=tree, paused=False)

    async def resume(self, id: str, deed: Deed, *, tree: bool = False) -> Stopped | None:
        return await self._turn(id, deed, tree=tree, paused=True)

    async def _turn(self, id: str, deed: Deed, *, tree: bool, paused: bool) -> Stopped | None:
        """Pauses what is not `paused`, resumes what is."""
        if not is_id(id):
            return None

        async def turn(transaction: Transaction) -> Stopped | None:
            ids = await locked_tree(transaction, id, whole=tree)  # errands are a workflow's own steps.
            stood = await transaction.rows("lock_instance", id=id)
            if not stood:
                return None
            if paused:
                await transaction.run("unhold", ids=ids)
                found = await transaction.rows("resume_instances", ids=ids)
            else:
                values = {"ids": ids, "reason": deed.reason, "now": transaction.now}
                found = await transaction.rows("pause_instances", **values)
                await transaction.run("hold", ids=[row[0] for row in found])
            await _note(transaction, [row[0] for row in found], deed)
            nodes = sorted({row[1] for row in found if row[1] is not None})
            return Stopped(stood[0][0], nodes, [row[0] for row in found], sorted({row[2] for row in found}))

        return await self._desk.transact(turn)

    async def retry(self, id: str, redo: Redo, deed: Deed | None = None) -> Retried | Held | None:
        if not is_id(id):
            return None

        async def retry(transaction: Transaction) -> Retried | None:
            stood = await transaction.rows("lock_instance", id=id)
            if not stood:
                return None
            status, queue, epoch = stood[0]
            if status not in MOVES["retry"] or redo.epoch not in (None, epoch):
                return Retried(status, queue, epoch)
            if deed is not None and not await _note(transaction, [id], deed):
                return Retried(status, queue, epoch, again=True)
            values = {"epoch": redo.epoch, "step": redo.step, "state": redo.state, "version": redo.version}
            await transaction.run("retry", id=id, fresh=int(redo.fresh), now=transaction.now, **values)
            await _rewrite(transaction, id, redo)
            if status != QUARANTINED:  # for which its parent waits still.
                await transaction.run("raise", id=id)
            return Retried(status, queue, epoch)

        while True:
            try:
                return await self._desk.transact(retry)
            except StoreError as error:
                if error.__cause__ is None or not is_key_taken(error.__cause__):
                    raise
            if (held := await self._holder(id)) is not None:
                return held
            # Whoever held the key has let go of it meanwhile.

    async def _holder(self, id: str) -> Held | None:
        stood = await self._desk.rows("stand", id=id)
        if not stood or stood[0][3] is None:
            return None
        key: str = stood[0][3]
        found = await self._desk.rows("find_by_key", key=key)
        return Held(id, key, found[0][0]) if found and found[0][0] != id else None

    async def list(self, instance: str) -> list[DeedRow]:
        if not is_id(instance):
            return []
        return [DeedRow(*row) for row in await self._desk.rows("acts", instance=instance)]


async def locked_tree(transaction: Transaction, id: str, *, whole: bool) -> list[str]:
    """An instance and its errands, or with `whole` all its descendants, locked."""
    ids = [id]
    while True:  # until nobody has spawned any more while we waited for the locks.
        found = [row[0] for row in await transaction.rows("tree", id=id, whole=whole)]
        if len(found) <= len(ids):
            return ids
        ids = found


async def _rewrite(transaction: Transaction, id: str, redo: Redo) -> None:
    """What a retry changes of the journal and of the inbox."""
    if redo.forget:
        await transaction.run("unrecord", id=id, keys=list(redo.forget))
    if redo.results:
        keys, values = zip(*redo.results, strict=True)
        await transaction.run("rerecord", id=id, keys=keys, values=values)
    if redo.letters:
        ids, names, payloads = zip(*redo.letters, strict=True)
        await transaction.run("put_back", instance=id, ids=ids, names=names, payloads=payloads, now=transaction.now)


async def _note(transaction: Transaction, ids: list[str], deed: Deed) -> bool:
    """Notes an act within a transaction. False: an earlier try has, or it touches nobody."""
    values = msgspec.structs.asdict(deed) | {"ids": ids, "now": transaction.now}
    return await transaction.run("note_act", **values) > 0
