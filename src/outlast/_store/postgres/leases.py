"""Signs of life. A node without a row is dead."""

from __future__ import annotations

import asyncio
from typing import Any

from outlast._kernel.failures import reason_text
from outlast._kernel.states import QUARANTINED
from outlast._model import Beat, Node, Reclaimed
from outlast._store.postgres.desk import Desk
from outlast._store.postgres.faults import translated
from outlast._store.postgres.links import Links, disconnect
from outlast.errors import StoreUnavailable


class Leases:
    """See `contract.Leases`."""

    def __init__(self, desk: Desk, links: Links, patience_s: float) -> None:
        self._desk = desk
        self._links = links
        self._patience_s = patience_s

    async def register(self, node: str, host: str, pid: int, lease_s: float) -> None:
        await self._desk.run("register", node=node, host=host, pid=pid, lease_s=lease_s, now=self._desk.now())

    async def beats(self) -> list[Beat]:
        return [Beat(*row) for row in await self._desk.rows("beats")]

    async def bury(self, node: str, beat: int) -> bool:
        return await self._desk.run("bury", node=node, beat=beat) == 1

    async def retire(self, node: str) -> None:
        await self._desk.run("retire", node=node)

    async def reclaim(self, limit: int, max_crashes: int, *, overdue: bool = True) -> Reclaimed:
        desk = self._desk
        error = crashed_out(max_crashes)
        moved = await desk.change(
            "reclaim", reclaim_max=limit, max_crashes=max_crashes, error=error, overdue=overdue, now=desk.now()
        )
        out = sum(count for _, status, count in moved if status == QUARANTINED)
        total = sum(count for _, _, count in moved)
        return Reclaimed(total - out, out, sorted({queue for queue, _, _ in moved}))

    async def nodes(self) -> list[Node]:
        return [Node(*row) for row in await self._desk.rows("nodes")]

    def renewer(self) -> Renewer:
        return Renewer(self._desk, self._links, self._patience_s)


class Renewer:
    """See `contract.Renewer`.

    It has an event loop of its own, which only runs during a call, and a connection of its own: neither a blocked loop
    nor busy pools can keep a lease from being renewed. The connection is made at the first call, and anew after
    trouble.

    Args:
        patience_s: Seconds that connecting or renewing may take, each.
    """

    def __init__(self, desk: Desk, links: Links, patience_s: float) -> None:
        self._desk = desk
        self._links = links
        self._patience_s = patience_s
        self._runner: asyncio.Runner | None = None
        self._connection: Any = None

    def renew(self, node: str) -> bool:
        if self._links.closed:
            raise StoreUnavailable("the Postgres store is closed")
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self._renew(node))

    async def _renew(self, node: str) -> bool:
        statement = self._desk.sql["renew"]
        values = {"node": node, "now": self._desk.now()}
        fresh = False
        while True:
            if self._connection is None:
                self._connection = await self._links.connect("lease", timeout_s=self._patience_s)
                fresh = True
            try:
                ordered = [values[key] for key in statement.parameters]
                tag: str = await self._connection.execute(statement.numbered, *ordered)
                return tag.endswith(" 1")
            except Exception as error:
                self._connection.terminate()
                self._connection = None
                made = translated(error)
                # A connection that was lost since the last call deserves a new one at once: leases are short.
                if fresh or not isinstance(made, StoreUnavailable) or isinstance(error, TimeoutError):
                    raise made from error

    def close(self) -> None:
        if self._runner is None:
            return
        if self._connection is not None:
            self._runner.run(disconnect(self._connection))
            self._connection = None
        self._runner.close()
        self._runner = None


def crashed_out(max_crashes: int) -> str:
    """The error kept with an instance whose process died too often."""
    return reason_text(
        f"its process died {max_crashes} times while holding it; `outlast retry` runs it again", kind="Crashed"
    )
