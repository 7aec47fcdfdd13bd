"""Taking work and giving back what came of it. Every write is fenced by epoch."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from outlast._kernel.states import RUNNING
from outlast._model import Claim, Committed, Settlement, Taken
from outlast._store.contract import CRASHES_ANY
from outlast._store.rows import committed_of
from outlast._store.sqlite.desk import Desk, scalar
from outlast._store.sqlite.effects import write_effects
from outlast._store.sqlite.fair import take_fair
from outlast._store.sqlite.limits import admit_within
from outlast._store.turns import fair_share, turned

_claims = msgspec.json.Decoder(list[Claim])
_plain = attrgetter("id", "epoch", "status", "attempt", "result", "error", "delay_s", "retention_s", "commits")
_UNREAD: Final = tuple(Settlement.__struct_fields__.index(name) for name in ("children", "entries", "started"))


class _Fence(msgspec.Struct, array_like=True, gc=False):
    """Which claim an outcome is of. Thousands of tuples a second would keep the garbage collector busy."""

    id: str
    epoch: int
    commits: int | None


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
        wanted = {"queue": queue, "node": node, "known": _json(known), "crashes_max": crashes_max}
        probe, take, mark = desk.text("probe_ready"), desk.text("take"), desk.text("mark_taken")

        def has_work(connection: sqlite3.Connection) -> Any:
            return connection.execute(probe, {"queue": queue}).fetchone()

        def claim(connection: sqlite3.Connection) -> Taken:
            claims: list[Claim] = []

            def mark_taken(text: str) -> None:
                if text != "[]":
                    values = {"claims": text, "node": node, "now_us": desk.now_us(), "grace_s": grace_s}
                    connection.execute(mark, values)
                    claims.extend(_claims.decode(text))

            share = 0 if fair_after is None else fair_share(limit, desk.world.dice)
            last = fair_after
            if share:
                text, last = take_fair(connection, desk, wanted, fair_after or "", share)
                mark_taken(text)
            if len(claims) < limit:
                text, there = connection.execute(take, wanted | {"limit": limit - len(claims)}).fetchone()
                mark_taken(text)
                last = (last or "") if there else None
            if last is not None and len(claims) < limit:  # the others left something over.
                text, last = take_fair(connection, desk, wanted, last, limit - len(claims))
                mark_taken(text)
            return turned(admit_within(connection, desk, claims), limit, last)

        taken: Taken | None = await desk.writer.write(claim, probe=has_work)
        return Taken([], seen=0) if taken is None else taken

    async def commit(self, batch: Sequence[Settlement]) -> Committed:
        desk = self._desk
        is_plain, now_us = all(item.is_plain for item in batch), desk.now_us()
        fences = "" if is_plain else _json([_fence(item) for item in batch])
        recorded = "" if is_plain else _json([_fence(item) for item in batch if item.only_records])
        others = [_plain(item) if is_plain else _columns(item) for item in batch if not item.only_records]
        has_effects = not is_plain and any(item.has_effects for item in batch)
        text = _json(others)

        def write(connection: sqlite3.Connection) -> Committed:
            queues, ours = set[str](), set[str]()
            if has_effects:
                ours.update(msgspec.json.decode(scalar(connection, desk.text("find_ours"), {"fences": fences})))

            def write_rows(*, held: bool) -> int:
                changed = 0
                if len(others) < len(batch):
                    values: dict[str, Any] = {"fences": recorded, "held": held}
                    changed += connection.execute(desk.text("commit_recorded"), values).rowcount
                if others:
                    commit = desk.text("commit" if is_plain else "commit_full")
                    values = {"batch": text, "held": held, "now_us": now_us}
                    changed += connection.execute(commit, values).rowcount
                return changed

            is_whole = write_rows(held=False) == len(batch)
            if not is_whole and any(item.status == RUNNING for item in batch):
                write_rows(held=True)  # of what is paused.
            if ours:
                queues = write_effects(connection, desk, [item for item in batch if item.id in ours], now_us)
            if is_whole:
                return Committed([], sorted(queues))
            named = fences or _json([_fence(item) for item in batch])
            return committed_of(batch, connection.execute(desk.text("settled"), {"fences": named}), queues)

        committed: Committed = await desk.writer.write(write)
        return committed

    async def release(self, claims: Sequence[tuple[str, int]]) -> None:
        await self._desk.run("release", claims=_json(claims))

    async def owned(self, node: str) -> list[tuple[str, int, bool]]:
        return [(id, epoch, bool(paused)) for id, epoch, paused in await self._desk.rows("owned", node=node)]

    async def report(self, reports: Sequence[tuple[str, int, float, str]]) -> None:
        await self._desk.run("report", reports=_json(reports))


def _fence(item: Settlement) -> _Fence:
    return _Fence(item.id, item.epoch, item.commits)


def _columns(item: Settlement) -> list[Any]:
    """The fields of a settlement in their order; those that only Python reads are left empty."""
    values = list(astuple(item))
    for place in _UNREAD:
        values[place] = None
    return values


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
