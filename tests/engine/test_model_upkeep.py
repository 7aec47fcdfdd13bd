"""What goes on when nobody looks: looking for work ever less often, and tables that grow with their release."""

import asyncio
import itertools
import time
from typing import Any

from outlast import Engine, job
from outlast._store.door import open_store
from outlast._world import SystemWorld
from outlast.config import Config
from tests.engine.given import SOON_S, Engines, Tally


@job(name="test_model_upkeep.noop")
async def noop() -> str:
    return "ran"


async def test_an_idle_queue_is_looked_at_ever_less_often(engines: Engines) -> None:
    engine = engines.new(poll_interval=0.02, max_poll_interval=0.32, maintenance=False)
    looks, times = Tally(), []
    real = engine._store.claims.take

    async def take(*args: Any, **more: Any) -> Any:
        times.append(time.monotonic())
        looks.add()
        return await real(*args, **more)

    engine._store.claims.take = take  # type: ignore[method-assign]
    async with engine:
        await looks.reaches(8)

        gaps_s = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert gaps_s[6] >= 0.8 * 0.32, gaps_s  # a fifth of each pause is left to chance.


async def test_only_the_steps_that_are_missing_are_made(empty_url: str) -> None:
    old = open_store(Config(empty_url), SystemWorld())
    old.schema._migrations = {1: old.schema._migrations[1]}  # type: ignore[attr-defined]
    try:
        assert await old.schema.migrate() == [1]
    finally:
        await old.close()

    engine = Engine(empty_url, programs=[noop])
    made = await asyncio.gather(*(engine.migrate() for _ in range(3)))

    latest = max(number for each in made for number in each)
    assert sorted(number for each in made for number in each) == list(range(2, latest + 1))
    async with engine:
        assert await (await engine.start(noop.new())).result(SOON_S) == "ran"


def test_the_defaults_are_those_of_the_table() -> None:
    config = Config()

    assert (config.lease, config.renew_s, config.reap_interval) == (30.0, 10.0, 5.0)
    assert (config.poll_interval, config.max_poll_interval, config.doorbell) == (1.0, 5.0, "auto")
    assert (config.drain_timeout, config.cancel_timeout) == (5.0, 5.0)
    assert (config.retention, config.prune_interval, config.prune_batch) == (86_400.0, 60.0, 10_000)
    assert (config.commit_batch, config.name, config.schema, config.maintenance) == (500, "outlast", "outlast", None)
    assert (dict(config.rate_limits), dict(config.concurrency_limits)) == ({}, {})
