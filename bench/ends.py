"""Counts what ends in an engine, once a batch: single steps pay nothing for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench import meter
from outlast import Engine
from outlast._kernel.states import FINAL


class Ends:
    """Waits until `n` instances have ended in this engine.

    Args:
        engine: Not open yet.
        n: How many.
    """

    def __init__(self, engine: Engine, n: int) -> None:
        self.over = asyncio.Event()
        self.steps = 0
        self._left = n
        self._began = self._ended = 0.0
        self._cpu_s = 0.0
        claims: Any = engine._store.claims
        claims.commit = self._committing(claims.commit)

    def begin(self) -> None:
        """Counts time and CPU from now on."""
        self._began, self._cpu_s = time.perf_counter(), meter.cpu_s()

    @property
    def seconds(self) -> float:
        """From `begin` to the last end."""
        return self._ended - self._began

    def facts(self, units: int) -> dict[str, Any]:
        """Units per second, CPU and memory."""
        return {"per_s": units / self.seconds, "worker_cpu_s": self._cpu_s, "rss_mb": meter.peak_rss_mb()}

    def _committing(self, commit: Callable[..., Any]) -> Callable[..., Any]:
        async def watched(batch: Sequence[Any]) -> Any:
            answer = await commit(batch)
            self.steps += len(batch)
            self._left -= sum(item.status in FINAL for item in batch)
            if self._left <= 0 and not self.over.is_set():
                self._ended, self._cpu_s = time.perf_counter(), meter.cpu_s() - self._cpu_s
                self.over.set()
            return answer

        return watched
