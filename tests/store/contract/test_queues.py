"""Queues as the database knows them."""

import pytest

from outlast._store.contract import Store
from tests.store.given import Given, PinnedWorld


async def test_an_empty_database_has_no_queues(store: Store) -> None:
    assert await store.queues.counts() == []


async def test_live_rows_are_counted_by_queue_and_status(given: Given, store: Store) -> None:
    await given.node()
    await given.ended(queue="b")
    await given.claimed(2, queue="b")
    await given.added(3, queue="b")
    await given.one(queue="a", delay_s=60.0)

    a, b = await store.queues.counts()

    assert (a.name, a.scheduled, a.ready, a.running, a.oldest_ready_s) == ("a", 1, 0, 0, None)
    assert (b.name, b.scheduled, b.ready, b.running, b.blocked, b.waiting) == ("b", 0, 3, 2, 0, 0)
    assert a.paused_at is b.paused_at is None


async def test_the_oldest_ready_counts_from_its_due_time(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    await given.one()
    world.advance(5)
    await given.one(priority=-1)

    (queue,) = await store.queues.counts()

    assert queue.oldest_ready_s == 5.0


@pytest.mark.parametrize("name", ["default", "with space", "Ünïcode:*'\"", "q" * 200])
async def test_a_pause_is_seen_until_it_is_taken_back(store: Store, world: PinnedWorld, name: str) -> None:
    world.pin()
    await store.queues.pause(name)
    world.advance(60)
    await store.queues.pause(name)

    (queue,) = await store.queues.counts()
    assert queue.name == name
    assert queue.paused_at is not None
    assert queue.paused_at.timestamp() * 1_000_000 == world.now_us - 60_000_000  # type: ignore[operator]

    await store.queues.resume(name)
    await store.queues.resume(name)
    assert await store.queues.counts() == []


async def test_a_paused_queue_shows_its_rows(given: Given, store: Store) -> None:
    await given.one()
    await store.queues.pause("default")

    (queue,) = await store.queues.counts()

    assert (queue.ready, queue.paused_at is not None) == (1, True)
