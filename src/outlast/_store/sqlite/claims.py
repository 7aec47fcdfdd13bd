"""Taking work and giving back what came of it. Every write is fenced by epoch."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import astuple

from outlast._model import Claim, Settlement
from outlast._store.contract import CRASHES_ANY
from outlast._store.sqlite.desk import Desk, scalar

_claims = msgspec.json.Decoder(list[Claim])


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
    ) -> list[Claim]:
        desk = self._desk
        find = {"queue": queue, "known": _json(known), "crashes_max": crashes_max, "limit": limit}
        probe, take, mark = desk.text("probe_ready"), desk.text("take"), desk.text("mark_taken")

        def has_work(connection: sqlite3.Connection) -> Any:
            return connection.execute(probe, {"queue": queue}).fetchone()

        def claim(connection: sqlite3.Connection) -> str:
            text: str = scalar(connection, take, find)
            if text != "[]":
                values = {"claims": text, "node": node, "now_us": desk.now_us(), "grace_s": grace_s}
                connection.execute(mark, values)
            return text

        text = await desk.writer.write(claim, probe=has_work)
        return _claims.decode(text) if text else []

    async def commit(self, batch: Sequence[Settlement]) -> list[str]:
        desk = self._desk
        text = _json([astuple(item) for item in batch])
        commit, settled = desk.text("commit"), desk.text("settled")

        def write(connection: sqlite3.Connection) -> list[str]:
            changed = connection.execute(commit, {"batch": text, "now_us": desk.now_us()}).rowcount
            if changed == len(batch):
                return []
            ours = {row[0] for row in connection.execute(settled, {"batch": text})}
            return [item.id for item in batch if item.id not in ours]

        stale: list[str] = await desk.writer.write(write)
        return stale

    async def release(self, claims: Sequence[tuple[str, int]]) -> None:
        await self._desk.run("release", claims=_json(claims))

    async def owned(self, node: str) -> list[tuple[str, int]]:
        return [(id, epoch) for id, epoch in await self._desk.rows("owned", node=node)]

    async def report(self, reports: Sequence[tuple[str, int, float, str]]) -> None:
        await self._desk.run("report", reports=_json(reports))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
