"""`jobs`: how fast one worker process drains a queue of jobs that do nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench import children, meter
from bench.child import Stage
from bench.figures import Figures
from bench.places import Database
from bench.programs import noop
from outlast import Engine, Queue

N = 300_000
CONCURRENCY = 100
SETTINGS = f"Queue(concurrency={CONCURRENCY}), commit_batch=500"


def measure(database: Database, n: int) -> list[Figures]:
    """The drain, and the floor on a table of its own beside the engine's."""
    floor = children.play(database, f"bench.floor.{database.store}:jobs", n=n)
    children.play(database, "bench.jobs:load", n=n)
    found = children.run(database, "bench.jobs:drain", n=n)
    return [Figures(workload="jobs", store=database.store, n=n, floor=floor["per_s"], **found)]


async def load(stage: Stage, *, url: str, n: int) -> None:
    """Fills the queue."""
    async with Engine(url, queues={}) as engine:
        await stage.ask()
        await engine.start_many(noop.new() for _ in range(n))
        await stage.ask()


async def drain(stage: Stage, *, url: str, n: int) -> None:
    """Serves the queue until it is empty."""
    engine = Engine(url, queues={"default": Queue(concurrency=CONCURRENCY)})
    watched = _Drain(engine, n)
    await stage.ask()
    async with engine:
        await watched.over.wait()
        await stage.ask(**watched.facts())


class _Drain:
    """Looks over the engine's shoulder at the store: once a batch, so that single jobs pay nothing for it.

    Args:
        engine: Not open yet.
        n: Jobs in its queue.
    """

    def __init__(self, engine: Engine, n: int) -> None:
        self.over = asyncio.Event()
        self._n = self._left = n
        self._cpu_s = self._elapsed_s = self._first_claim = 0.0
        self._rss: dict[str, float | None] = {}
        claims: Any = engine._store.claims
        claims.take = self._taking(claims.take)
        claims.commit = self._committing(claims.commit)

    def facts(self) -> dict[str, Any]:
        """From the first claim to the last commit."""
        return {
            "per_s": self._n / self._elapsed_s,
            "worker_cpu_s": self._cpu_s,
            "rss_mb": meter.peak_rss_mb(),
            "more": {f"rss_{when}_mb": mb and round(mb, 1) for when, mb in self._rss.items()},
        }

    def _taking(self, take: Callable[..., Any]) -> Callable[..., Any]:
        async def watched(*arguments: Any) -> Any:
            began, cpu_s = time.perf_counter(), meter.cpu_s()
            taken = await take(*arguments)
            if taken and not self._first_claim:
                self._first_claim, self._cpu_s = began, cpu_s
                self._rss["start"] = meter.rss_mb()
            return taken

        return watched

    def _committing(self, commit: Callable[..., Any]) -> Callable[..., Any]:
        async def watched(batch: Sequence[Any]) -> Any:
            stale = await commit(batch)
            self._left -= len(batch)
            if "half" not in self._rss and self._left <= self._n / 2:
                self._rss["half"] = meter.rss_mb()
            if self._left <= 0 and not self.over.is_set():
                self._elapsed_s = time.perf_counter() - self._first_claim
                self._cpu_s = meter.cpu_s() - self._cpu_s
                self._rss["end"] = meter.rss_mb()
                self.over.set()
            return stale

        return watched
