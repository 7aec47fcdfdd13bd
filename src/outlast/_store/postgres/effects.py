"""What outcomes change beside their own rows: signals used up, children started, parents woken. One transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from outlast._kernel.states import FINAL, RUNNING, WAITING
from outlast._model import Committed, NewInstance, Settlement
from outlast._store.children import children_rows, chunks, pending, ready_queues, started_rows
from outlast._store.post import USED_KEPT_S
from outlast._store.postgres.barriers import lower
from outlast._store.postgres.columns import columns_of
from outlast._store.postgres.desk import Transaction
from outlast._store.postgres.journal import record_within
from outlast._store.postgres.tags import retag_by, tag_new
from outlast._store.rows import committed_of

_fence = attrgetter("id", "epoch", "commits")
_first = itemgetter(0)


async def settle_within(transaction: Transaction, batch: Sequence[Settlement], values: dict[str, Any]) -> Committed:
    """Writes outcomes with all that follows from them. Effects come only from what this very call has written.

    `values` are the columns of those that do more than record something.
    """
    fenced = fences(batch)
    await _lock_families(transaction, batch)
    ((locked,),) = await transaction.rows("lock_ours", **fenced)
    ours = set(locked or ())
    committed = Committed([], [])
    if await _write(transaction, batch, values, held=False) < len(batch):
        if any(item.status == RUNNING for item in batch):
            await _write(transaction, batch, values, held=True)  # of what is paused.
        committed = committed_of(batch, await transaction.rows("settled", **fenced), ())
    written = [item for item in batch if item.id in ours]
    queues: set[str] = set()
    await _consume(transaction, written)
    await record_within(transaction, written)
    await retag_by(transaction, written)
    queues |= await _spawn(transaction, [item for item in written if item.children is not None])
    queues |= await _start(transaction, started_rows(written))
    queues |= await _recheck(transaction, [item for item in written if item.status == WAITING and item.awaits])
    queues |= await lower(transaction, [item.id for item in written if item.parent and item.status in FINAL])
    return committed._replace(queues=sorted(queues))


async def _lock_families(transaction: Transaction, batch: Sequence[Settlement]) -> None:
    """Locks a batch together with the parents of whom it ends, where it holds outcomes of others as well.

    Each of two batches may hold one workflow's outcome and the end of the other's child: were the parents locked last,
    as they are where nothing but children end, both would wait for each other.
    """
    parents = [item.parent for item in batch if item.parent and item.status in FINAL]
    if 0 < len(parents) < len(batch):
        await transaction.rows("lock_families", ids=sorted({*parents, *(item.id for item in batch)}))


async def _write(transaction: Transaction, batch: Sequence[Settlement], values: dict[str, Any], *, held: bool) -> int:
    """Writes the rows of outcomes; what keeps its claim and is paused only if `held`. Returns how many were written."""
    changed = 0
    if recorded := [item for item in batch if item.only_records]:
        changed += await transaction.run("commit_recorded", **fences(recorded), held=held)
    if values:
        changed += await transaction.run("commit_full", **values, held=held, now=transaction.now)
    return changed


def fences(batch: Sequence[Settlement]) -> dict[str, Any]:
    """Which claims these are, as texts of parallel arrays, sorted by id: the driver looks at each element of others."""
    ids, epochs, commits = zip(*sorted(map(_fence, batch), key=_first), strict=True)
    return {"ids": _array(ids), "epochs": _array(epochs), "commits": _array(commits)}


def _array(values: Iterable[str | int | None]) -> str:
    return f"{{{','.join(['NULL' if value is None else str(value) for value in values])}}}"


async def _consume(transaction: Transaction, written: Sequence[Settlement]) -> None:
    used = [(signal, item.id) for item in written for signal in item.consumed or ()]
    if used:
        ids, instances = zip(*sorted(used), strict=True)
        await transaction.run("consume", ids=ids, instances=instances, kept_s=USED_KEPT_S, now=transaction.now)


async def _recheck(transaction: Transaction, parks: Sequence[Settlement]) -> set[str]:
    """Wakes those whose signal came while they were about to wait. A statement of its own, so that it sees it."""
    if not parks:
        return set()
    rows = await transaction.rows(
        "recheck",
        ids=[item.id for item in parks],
        awaits=[_json(item.awaits) for item in parks],
        shown=[_json(item.shown or []) for item in parks],
        now=transaction.now,
    )
    return {row[0] for row in rows}


async def _spawn(transaction: Transaction, parents: Sequence[Settlement]) -> set[str]:
    """Inserts the children of outcomes and lets their parents wait for them. Returns queues that received work."""
    if not parents:
        return set()
    rows, added = children_rows(parents), 0
    for chunk in chunks(rows):
        added += await transaction.run("add_full", **columns_of(chunk), now=transaction.now)
    await tag_new(transaction, rows)
    ids, rounds = [item.id for item in parents], [item.round for item in parents]
    landed = {item.id: len(item.children or ()) for item in parents}
    if added < len(rows):
        found = dict(await transaction.rows("landed", ids=ids, rounds=rounds))
        landed = {id: found.get(id, 0) for id in ids}
    waits = [pending(item, landed[item.id]) for item in parents]
    opened = await transaction.rows("open_round", ids=ids, rounds=rounds, pending=waits, now=transaction.now)
    return ready_queues(rows) | {row[0] for row in opened if row[0] is not None}


async def _start(transaction: Transaction, rows: list[NewInstance]) -> set[str]:
    """Inserts children for which no round waits. Returns queues that received work."""
    for chunk in chunks(rows):
        await transaction.run("add_full", **columns_of(chunk), now=transaction.now)
    await tag_new(transaction, rows)
    return ready_queues(rows)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
