"""Durable signals."""

from __future__ import annotations

from collections.abc import Sequence

from outlast._kernel.states import FINAL
from outlast._model import Letter, Receipt, Signal
from outlast._store.post import Target, deliverable, receipts, woken
from outlast._store.postgres.columns import is_id
from outlast._store.postgres.desk import Desk, Transaction

_LOOKS_MAX = 5


class Signals:
    """See `contract.Signals`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def send(self, batch: Sequence[Signal]) -> list[Receipt]:
        if not batch:
            return []
        return await self._desk.transact(lambda transaction: send_within(transaction, batch))

    async def inbox(self, ids: Sequence[str]) -> list[Letter]:
        known = [id for id in ids if is_id(id)]
        return [Letter(*row) for row in await self._desk.rows("inbox", ids=known)] if known else []

    async def list(self, instance: str) -> list[Letter]:
        return [Letter(*row) for row in await self._desk.rows("signals", id=instance)] if is_id(instance) else []


async def send_within(transaction: Transaction, batch: Sequence[Signal]) -> list[Receipt]:
    """Delivers signals within a transaction."""
    targets = await _lock_targets(transaction, batch)
    places = deliverable(batch, targets)
    stored: set[str] = set()
    wakers: dict[str, str] = {}
    now = transaction.now
    if places:
        chosen = [batch[n] for n in places]
        found = await transaction.rows(
            "deliver",
            ids=[signal.id for signal in chosen],
            instances=[targets[n].id for n in places],
            names=[signal.name for signal in chosen],
            payloads=[signal.payload for signal in chosen],
            dedup_keys=[signal.dedup_key for signal in chosen],
            now=now,
        )
        stored = {row[0] for row in found}
        wakers = woken(batch, targets, stored)
        met = sorted({targets[n].id for n in places if batch[n].id in stored})
        if met:
            await transaction.run("wake", ids=met, waits=[id in wakers for id in met], now=now)
    unmet = [signal.key for n, signal in enumerate(batch) if signal.key is not None and n not in targets]
    known = {row[0] for row in await transaction.rows("known_keys", keys=unmet)} if unmet else ()
    return receipts(batch, targets, stored, wakers, known)


async def _lock_targets(transaction: Transaction, batch: Sequence[Signal]) -> dict[int, Target]:
    """Locks whom the signals are for. A key whose holder ended while we waited for it is looked up again."""
    targets: dict[int, Target] = {}
    former: dict[int, str] = {}
    left = [n for n, signal in enumerate(batch) if signal.key is not None or is_id(signal.instance or "")]
    for _ in range(_LOOKS_MAX):
        rows = await transaction.rows(
            "find_targets",
            numbers=left,
            ids=[batch[n].instance for n in left],
            keys=[batch[n].key for n in left],
        )
        for n, *target in rows:
            targets[n] = Target(*target)
        ended = {n: targets[n].id for n in left if batch[n].key is not None and n in targets}
        # Found twice, it holds its key although it has ended: there is nobody else to find.
        left = [n for n, id in ended.items() if targets[n].status in FINAL and former.get(n) != id]
        if not left:
            break
        for n in left:
            former[n] = targets.pop(n).id
    return targets
