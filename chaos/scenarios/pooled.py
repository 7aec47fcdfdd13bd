"""Postgres behind a pooler in transaction mode: sessions are shared, so nothing can be prepared and nobody listens."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chaos.arena import Arena, stage
from chaos.place import PostgresPlace, postgres_place
from chaos.pooler import Pooler, pooled
from chaos.report import Report
from chaos.scenarios.deaf import POLL_S, SIZES, feed_and_measure


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Everything is done, each start within a poll, whichever session a transaction runs on."""
    size = SIZES[scale]
    poolers: list[Pooler] = []

    @contextmanager
    def behind_pooler(folder: Path) -> Iterator[PostgresPlace]:
        with ExitStack() as stack:
            place = stack.enter_context(postgres_place(folder))
            socket = stack.enter_context(tempfile.TemporaryDirectory(prefix="outlast-pooler-"))  # paths must be short.
            pooler, url = stack.enter_context(pooled(Path(socket), place.url))
            poolers.append(pooler)
            place.url = url
            yield place

    def act(arena: Arena) -> None:
        arena.crashes_may_count = False
        arena.options = {"poll_interval": POLL_S, "max_poll_interval": POLL_S, "pooler": "transaction"}
        feed_and_measure(arena, size)
        arena.more["transactions"] = f"{poolers[0].transactions:,}, {poolers[0].moves:,} of them in another session"

    return stage(
        "pooled", act, store=store, scale=scale, seed=seed, lease_s=2.0, mutation=mutation, make_place=behind_pooler
    )
