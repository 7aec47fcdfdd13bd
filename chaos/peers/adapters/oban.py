"""Oban for Python, with its lifeline, which is always on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from oban import Oban, job
from oban.schema import install

from chaos.peers import duty
from chaos.peers.adapters import CONCURRENCY, SHORT_S


@job(queue="default")
async def do(number: int) -> None:
    """The job."""
    await duty.do(number)


class Adapter:
    """Jobs are given up by their age: at the defaults, or when they are a few seconds old."""

    PACKAGES = ("oban", "psycopg")
    OPEN = "SELECT count(*) FROM oban_jobs WHERE state <> 'completed'"

    def __init__(self, short: bool) -> None:
        self._lifeline = {"interval": 1.0, "rescue_after": float(SHORT_S)} if short else {}
        self.settings = f"a queue with limit {CONCURRENCY}; lifeline: " + (
            f"`interval=1`, `rescue_after={SHORT_S}`" if short else "defaults (`interval=60`, `rescue_after=300`)"
        )

    def prepare(self, url: str) -> None:
        """Installs the schema."""

        async def make() -> None:
            pool = await Oban.create_pool(url)
            await install(pool)
            await pool.close()

        asyncio.run(make())

    def submit(self, url: str, numbers: Sequence[int]) -> None:
        """Enqueues all in one call."""

        async def enqueue() -> None:
            pool = await Oban.create_pool(url)
            async with Oban(pool=pool) as oban:
                await oban.enqueue_many([do.new(number) for number in numbers])
            await pool.close()

        asyncio.run(enqueue())

    def work(self, url: str, place: int) -> None:
        """One instance with its queue."""

        async def run() -> None:
            pool = await Oban.create_pool(url)
            async with Oban(pool=pool, queues={"default": CONCURRENCY}, lifeline=self._lifeline):
                await asyncio.Event().wait()

        asyncio.run(run())
