"""Procrastinate, with the periodic task for stalled jobs that its documentation recommends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from procrastinate import App, PsycopgConnector

from chaos.peers import duty
from chaos.peers.adapters import CONCURRENCY, SHORT_S


class Adapter:
    """The task for stalled jobs every ten minutes as in the documentation, or every second."""

    PACKAGES = ("procrastinate", "psycopg")
    OPEN = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'do' AND status <> 'succeeded'"

    def __init__(self, short: bool) -> None:
        self._cron, self._silence_s = ("* * * * * */1", SHORT_S) if short else ("*/10 * * * *", 30)
        self._heartbeat = {"update_heartbeat_interval": 1, "stalled_worker_timeout": SHORT_S} if short else {}
        self.settings = f"`concurrency={CONCURRENCY}`; `retry_stalled_jobs` " + (
            f"every second, `seconds_since_heartbeat={SHORT_S}`, `stalled_worker_timeout={SHORT_S}`,"
            " `update_heartbeat_interval=1`"
            if short
            else "as in the documentation: `*/10 * * * *`, heartbeats at the defaults (10 s, stalled after 30 s)"
        )

    def prepare(self, url: str) -> None:
        """Applies the schema."""

        async def apply() -> None:
            async with self._app(url).open_async() as app:
                await app.schema_manager.apply_schema_async()

        asyncio.run(apply())

    def submit(self, url: str, numbers: Sequence[int]) -> None:
        """Defers all in one call."""

        async def defer() -> None:
            async with self._app(url).open_async() as app:
                await app.tasks["do"].batch_defer_async(*({"number": number} for number in numbers))

        asyncio.run(defer())

    def work(self, url: str, place: int) -> None:
        """One worker."""

        async def run() -> None:
            async with self._app(url).open_async() as app:
                await app.run_worker_async(concurrency=CONCURRENCY, **self._heartbeat)

        asyncio.run(run())

    def _app(self, url: str) -> App:
        app = App(connector=PsycopgConnector(conninfo=url))
        app.task(duty.do, name="do")

        @app.periodic(cron=self._cron)
        @app.task(name="retry_stalled_jobs", queueing_lock="retry_stalled_jobs", pass_context=True)
        async def retry_stalled_jobs(context: object, timestamp: int) -> None:
            for stalled in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=self._silence_s):
                await app.job_manager.retry_job(stalled)

        return app
