"""Concurrency keys and rate limits: what lets claims through, and what opens gates again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from outlast._kernel.limits import (
    KEY,
    RATE,
    SLOTS_DEFAULT,
    Bucket,
    Verdict,
    decide,
    denials,
    free_slots,
    limit_name,
    prefix_within,
)
from outlast._model import Claim, RateRow, Taken
from outlast._store.sqlite.desk import Desk, scalar
from outlast._store.strays import find_strays

OPEN_MAX: Final = 1_000
"""Rows of one line that a rate limit lets try at once."""
Line = tuple[str, str, int]
_FIRST: Final[Line] = ("", "", -1)


class Limits:
    """See `contract.Limits`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def declare(self, node: str, slots: Mapping[str, int], rates: Sequence[RateRow]) -> None:
        desk = self._desk

        def declare(connection: sqlite3.Connection) -> None:
            connection.execute(desk.text("drop_gates"), {"node": node})
            connection.execute(desk.text("declare"), {"node": node, "limits": _json(list(slots.items()))})
            connection.execute(desk.text("declare_rates"), {"limits": _json(rates)})

        await desk.writer.write(declare)

    async def slots(self) -> dict[str, int]:
        return dict(await self._desk.rows("gates"))

    async def rates(self) -> list[RateRow]:
        return [RateRow(*row) for row in await self._desk.rows("rates")]

    async def open(self, gates: Iterable[str]) -> list[str]:
        wanted = sorted(set(gates))
        if not wanted:
            return []
        found: set[str] = await self._desk.writer.write(lambda connection: self.open_within(connection, wanted))
        return sorted(found)

    async def open_due(self, limit: int) -> list[str]:
        desk = self._desk
        values = {"now_us": desk.now_us(), "limit": limit}

        def open_due(connection: sqlite3.Connection) -> set[str]:
            due = msgspec.json.decode(scalar(connection, desk.text("due_buckets"), values))
            return self.open_within(connection, [RATE + rate for rate in due])

        found: set[str] = await desk.writer.write(open_due)
        return sorted(found)

    async def sweep(self, after: str, limit: int) -> tuple[list[str], str]:
        gates: list[str] = []
        while len(gates) < limit and (rows := await self._desk.rows("next_gate", after=gates[-1] if gates else after)):
            gates.append(rows[0][0])
        return await self.open(gates), gates[-1] if len(gates) == limit else ""

    async def strays(self, limit: int) -> list[str]:
        known = {rate.name for rate in await self.rates()}
        return await find_strays(known, lambda after: self._desk.rows("next_gate", after=after), limit)

    async def prune(self, after: str, limit: int) -> tuple[int, str]:
        desk = self._desk
        values = {"after": after, "limit": limit}

        def prune(connection: sqlite3.Connection) -> tuple[int, str]:
            text = scalar(connection, desk.text("next_buckets"), values)
            found = msgspec.json.decode(text)
            changed = connection.execute(
                desk.text("prune_buckets"), {"buckets": text, "now_us": desk.now_us()}
            ).rowcount
            return changed, found[-1] if len(found) == limit else ""

        pruned: tuple[int, str] = await desk.writer.write(prune)
        return pruned

    def open_within(self, connection: sqlite3.Connection, gates: Sequence[str]) -> set[str]:
        """Opens gates within a transaction. Returns queues that received work."""
        queues: set[str] = set()
        for gate in gates:
            opened = _open_key if gate.startswith(KEY) else _open_rate
            queues |= opened(connection, self._desk, gate)
        return queues


def _open_key(connection: sqlite3.Connection, desk: Desk, gate: str) -> set[str]:
    """Of each line as many are ready as the key has free slots; one more, where a more urgent one came."""
    key = gate.removeprefix(KEY)
    free = len(_free_slots(connection, desk, key))
    chosen: list[str] = []
    queues: set[str] = set()
    for line in _lines(connection, desk, gate) if free else ():
        ready, worst = connection.execute(desk.text("ready_keyed"), _of_line(line, limit_text=key)).fetchone()
        picked = _pick(connection, desk, gate, line, max(1, free - ready))
        if ready >= free and not (picked and worst > picked[0][2]):
            continue
        chosen += [id for id, _, _ in picked]
        queues.add(line[0])
    connection.execute(desk.text("unblock"), {"ids": _json(chosen)})
    return queues


