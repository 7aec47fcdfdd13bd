"""Parents that wait for their children."""

from __future__ import annotations

from collections.abc import Sequence

from outlast._store.post import news_of
from outlast._store.postgres.desk import Transaction
from outlast._store.postgres.signals import send_within


async def lower(transaction: Transaction, ended: Sequence[str]) -> set[str]:
    """Tells parents that these of their children have ended. Returns queues of those that this wakes."""
    if not ended:
        return set()
    await transaction.rows("lock_parents", ids=ended)
    rows = await transaction.rows("lower", ids=ended, now=transaction.now)
    queues = {row[0] for row in rows if row[0] is not None}
    if callers := await transaction.rows("find_callers", ids=ended):
        receipts = await send_within(transaction, [news_of(*caller) for caller in callers])
        queues |= {receipt.queue for receipt in receipts if receipt.queue is not None}
    return queues
