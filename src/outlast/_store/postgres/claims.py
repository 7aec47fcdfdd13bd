"""Taking work and giving back what came of it. Every write is fenced by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from outlast._kernel.states import RUNNING
from outlast._model import Claim, Committed, Settlement, Taken
from outlast._store.contract import CRASHES_ANY
from outlast._store.postgres.columns import named_columns
from outlast._store.postgres.desk import Desk
from outlast._store.postgres.effects import fences, settle_within
from outlast._store.postgres.journal import entry_columns
from outlast._store.postgres.limits import admit
from outlast._store.rows import committed_of
from outlast._store.turns import fair_share, turned

_id = attrgetter("id")
_short = attrgetter("status", "attempt", "result", "error", "delay_s", "retention_s")
_SHORT_COLUMNS: Final = ("statuses", "attempts", "results", "errors", "delays_s", "retentions_s")
_COMMIT_COLUMNS: Final = (
    "ids",
    "epochs",
    "statuses",
    "attempts",
    "results",
    "errors",
    "delays_s",
    "retentions_s",
    "steps",
    "states",
    "versions",
    "deadlines_s",
    "commits",
    "awaits",
    "wakes_s",
    "consumed",
    "shown",
    "children",
    "needs",
    "concurrency_keys",
    "rate_limits",
    "rate_weights",
    "parents",
    "rounds",
    "frees",
    "entries",
    "started",
)
"""The fields of a settlement, in their order, by the names of the arrays that `commit` takes."""


class Claims:
    """See `contract.Claims`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def take(
        self,
        queue: str,
        node: str,
        known: Sequence[str],
        limit: int,
        grace_s: float,
        crashes_max: int = CRASHES_ANY,
        fair_after: str | None = None,
    ) -> Taken:
        desk = self._desk
        wanted = {
            "queue": queue,
            "node": node,
            "known": known,
            "crashes_max": crashes_max,
            "grace_s": grace_s,
            "now": desk.now(),
        }
        claims: list[Claim] = []
        last = fair_after
        share = 0 if fair_after is None else fair_share(limit, desk.world.dice)
        if share:
            found = await desk.change("take_fair", **wanted, take_max=share, after=fair_after)
            claims = [Claim(*row[:-1]) for row in found]
            last = found[-1][-1] if found else None
        there = last is not None
        if len(claims) < limit:
            rows = await desk.change("take", **wanted, take_max=limit - len(claims))
            there = rows[0][-1]
            claims += [Claim(*row[:-1]) for row in rows if row[0] is not None]
        if there and len(claims) < limit:  # the others left something over.
            left = limit - len(claims)
            found = await desk.change("take_fair", **wanted, take_max=left, after=last or "")
            claims += [Claim(*row[:-1]) for row in found]
            last = found[-1][-1] if found else None
        taken = await admit(desk, claims)
        return turned(taken, limit, last if last is not None else "" if there else None)

    async def commit(self, batch: Sequence[Settlement]) -> Committed:
        if not batch:
            return Committed([], [])
        desk = self._desk
        if all(item.is_plain for item in batch):
            changed = await desk.run("commit", **_short_columns(batch), now=desk.now())
        elif all(item.is_short for item in batch):
            values = {**_short_columns(batch), **entry_columns(batch), "now": desk.now()}
            ((changed,),) = await desk.change("commit_and_record", **values, held=False)
            if changed < len(batch) and any(item.status == RUNNING for item in batch):
                await desk.change("commit_and_record", **values, held=True)  # of what is paused.
        else:
            if any(item.has_effects for item in batch):
                others = [item for item in batch if not item.only_records]
                values = _columns(others) if others else {}
                return await desk.transact(lambda transaction: settle_within(transaction, batch, values))
            values = _columns(batch)
            changed = await desk.run("commit_full", **values, held=False, now=desk.now())
            if changed < len(batch) and any(item.status == RUNNING for item in batch):
                await desk.run("commit_full", **values, held=True, now=desk.now())  # of what is paused.
        if changed == len(batch):
            return Committed([], [])
        return committed_of(batch, await desk.rows("settled", **fences(batch)), ())

    async def release(self, claims: Sequence[tuple[str, int]]) -> None:
        if claims:
            ids, epochs = zip(*sorted(claims), strict=True)
            await self._desk.run("release", ids=ids, epochs=epochs)

    async def owned(self, node: str) -> list[tuple[str, int, bool]]:
        return [(id, epoch, paused) for id, epoch, paused in await self._desk.rows("owned", node=node)]

    async def report(self, reports: Sequence[tuple[str, int, float, str]]) -> None:
        if reports:
            ids, epochs, fractions, notes = zip(*sorted(reports), strict=True)
            await self._desk.run("report", ids=ids, epochs=epochs, fractions=fractions, notes=notes)


def _short_columns(batch: Sequence[Settlement]) -> dict[str, Any]:
    rows = named_columns(_SHORT_COLUMNS, map(_short, sorted(batch, key=_id)))
    return {**rows, **fences(batch)}


def _columns(batch: Sequence[Settlement]) -> dict[str, Any]:
    # Two batches that lock the same rows in the same order cannot wait for each other in a circle.
    values = named_columns(_COMMIT_COLUMNS, map(astuple, sorted(batch, key=_id)))
    if (awaits := values["awaits"]) is not None:
        values["awaits"] = tuple(None if names is None else _json(names) for names in awaits)
    return values


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
