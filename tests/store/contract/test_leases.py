"""Signs of life, and what happens to the work of the dead."""

import asyncio
from datetime import UTC, datetime

import pytest

from outlast._model import Beat, Reclaimed
from outlast._store.contract import Store
from tests.store.conftest import OpenStore
from tests.store.given import NODE, NOON_US, Given, PinnedWorld, settlement


async def test_a_node_is_known_from_its_registration(given: Given, world: PinnedWorld, store: Store) -> None:
    world.pin()
    await store.leases.register("n1", "venus", 4242, 12.5)
    await given.claimed(2, node="n1")

    (node,) = await store.leases.nodes()

    assert (node.id, node.host, node.pid, node.lease_s, node.running) == ("n1", "venus", 4242, 12.5, 2)
    assert node.started_at == node.renewed_at == datetime.fromtimestamp(NOON_US / 1_000_000, UTC)
    assert await store.leases.beats() == [Beat("n1", 0, 12.5)]


async def test_registering_again_is_harmless(store: Store) -> None:
    await store.leases.register("n1", "venus", 1, 30.0)
    await store.leases.register("n1", "venus", 1, 30.0)

    assert len(await store.leases.beats()) == 1


async def test_every_renewal_changes_the_beat(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    await given.node()
    world.advance(3)
    renewer = store.leases.renewer()

    assert [await asyncio.to_thread(renewer.renew, NODE) for _ in range(2)] == [True, True]

    assert await store.leases.beats() == [Beat(NODE, 2, 30.0)]
    (node,) = await store.leases.nodes()
    assert (node.renewed_at - node.started_at).total_seconds() == 3
    await asyncio.to_thread(renewer.close)


async def test_a_renewal_after_the_burial_says_so(given: Given, store: Store) -> None:
    await given.node()
    renewer = store.leases.renewer()

    assert await store.leases.bury(NODE, 0)

    assert await asyncio.to_thread(renewer.renew, NODE) is False
    assert await store.leases.beats() == []
    await asyncio.to_thread(renewer.close)


async def test_who_has_renewed_since_is_not_buried(given: Given, store: Store) -> None:
    await given.node()
    renewer = store.leases.renewer()
    await asyncio.to_thread(renewer.renew, NODE)

    assert await store.leases.bury(NODE, 0) is False

    assert await store.leases.bury(NODE, 1) is True
    assert await store.leases.bury(NODE, 1) is False
    await asyncio.to_thread(renewer.close)


async def test_a_renewer_may_be_closed_unused(store: Store) -> None:
    await asyncio.to_thread(store.leases.renewer().close)


async def test_who_says_goodbye_is_gone(given: Given, store: Store) -> None:
    await given.node()

    await store.leases.retire(NODE)
    await store.leases.retire(NODE)

    assert await store.leases.nodes() == []


async def test_the_work_of_the_living_is_left(given: Given, store: Store) -> None:
    await given.node()
    claim = await given.claim(timeout_s=60.0)

    assert await store.leases.reclaim(10, 5) == Reclaimed(0, 0, [])

    assert await store.claims.owned(NODE) == [(claim.id, 1, False)]


async def test_the_work_of_the_dead_is_given_back(given: Given, store: Store) -> None:
    await given.node("bob")
    bobs = await given.claim(node="bob")
    kept = await given.claimed(2, queue="mail")
    await given.node()

    await store.leases.retire("bob")
    found = await store.leases.reclaim(10, 5)

    assert (found.returned, found.quarantined, list(found.queues)) == (1, 0, ["default"])
    row = await given.read(bobs.id)
    assert (row.status, row.node, row.attempt, row.crashes, row.epoch) == ("ready", None, 0, 1, 1)
    assert [await given.status(claim.id) for claim in kept] == ["running", "running"]


async def test_every_queue_that_got_work_back_is_named_once(given: Given, store: Store) -> None:
    await given.claimed(2, queue="b")
    await given.claimed(2, queue="a")

    found = await store.leases.reclaim(10, 5)

    assert (found.returned, sorted(found.queues)) == (4, ["a", "b"])


async def test_no_more_than_the_limit_is_given_back(given: Given, store: Store) -> None:
    await given.claimed(5)

    assert [(await store.leases.reclaim(2, 5)).returned for _ in range(4)] == [2, 2, 1, 0]


@pytest.mark.parametrize("late_s", [-0.001, 0.001])
async def test_a_step_past_its_deadline_is_given_back(
    given: Given, store: Store, world: PinnedWorld, late_s: float
) -> None:
    world.pin()
    await given.node()
    claim = await given.claim(timeout_s=10.0)
    world.advance(15.0 + late_s)

    found = await store.leases.reclaim(10, 5)

    assert found.returned == (late_s > 0)
    assert (await given.read(claim.id)).crashes == (late_s > 0)


async def test_overdue_steps_of_the_living_may_be_spared(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    await given.node()
    overdue = await given.claim(timeout_s=10.0)
    lost = await given.claim(node="bob", timeout_s=10.0)
    world.advance(1_000)

    assert (await store.leases.reclaim(10, 5, overdue=False)).returned == 1

    assert [await given.status(claim.id) for claim in (overdue, lost)] == ["running", "ready"]


async def test_a_step_without_timeout_has_no_deadline(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    await given.node()
    await given.claim()
    world.advance(1e9)

    assert (await store.leases.reclaim(10, 5)).returned == 0


async def test_a_deadline_counts_from_the_claim(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    await given.node()
    await given.one(timeout_s=10.0)
    world.advance(100)
    await given.taken()

    assert (await store.leases.reclaim(10, 5)).returned == 0


async def test_a_row_that_crashes_too_often_is_quarantined(given: Given, store: Store) -> None:
    id = await given.one(key="k")

    found = []
    for _ in range(3):
        await given.taken()
        found.append(await store.leases.reclaim(10, 3))

    assert [(item.returned, item.quarantined) for item in found] == [(1, 0), (1, 0), (0, 1)]
    row = await given.read(id)
    assert (row.status, row.crashes, row.node, row.finished_at) == ("quarantined", 3, None, None)
    assert row.error is not None
    assert "3 times" in row.error
    assert await given.taken() == []
    assert len(await store.instances.add([given.new(key="k")])) == 1


async def test_a_returned_row_keeps_its_last_error(given: Given, store: Store) -> None:
    claim = await given.claim()
    await store.claims.commit([settlement(claim, "ready", error='{"type":"E"}')])
    await given.taken()

    await store.leases.reclaim(10, 5)

    assert (await given.read(claim.id)).error == '{"type":"E"}'


async def test_reclaimers_at_once_count_a_crash_once(given: Given, open_store: OpenStore) -> None:
    await given.claimed(20)
    other = await open_store()

    found = await asyncio.gather(*(store.leases.reclaim(100, 5) for store in (given.store, other) * 3))

    assert sum(item.returned for item in found) == 20
    assert {(await given.read(row.id)).crashes for row in await given.taken()} == {1}


async def test_a_reclaim_and_a_commit_at_once_have_one_winner(given: Given, open_store: OpenStore) -> None:
    claims = await given.claimed(30)
    other = await open_store()

    found, committed = await asyncio.gather(
        other.leases.reclaim(15, 5), given.store.claims.commit([settlement(claim) for claim in claims])
    )

    totals = await given.store.instances.totals()
    assert totals.get("ready", 0) == found.returned == len(committed.stale)
    assert totals.get("done", 0) == 30 - len(committed.stale)


async def test_nodes_at_once_may_register_and_retire(open_store: OpenStore, store: Store) -> None:
    other = await open_store()

    await asyncio.gather(
        *(one.leases.register(f"n{number % 4}", "h", 1, 9.0) for number, one in enumerate([store, other] * 8))
    )
    assert len(await store.leases.beats()) == 4

    await asyncio.gather(*(one.leases.retire(f"n{number % 4}") for number, one in enumerate([store, other] * 8)))
    assert await store.leases.beats() == []
