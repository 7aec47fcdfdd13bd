"""DBOS, self-hosted, without its Conductor service: whoever starts under an executor's name recovers its workflows."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from dbos import DBOS, DBOSClient

from chaos.peers import duty
from chaos.peers.adapters import CONCURRENCY


@DBOS.workflow(name="work")
async def work(number: int) -> None:
    """A workflow with one step, which is the job."""
    await step(number)


@DBOS.step(name="step")
async def step(number: int) -> None:
    """The job."""
    await duty.do(number)


class Adapter:
    """A registered queue; defaults, but for the limit of a worker."""

    PACKAGES = ("dbos", "sqlalchemy", "psycopg")
    OPEN = "SELECT count(*) FROM dbos.workflow_status WHERE status <> 'SUCCESS'"

    def __init__(self, short: bool) -> None:
        self.settings = (
            f"a queue with `worker_concurrency={CONCURRENCY}`, polled every second (default); an `executor_id` per"
            " worker, which its replacement has, too; no Conductor"
        )

    def prepare(self, url: str) -> None:
        """Migrates, and registers the queue."""
        self._launch(url, "preparing")
        DBOS.register_queue("jobs", worker_concurrency=CONCURRENCY)
        DBOS.destroy()

    def submit(self, url: str, numbers: Sequence[int]) -> None:
        """Enqueues one after another, by the client."""
        client = DBOSClient(system_database_url=url)
        for number in numbers:
            client.enqueue({"queue_name": "jobs", "workflow_name": "work"}, number)
        client.destroy()

    def work(self, url: str, place: int) -> None:
        """Its own threads do the work."""
        self._launch(url, f"worker-{place}")
        threading.Event().wait()

    def _launch(self, url: str, executor: str) -> None:
        DBOS(config={"name": "peers", "system_database_url": url, "executor_id": executor, "log_level": "WARNING"})
        DBOS.launch()
