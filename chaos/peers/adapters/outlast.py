"""Outlast itself, by its public names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from chaos.peers import duty
from chaos.peers.adapters import CONCURRENCY, SHORT_S
from outlast import Engine, job


@job
async def do(number: int) -> None:
    """The job."""
    await duty.do(number)


class Adapter:
    """A lease of 30 s, which is the default, or of a few seconds."""

    PACKAGES = ("outlast", "asyncpg")
    OPEN = "SELECT count(*) FROM outlast.instances WHERE status <> 'done'"

    def __init__(self, short: bool) -> None:
        self._lease: dict[str, Any] = {"lease": float(SHORT_S)} if short else {}
        self.settings = f"concurrency {CONCURRENCY}; " + (f"`lease={SHORT_S}`" if short else "defaults (`lease=30`)")

    def prepare(self, url: str) -> None:
        """Makes the tables."""
        asyncio.run(Engine(url).migrate())

    def submit(self, url: str, numbers: Sequence[int]) -> None:
        """Starts all in one call."""

        async def start() -> None:
            async with Engine(url, queues={}) as engine:
                await engine.start_many(do.new(number=number) for number in numbers)

        asyncio.run(start())

    def work(self, url: str, place: int) -> None:
        """One engine."""

        async def run() -> None:
            async with Engine(url, queues={"default": CONCURRENCY}, **self._lease):
                await asyncio.Event().wait()

        asyncio.run(run())
