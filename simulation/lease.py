"""The lease of a simulated process: renewed on a loop of its own, which stands for the thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from outlast._runtime.node import Node


class SimulatedNode(Node):
    """See `Node`; only its thread is another."""

    _pulse: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._register()
        lane: Any = self._world.lease_lane  # type: ignore[attr-defined]
        lane.call_soon(self._begin, lane)

    def _begin(self, lane: asyncio.AbstractEventLoop) -> None:
        self._pulse = lane.create_task(self._beat())

    async def _beat(self) -> None:
        wait_s = self._renew_s
        desk: Any = self._leases._desk  # type: ignore[attr-defined]
        while True:
            await asyncio.sleep(wait_s)
            if self._stop.is_set():
                return
            node, asked_at = self.id, self._world.monotonic()
            text, values = desk.text("renew"), {"node": node, "now_us": desk.now_us()}
            try:
                changed = await desk.writer.write(_counting(text, values))
            except Exception as error:
                wait_s = self._missed(error)
            else:
                wait_s = self._answered(node, asked_at, alive=changed == 1)

    async def join(self) -> None:
        if self._pulse is not None:
            self._pulse.get_loop().call_soon_threadsafe(self._pulse.cancel)


def _counting(text: str, values: dict[str, Any]) -> Callable[[Any], int]:
    def renew(connection: Any) -> int:
        count: int = connection.execute(text, values).rowcount
        return count

    return renew
