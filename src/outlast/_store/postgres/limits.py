"""Concurrency keys and rate limits: what lets claims through, and what opens gates again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from outlast._kernel.limits import KEY, RATE, Verdict, decide, denials, free_slots, limit_name
from outlast._model import Claim, RateRow, Taken
from outlast._store.postgres.desk import Desk, Transaction
from outlast._store.strays import find_strays

OPEN_MAX: Final = 1_000
"""Rows of one line that a rate limit lets try at once."""


class Limits:
    """See `contract.Limits`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def declare(self, node: str, slots: Mapping[str, int], rates: Sequence[RateRow]) -> None:
        await self._desk.run("declare", node=node, names=list(slots), slots=list(slots.values()))
        if rates:
            await self._desk.run(
                "declare_rates",
                names=[rate.name for rate in rates],
                allowed=[rate.allowed for rate in rates],
                periods_s=[rate.period_s for rate in rates],
                bursts=[rate.burst for rate in rates],
            )

    async def slots(self) -> dict[str, int]:
        return dict(await self._desk.rows("gates"))

    async def rates(self) -> list[RateRow]:
        return [RateRow(*row) for row in await self._desk.rows("rates")]

    async def open(self, gates: Iterable[str]) -> list[str]:
        wanted = sorted(set(gates))
        keys = [gate.removeprefix(KEY) for gate in wanted if gate.startswith(KEY)]
        rates = [gate.removeprefix(RATE) for gate in wanted if gate.startswith(RATE)]
        queues: set[str] = set()
        if keys:
            queues |= await self._desk.transact(lambda transaction: _open_keys(transaction, keys))
        if rates:
            queues |= await self._desk.transact(lambda transaction: _open_rates(transaction, rates))
        return sorted(queues)

    async def open_due(self, limit: int) -> list[str]:
        async def open_due(transaction: Transaction) -> set[str]:
            found = await transaction.rows("lock_due_buckets", bucket_max=limit, now=transaction.now)
            return await _open_rates(transaction, sorted(row[0] for row in found)) if found else set()

        return sorted(await self._desk.transact(open_due))

    async def sweep(self, after: str, limit: int) -> tuple[list[str], str]:
        found = [row[0] for row in await self._desk.rows("find_gates", after=after, gate_max=limit)]
        if not found:
            return [], ""
        return await self.open(found), found[-1] if len(found) == limit else ""

    async def strays(self, limit: int) -> list[str]:
        known = {rate.name for rate in await self.rates()}
        return await find_strays(known, lambda after: self._desk.rows("find_gates", after=after, gate_max=limit), limit)

    async def prune(self, after: str, limit: int) -> tuple[int, str]:
        desk = self._desk
        rows = await desk.change("prune_buckets", after=after, bucket_max=limit, now=desk.now())
        deleted, seen, last = rows[0]
        return deleted, last if seen == limit else ""


async def _open_keys(transaction: Transaction, keys: Sequence[str]) -> set[str]:
    await transaction.rows("lock_keys", keys=keys)
    rows = await transaction.rows("open_keys", keys=keys, names=[limit_name(key) for key in keys])
    return {row[0] for row in rows}


async def _open_rates(transaction: Transaction, rates: Sequence[str]) -> set[str]:
    names = [limit_name(rate) for rate in rates]
    found = await transaction.rows("lock_buckets", rate_limits=rates, names=names, now=transaction.now)
    if not found:
        return set()
    known, tokens = [row[0] for row in found], [row[1] for row in found]
    rows = await transaction.rows("open_rates", rate_limits=known, tokens=tokens, open_max=OPEN_MAX)
    await transaction.run("sleep_buckets", rate_limits=known, names=[limit_name(rate) for rate in known])
    return {row[0] for row in rows}


async def admit(desk: Desk, taken: Sequence[Claim]) -> Taken:
    """Lets claims through that no limit holds back. The others are given back, blocked."""
    limited = [claim for claim in taken if claim.concurrency_key is not None or claim.rate_limit is not None]
    if not limited:
        return Taken(taken, seen=len(taken))
    verdict = await desk.transact(lambda transaction: _judge(transaction, limited))
    through = [claim for claim in taken if claim not in limited or claim.id in verdict.slots]
    return Taken(through, seen=len(taken), denied=denials(verdict))


async def _judge(transaction: Transaction, limited: Sequence[Claim]) -> Verdict:
    keys = sorted({claim.concurrency_key for claim in limited if claim.concurrency_key is not None})
    rates = sorted({claim.rate_limit for claim in limited if claim.rate_limit is not None})
    free: dict[str, list[int]] = {}
    tokens: dict[str, float] = {}
    if keys:
        await transaction.rows("lock_keys", keys=keys)
        rows = await transaction.rows("free_slots", keys=keys, names=[limit_name(key) for key in keys])
        free = {key: free_slots(used, slots) for key, slots, used in rows}
    if rates:
        names = [limit_name(rate) for rate in rates]
        tokens = dict(await transaction.rows("lock_buckets", rate_limits=rates, names=names, now=transaction.now))
    verdict = decide(limited, free, tokens)
    await _write(transaction, limited, verdict)
    return verdict


async def _write(transaction: Transaction, limited: Sequence[Claim], verdict: Verdict) -> None:
    granted = [claim for claim in limited if claim.id in verdict.slots]
    if granted:
        rows = await transaction.rows(
            "grant",
            ids=[claim.id for claim in granted],
            epochs=[claim.epoch for claim in granted],
            slots=[verdict.slots[claim.id] for claim in granted],
        )
        for id in verdict.slots.keys() - {row[0] for row in rows}:  # taken away from us meanwhile.
            del verdict.slots[id]
    denied = [claim for claim in limited if claim.id in verdict.denied]
    if denied:
        await transaction.run(
            "deny",
            ids=[claim.id for claim in denied],
            epochs=[claim.epoch for claim in denied],
            gates=[verdict.denied[claim.id] for claim in denied],
        )
    if rates := sorted(verdict.spent.keys() | verdict.wanted.keys()):
        await transaction.run(
            "spend",
            rate_limits=rates,
            names=[limit_name(rate) for rate in rates],
            spent=[verdict.spent.get(rate, 0.0) for rate in rates],
            wanted=[verdict.wanted.get(rate) for rate in rates],
        )
