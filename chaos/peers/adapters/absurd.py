"""Absurd: a claim ends by itself after a while, and its task is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg
from absurd_sdk import AsyncAbsurd
from absurdctl import BUNDLED_SCHEMA_SQL

from chaos.peers import duty
from chaos.peers.adapters import CONCURRENCY, SHORT_S


class Adapter:
    """Claims of two minutes, which is the default, or of a few seconds."""

    PACKAGES = ("absurd-sdk", "absurdctl", "psycopg")
    OPEN = "SELECT count(*) FROM absurd.t_jobs WHERE state <> 'completed'"

    def __init__(self, short: bool) -> None:
        self._claim = {"claim_timeout": SHORT_S} if short else {}
        self.settings = (
            f"`concurrency={CONCURRENCY}`; `claim_timeout="
            + (f"{SHORT_S}`" if short else "120` (default)")
            + ", `max_attempts=5` (default), polled every 0.25 s (default)"
        )

    def prepare(self, url: str) -> None:
        """Runs the schema that its tool brings along, and makes the queue."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(BUNDLED_SCHEMA_SQL)

        async def make() -> None:
            app = AsyncAbsurd(url, queue_name="jobs")
            await app.create_queue("jobs")
            await app.close()

        asyncio.run(make())

    def submit(self, url: str, numbers: Sequence[int]) -> None:
        """Spawns one after another: it has no call for many."""

        async def spawn() -> None:
            app = AsyncAbsurd(url, queue_name="jobs")
            for number in numbers:
                await app.spawn("do", {"number": number}, queue="jobs")
            await app.close()

        asyncio.run(spawn())

    def work(self, url: str, place: int) -> None:
        """One worker."""

        async def run() -> None:
            app = AsyncAbsurd(url, queue_name="jobs")

            @app.register_task(name="do")
            async def do(params: dict[str, int], context: object) -> None:
                await duty.do(params["number"])

            await app.start_worker(concurrency=CONCURRENCY, **self._claim)

        asyncio.run(run())
