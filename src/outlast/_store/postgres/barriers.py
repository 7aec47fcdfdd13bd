"""Parents that wait for their children."""

from __future__ import annotations

from collections.abc import Sequence

from outlast._store.postgres.desk import Transaction


async def lower(transaction: Transaction, ended: Sequence[str]) -> set[str]:
    """Tells parents that these of their children have ended. Returns queues of those that this wakes."""
    if not ended:
        return set()
    await transaction.rows("lock_parents", ids=ended)
    rows = await transaction.rows("lower", ids=ended, now=transaction.now)
    return {row[0] for row in rows if row[0] is not None}
