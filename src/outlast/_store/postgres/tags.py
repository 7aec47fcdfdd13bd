"""What instances are found by: kept in their rows, and once more where they are searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from outlast._model import NewInstance, Settlement
from outlast._store.postgres.desk import Transaction
from outlast._store.retag import merged, merged_by


async def tag_new(transaction: Transaction, rows: Iterable[NewInstance]) -> None:
    """Lets rows that this transaction has inserted be found by their tags."""
    tags = sorted((row.id, row.tags) for row in rows if row.tags is not None)
    if tags:
        await transaction.run("add_tags", ids=[id for id, _ in tags], tags=[text for _, text in tags])


async def retag_within(transaction: Transaction, changes: Mapping[str, Mapping[str, str | None]]) -> int:
    """Gives instances other tags: those named, by their ids; None takes one away. Returns how many there are."""
    if not changes:
        return 0
    known = await transaction.rows("read_tags", ids=sorted(changes))
    ids = [row[0] for row in known]
    tags = [merged(row[1], changes[row[0]]) for row in known]
    await transaction.run("forget_tags", ids=ids)
    await transaction.run("write_tags", ids=ids, tags=tags)
    await transaction.run("add_tags", ids=ids, tags=tags)
    return len(ids)


async def retag_by(transaction: Transaction, written: Sequence[Settlement]) -> None:
    """Gives the tags that outcomes of this transaction have recorded."""
    await retag_within(transaction, merged_by(written))
