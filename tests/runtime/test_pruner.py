"""The pruner: what has ended goes after its retention, batch by batch, and nothing else ever does."""

import pytest

from outlast._runtime.events import Events
from outlast._runtime.upkeep import Pruner
from tests.runtime.stage import Clock, Heard
from tests.store.given import Given


@pytest.fixture
def pruner(given: Given, clock: Clock, events: Events) -> Pruner:
    clock.pin()
    return Pruner(given.store.upkeep, given.store.limits, interval_s=60.0, batch_max=3, events=events)


async def test_with_nothing_to_delete_it_sleeps(pruner: Pruner, heard: Heard) -> None:
    assert await pruner.beat() == 60.0
    assert heard.of("retention.pruned") == []


async def test_it_deletes_in_batches_until_there_is_no_more(
    given: Given, clock: Clock, pruner: Pruner, heard: Heard
) -> None:
    for status in ("done", "failed", "cancelled", "done", "failed", "cancelled", "done"):
        await given.ended(status, retention_s=10.0)
    clock.advance(10.0)

    assert [await pruner.beat() for _ in range(3)] == [0.0, 0.0, 60.0]
    assert await given.store.instances.totals() == {}
    assert [said["count"] for said in heard.of("retention.pruned")] == [3, 3, 1]


async def test_it_spares_what_is_live_kept_or_not_yet_over(given: Given, clock: Clock, pruner: Pruner) -> None:
    over = await given.ended(retention_s=9_000.0)
    spared = [
        await given.ended("quarantined"),
        await given.ended(retention_s=None),
        await given.ended(retention_s=10_001.0),
        *[await given.standing(status) for status in ("running", "scheduled", "blocked", "waiting", "ready")],
    ]
    clock.advance(10_000.0)

    while await pruner.beat() == 0.0:
        pass

    assert [await given.store.instances.get(id) is not None for id in spared] == [True] * len(spared)
    assert await given.store.instances.get(over) is None


async def test_every_table_is_empty_again_after_work_and_retention(given: Given, clock: Clock, pruner: Pruner) -> None:
    for number in range(5):
        await given.ended(retention_s=1.0, key=f"key {number}")
    clock.advance(1.0)

    while await pruner.beat() == 0.0:
        pass

    for table in ("instances", "nodes", "queues"):
        assert given.database.query(f"SELECT count(*) FROM {{{table}}}") == [(0,)], table
