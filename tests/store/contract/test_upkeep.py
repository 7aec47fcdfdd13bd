"""What keeps the tables small and the operator informed."""

import asyncio

import pytest

from outlast._kernel import states
from outlast._model import OVERDUE_S, Redo
from outlast._store.contract import Store
from tests.store.conftest import OpenStore
from tests.store.given import NOON_US, Given, PinnedWorld

FAR_US = NOON_US + 10**15


async def test_nothing_to_delete(store: Store) -> None:
    assert await store.upkeep.prune(10) == 0


async def test_a_row_goes_exactly_when_its_retention_ends(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    id = await given.ended(retention_s=60.0)

    assert await store.upkeep.prune(10, NOON_US + 59_999_999) == 0
    assert await given.status(id) == "done"

    assert await store.upkeep.prune(10, NOON_US + 60_000_000) == 1
    assert await store.instances.get(id) is None


async def test_a_row_without_retention_stays(given: Given, store: Store) -> None:
    await given.ended(retention_s=None)

    assert await store.upkeep.prune(10, FAR_US) == 0


@pytest.mark.parametrize("status", states.ALL)
async def test_only_what_has_ended_is_deleted(given: Given, store: Store, status: str) -> None:
    id = await given.standing(status)

    deleted = await store.upkeep.prune(10, FAR_US)

    assert deleted == (status in states.FINAL)
    assert (await store.instances.get(id) is None) == (status in states.FINAL)


async def test_a_retried_row_is_not_deleted(given: Given, store: Store) -> None:
    id = await given.ended("failed")
    await store.acts.retry(id, Redo())

    assert await store.upkeep.prune(10, FAR_US) == 0


async def test_no_more_than_the_limit_is_deleted_oldest_first(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    last = await given.ended(retention_s=90.0)
    for _ in range(3):
        await given.ended(retention_s=60.0)

    assert [await store.upkeep.prune(2, FAR_US), await store.upkeep.prune(1, FAR_US)] == [2, 1]

    assert await given.status(last) == "done"
    assert await store.upkeep.prune(2, FAR_US) == 1


async def test_pruners_at_once_delete_each_row_once(given: Given, open_store: OpenStore) -> None:
    for _ in range(10):
        await given.ended()
    other = await open_store()

    found = await asyncio.gather(*(store.upkeep.prune(100, FAR_US) for store in (given.store, other) * 2))

    assert sum(found) == 10
    assert await given.store.instances.totals() == {}


async def test_findings_are_levels_subjects_and_sentences(store: Store) -> None:
    found = await store.upkeep.findings()

    assert found
    for level, subject, sentence in found:
        assert level in ("ok", "warning", "problem")
        assert subject
        assert sentence


async def test_a_sound_database_has_no_problem(store: Store) -> None:
    found = [item for item in await store.upkeep.findings() if item[0] == "problem"]

    # The server of the tests does not wait for its disk, and the doctor is right to complain.
    assert [item for item in found if item[1] not in ("fsync", "full_page_writes", "synchronous_commit")] == []


async def test_an_empty_database_has_nothing_standing(store: Store, world: PinnedWorld) -> None:
    world.pin()

    found = await store.upkeep.standing()

    assert (found.quarantined, found.overdue, found.overdue_s, found.ownerless, list(found.ready)) == (0, 0, 0.0, 0, [])
    assert found.now.timestamp() * 1_000_000 == NOON_US


async def test_what_nobody_looks_after_is_counted(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    await given.node()
    await given.claimed(2, queue="a")
    await given.claimed(3, queue="b", node="gone")
    await given.ended("quarantined", queue="c")
    await given.one(delay_s=10.0)
    await given.one(delay_s=45.0)
    world.advance(10 + OVERDUE_S - 0.001)
    assert (await store.upkeep.standing()).overdue == 0
    world.advance(0.001)

    found = await store.upkeep.standing()

    assert (found.quarantined, found.ownerless) == (1, 3)
    assert (found.overdue, found.overdue_s) == (1, OVERDUE_S)


async def test_ready_work_is_counted_by_program_and_queue(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    await given.one(program="b", version=2, queue="mail")
    world.advance(5)
    await given.one(program="b", version=2, queue="mail")
    await given.one(program="a")
    world.advance(1)

    ready = (await store.upkeep.standing()).ready

    assert [tuple(item) for item in ready] == [
        ("a", 1, "default", 1, 1.0),
        ("b", 2, "mail", 2, 6.0),
    ]
