"""Due times."""

import asyncio

from outlast._kernel.outcomes import Parked
from outlast._kernel.settle import settle
from outlast._model import Due
from outlast._store.contract import Store
from tests.store.conftest import OpenStore
from tests.store.given import NOON_US, Given, PinnedWorld, ids


async def test_nothing_scheduled_means_nothing_due(given: Given, store: Store) -> None:
    await given.one()

    assert await store.timers.promote(10) == Due((), 0, None)


async def test_a_row_is_promoted_exactly_when_due(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    id = await given.one(delay_s=60.0)

    early = await store.timers.promote(10, NOON_US + 59_999_999)
    assert (list(early.queues), early.promoted, early.next_s) == ([], 0, 0.000001)
    assert await given.status(id) == "scheduled"

    due = await store.timers.promote(10, NOON_US + 60_000_000)
    assert (list(due.queues), due.promoted, due.next_s) == (["default"], 1, None)
    assert await given.status(id) == "ready"


async def test_a_pinned_clock_decides_when_no_instant_is_given(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    await given.one(delay_s=1.0)

    assert (await store.timers.promote(10)).next_s == 1.0
    world.advance(1)
    assert (await store.timers.promote(10)).promoted == 1


async def test_the_running_clock_promotes_what_is_past(given: Given, store: Store) -> None:
    now_us = given.world.wall_us()
    id = await given.one(delay_s=60.0)

    assert (await store.timers.promote(10, now_us + 61_000_000)).promoted == 1

    assert ids(await given.taken()) == [id]


async def test_no_more_than_the_limit_is_promoted_oldest_due_first(
    given: Given, store: Store, world: PinnedWorld
) -> None:
    world.pin()
    second = await given.one(delay_s=2.0, queue="b")
    first = await given.one(delay_s=1.0, queue="a")
    third = await given.one(delay_s=9.0, queue="c")

    due = await store.timers.promote(1, NOON_US + 5_000_000)

    assert (list(due.queues), due.promoted, due.next_s) == (["a"], 1, 0.0)
    assert [await given.status(id) for id in (first, second, third)] == ["ready", "scheduled", "scheduled"]

    due = await store.timers.promote(5, NOON_US + 5_000_000)
    assert (list(due.queues), due.promoted, due.next_s) == (["b"], 1, 4.0)


async def test_every_queue_is_named_once(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    for queue in ("b", "a", "b"):
        await given.one(delay_s=1.0, queue=queue)

    due = await store.timers.promote(10, NOON_US + 1_000_000)

    assert (sorted(due.queues), due.promoted) == (["a", "b"], 3)


async def test_promoted_rows_keep_their_place_by_due_time(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    late = await given.one(delay_s=3.0)
    early = await given.one(delay_s=1.0)
    world.advance(2)
    between = await given.one()
    world.advance(2)

    await store.timers.promote(10)

    assert ids(await given.taken()) == [early, between, late]


async def test_promoters_at_once_promote_each_row_once(given: Given, open_store: OpenStore, world: PinnedWorld) -> None:
    world.pin()
    await given.added(50, delay_s=1.0)
    world.advance(1)
    other = await open_store()

    found = await asyncio.gather(*(store.timers.promote(100) for store in (given.store, other) * 3))

    assert sum(due.promoted for due in found) == 50
    assert await given.store.instances.totals() == {"ready": 50}


async def test_what_is_hurried_is_due_now_and_the_rest_is_not(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    hurried, late, past = await given.one(delay_s=60.0), await given.one(delay_s=60.0), await given.one(delay_s=1.0)
    ready = await given.one()
    world.advance(5)

    await store.timers.hurry([hurried, past, ready, world.new_id()])
    due = await store.timers.promote(10)

    assert due.promoted == 2
    assert [await given.status(id) for id in (hurried, late, past, ready)] == ["ready", "scheduled", "ready", "ready"]
    assert given.database.peek(past, "commits") == 0


async def test_who_waits_with_a_deadline_can_be_hurried(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    await given.node()
    patient, endless = await given.added(2)
    for claim in await given.taken():
        outcome = Parked("run", "{}", ("paid",), 3600.0 if claim.id == patient else None)
        await store.claims.commit([settle(claim, outcome, retention_s=None)])

    await store.timers.hurry([patient, endless])
    due = await store.timers.promote(10)

    assert (due.promoted, due.timed_out) == (1, 1)
    assert [await given.status(id) for id in (patient, endless)] == ["ready", "waiting"]
