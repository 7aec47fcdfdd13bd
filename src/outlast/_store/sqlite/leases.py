"""Signs of life. A node without a row is dead."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from outlast._kernel.failures import reason_text
from outlast._model import Beat, Node, Reclaimed
from outlast._store.sqlite.desk import Desk, scalar
from outlast._world import instant


class Leases:
    """See `contract.Leases`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def register(self, node: str, host: str, pid: int, lease_s: float) -> None:
        values = {"node": node, "host": host, "pid": pid, "lease_s": lease_s}
        await self._desk.run("register", now_us=self._desk.now_us(), **values)

    async def beats(self) -> list[Beat]:
        return [Beat(*row) for row in await self._desk.rows("beats")]

    async def bury(self, node: str, beat: int) -> bool:
        return await self._desk.run("bury", node=node, beat=beat) == 1

    async def retire(self, node: str) -> None:
        await self._desk.run("retire", node=node)

    async def reclaim(self, limit: int, max_crashes: int, *, overdue: bool = True) -> Reclaimed:
        desk = self._desk
        find, move = desk.text("find_lost"), desk.text("reclaim")

        def reclaim(connection: sqlite3.Connection) -> list[list[Any]]:
            text = scalar(connection, find, {"now_us": desk.now_us(), "limit": limit, "overdue": overdue})
            if text == "[]":
                return []
            values = {"lost": text, "max_crashes": max_crashes, "error": crashed_out(max_crashes)}
            connection.execute(move, values)
            lost: list[list[Any]] = msgspec.json.decode(text)
            return lost

        # Looked for outside the transaction first: a round that finds nothing must not take the write lock.
        seen = await desk.rows("find_lost", now_us=desk.now_us(), limit=1, overdue=overdue)
        lost = await desk.writer.write(reclaim) if seen[0][0] != "[]" else []
        out = sum(crashes + 1 >= max_crashes for _, _, _, crashes in lost)
        return Reclaimed(len(lost) - out, out, sorted({queue for _, _, queue, _ in lost}))

    async def nodes(self) -> list[Node]:
        return [
            Node(id, host, pid, instant(started), instant(renewed), lease_s, running)
            for id, host, pid, started, renewed, lease_s, running in await self._desk.rows("nodes")
        ]

    def renewer(self) -> Renewer:
        return Renewer(self._desk)


class Renewer:
    """See `contract.Renewer`. The writer is a thread of its own already, so its connection serves."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def renew(self, node: str) -> bool:
        text, values = self._desk.text("renew"), {"node": node, "now_us": self._desk.now_us()}
        changed: int = self._desk.writer.write_blocking(lambda connection: connection.execute(text, values).rowcount)
        return changed == 1

    def close(self) -> None:
        """Nothing to let go of."""


def crashed_out(max_crashes: int) -> str:
    """The error kept with an instance whose process died too often."""
    return reason_text(
        f"its process died {max_crashes} times while holding it; `outlast retry` runs it again",
        kind="Crashed",
    )
