"""Calls that travel through the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import astuple

from outlast._model import Answer, NewCall, Posted, WaitingCall
from outlast._store import parts
from outlast._store.postgres.columns import is_id
from outlast._store.postgres.desk import Desk, Transaction

_LOOKS_MAX: Final = 5
_COLUMNS: Final = (
    "calls",
    "types",
    "ids",
    "handlers",
    "args",
    "senders",
    "keys",
    "chains",
    "timeouts_s",
    "keeps_s",
)
"""The fields of a new call, in their order, by the names of the arrays that `post` takes."""


class Calls:
    """See `contract.Calls`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def post(self, calls: Sequence[NewCall]) -> list[Posted]:
        desk = self._desk
        found: dict[int, Posted] = {}
        left = list(range(len(calls)))
        for _ in range(_LOOKS_MAX):
            if not left:
                break
            rows = await desk.change("post", **_columns([calls[n] for n in left]), now=desk.now())
            met: list[tuple[int, str | None]] = []
            for n, (_, is_new, node) in zip(left, rows, strict=True):
                if is_new or calls[n].key is None:
                    found[n] = Posted(calls[n].call, node)
                else:
                    met.append((n, node))
            known = await _keyed(desk, [calls[n] for n, _ in met]) if met else {}
            again: dict[str, NewCall] = {}
            for n, node in met:
                if call := known.get((calls[n].type, calls[n].id, calls[n].key)):
                    found[n] = Posted(call, node)
                    if call != calls[n].call:
                        again[call] = calls[n]
            if again:
                await _revive(desk, again)
            left = [n for n, _ in met if n not in found]  # Their key was let go of at that very moment.
        return [found.get(n) or Posted(call.call, None) for n, call in enumerate(calls)]

    async def waiting(self, node: str, types: Sequence[str], limit: int) -> list[WaitingCall]:
        desk = self._desk
        found = await desk.rows("waiting_calls", node=node, types=list(types), list_max=limit, now=desk.now())
        return [WaitingCall(*row) for row in found]

    async def answers(self, calls: Sequence[str]) -> list[Answer]:
        known = [call for call in calls if is_id(call)]
        return [Answer(*row) for row in await self._desk.rows("answers", calls=known)] if known else []

    async def drop(self, calls: Sequence[str]) -> None:
        if known := sorted(call for call in calls if is_id(call)):
            await self._desk.run("drop_calls", calls=known)

    async def prune(self, limit: int) -> int:
        return await self._desk.run("prune_calls", prune_max=limit, now=self._desk.now())


async def _keyed(desk: Desk, calls: Sequence[NewCall]) -> dict[tuple[str, str, str | None], str]:
    """The calls that have the keys of these, by type, id and key."""
    rows = await desk.rows(
        "find_keyed",
        types=[call.type for call in calls],
        ids=[call.id for call in calls],
        keys=[call.key for call in calls],
    )
    return {(type, id, key): call for type, id, key, call in rows if call is not None}


async def _revive(desk: Desk, again: Mapping[str, NewCall]) -> None:
    """Calls are made again: each by the one that has its key."""
    ordered = sorted(again.items())
    await desk.run(
        "revive_calls",
        calls=[call for call, _ in ordered],
        senders=[new.sender for _, new in ordered],
        timeouts_s=[new.timeout_s for _, new in ordered],
        keeps_s=[new.keep_s for _, new in ordered],
        late_s=parts.LATE_KEPT_S,
        now=desk.now(),
    )


async def post_within(transaction: Transaction, calls: Sequence[NewCall]) -> None:
    """Stores calls within a transaction."""
    await transaction.rows("post", **_columns(calls), now=transaction.now)


async def answer_within(transaction: Transaction, answers: Sequence[parts.Row]) -> None:
    """Stores answers (call, type, id, result, error) within a transaction."""
    calls, types, ids, results, errors = zip(*answers, strict=True)
    await transaction.run(
        "answer_calls",
        calls=calls,
        types=types,
        ids=ids,
        results=results,
        errors=errors,
        kept_s=parts.ANSWER_KEPT_S,
        now=transaction.now,
    )


def _columns(calls: Sequence[NewCall]) -> dict[str, Any]:
    """Calls as `post` takes them."""
    columns: dict[str, Any] = dict(zip(_COLUMNS, zip(*map(astuple, calls), strict=True), strict=True))
    columns["late_s"] = parts.LATE_KEPT_S
    return columns