def _open_rate(connection: sqlite3.Connection, desk: Desk, gate: str) -> set[str]:
    """Of each line as many are ready as there are tokens for."""
    rate = gate.removeprefix(RATE)
    bucket = _bucket(connection, desk, rate)
    if bucket is None:
        return set()
    chosen: list[str] = []
    queues: set[str] = set()
    for line in _lines(connection, desk, gate):
        ready = scalar(connection, desk.text("ready_rated"), _of_line(line, limit_text=rate))
        picked = _pick(connection, desk, gate, line, OPEN_MAX)
        within = prefix_within([weight for _, weight, _ in picked], bucket.tokens - ready)
        if within:
            chosen += [id for id, _, _ in picked[:within]]
            queues.add(line[0])
    connection.execute(desk.text("unblock"), {"ids": _json(chosen)})
    first = connection.execute(desk.text("first_waiting"), {"gate": gate}).fetchone()
    _fill(connection, desk, rate, bucket, None if first is None else first[0], keeps=False)
    return queues


def admit_within(connection: sqlite3.Connection, desk: Desk, taken: Sequence[Claim]) -> Taken:
    """Lets claims of this transaction through that no limit holds back. The others are given back, blocked."""
    limited = [claim for claim in taken if claim.concurrency_key is not None or claim.rate_limit is not None]
    if not limited:
        return Taken(taken, seen=len(taken))
    keys = {claim.concurrency_key for claim in limited if claim.concurrency_key is not None}
    rates = {claim.rate_limit for claim in limited if claim.rate_limit is not None}
    found = {rate: _bucket(connection, desk, rate) for rate in rates}
    buckets = {rate: bucket for rate, bucket in found.items() if bucket is not None}
    free = {key: _free_slots(connection, desk, key) for key in keys}
    verdict = decide(limited, free, {rate: bucket.tokens for rate, bucket in buckets.items()})
    _write(connection, desk, limited, verdict, buckets)
    through = [claim for claim in taken if claim.id not in verdict.denied]
    return Taken(through, seen=len(taken), denied=denials(verdict))


def _write(
    connection: sqlite3.Connection,
    desk: Desk,
    limited: Sequence[Claim],
    verdict: Verdict,
    buckets: Mapping[str, Bucket],
) -> None:
    granted = [(claim.id, claim.epoch, verdict.slots[claim.id]) for claim in limited if claim.id in verdict.slots]
    denied = [(claim.id, claim.epoch, verdict.denied[claim.id]) for claim in limited if claim.id in verdict.denied]
    connection.execute(desk.text("grant"), {"granted": _json(granted)})
    if denied:
        connection.execute(desk.text("deny"), {"denied": _json(denied)})
    for rate, bucket in buckets.items():
        left = bucket._replace(tokens=bucket.tokens - verdict.spent.get(rate, 0.0))
        _fill(connection, desk, rate, left, verdict.wanted.get(rate), keeps=True)


def _lines(connection: sqlite3.Connection, desk: Desk, gate: str) -> list[Line]:
    """The queues, programs and versions of which some wait at a gate."""
    lines: list[Line] = []
    while line := connection.execute(
        desk.text("next_line"), _of_line(lines[-1] if lines else _FIRST, gate=gate)
    ).fetchone():
        lines.append(line)
    return lines


def _pick(connection: sqlite3.Connection, desk: Desk, gate: str, line: Line, limit: int) -> list[Any]:
    found: list[Any] = msgspec.json.decode(
        scalar(connection, desk.text("pick"), _of_line(line, gate=gate, limit=limit))
    )
    return found


def _of_line(line: Line, **more: Any) -> dict[str, Any]:
    return {"queue": line[0], "program": line[1], "version": line[2], **more}


def _free_slots(connection: sqlite3.Connection, desk: Desk, key: str) -> list[int]:
    slots = scalar(connection, desk.text("slots_of"), {"name": limit_name(key)})
    used = msgspec.json.decode(scalar(connection, desk.text("used_slots"), {"key": key}))
    return free_slots(used, SLOTS_DEFAULT if slots is None else slots)


def _bucket(connection: sqlite3.Connection, desk: Desk, rate: str) -> Bucket | None:
    """A rate limit's bucket as it is now; None: nobody has said what the limit is."""
    row = connection.execute(desk.text("bucket"), {"rate_limit": rate, "name": limit_name(rate)}).fetchone()
    return None if row is None else Bucket.now(*row, now_us=desk.now_us())


def _fill(
    connection: sqlite3.Connection, desk: Desk, rate: str, bucket: Bucket, wanted: float | None, *, keeps: bool
) -> None:
    """Writes a bucket back; `wanted` is the weight of the first that waits for it. `keeps`: others may wait, too."""
    wake_us = None if wanted is None else bucket.counted_us + bucket.wait_us(wanted)
    values = {"rate_limit": rate, "tokens": bucket.tokens, "now_us": bucket.counted_us, "wake_us": wake_us}
    connection.execute(desk.text("fill"), values | {"keeps": keeps})


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
