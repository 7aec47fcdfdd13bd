"""Children: spawned with their parent's outcome, and counted once each until it wakes."""

import os

import pytest

from outlast._kernel.states import FINAL
from outlast._model import Claim, Committed, Filter, Redo, Retried
from outlast._store.contract import Store
from tests.store.given import Database, Given, PinnedWorld, ids, settlement
from tests.store.outcomes import Post, again, ended, family, parked, spawned

CHILDREN = int(os.environ.get("OUTLAST_TEST_CHILDREN", "20000"))
"""In a large family: each of them is 100,000 with OUTLAST_TEST_CHILDREN=100000."""


async def woken(given: Given, parent: str) -> bool:
    """Whether a parent that waited is ready, once and for all."""
    row = await given.read(parent)
    pending = given.database.peek(parent, "pending")
    assert (row.status, pending is None) in (("waiting", False), ("ready", True)), (row.status, pending)
    return row.status == "ready"


# Spawning.


async def test_a_spawn_parks_the_parent_with_its_children(given: Given, database: Database, store: Store) -> None:
    parent = await given.claim()
    rows = [given.new(queue="a"), given.new(queue="b", priority=3), given.new(queue="c", delay_s=60.0)]

    committed = await store.claims.commit([spawned(parent, rows)])

    assert committed == Committed([], ["a", "b"])
    row = await given.read(parent.id)
    assert (row.status, row.step, row.awaits, row.node) == ("waiting", "joined", None, None)
    assert database.peek(parent.id, "pending") == 3
    children = await store.instances.children(parent.id, round=None, after=None, limit=10)
    assert [(child.id, child.parent, child.round, child.child) for child in children] == [
        (rows[number].id, parent.id, 1, number) for number in range(3)
    ]
    assert [child.status for child in children] == ["ready", "ready", "scheduled"]


async def test_no_children_let_the_parent_go_on(given: Given, store: Store) -> None:
    parent = await given.claim()

    committed = await store.claims.commit([spawned(parent, [], wake_s=60.0)])

    assert committed == Committed([], ["default"])
    row = await given.read(parent.id)
    assert (row.status, row.wake_at) == ("ready", None)


async def test_children_whose_key_is_held_do_not_count(given: Given, database: Database, store: Store) -> None:
    await given.one(key="k", queue="other")
    parent = await given.claim()

    await store.claims.commit([spawned(parent, [given.new(), given.new(key="k"), given.new(key="new")])])

    assert database.peek(parent.id, "pending") == 2
    children = await store.instances.children(parent.id, round=1, after=None, limit=10)
    assert [child.child for child in children] == [0, 2]


async def test_no_child_that_could_start_lets_the_parent_go_on(given: Given, store: Store) -> None:
    await given.one(key="k", queue="other")
    parent = await given.claim()

    committed = await store.claims.commit([spawned(parent, [given.new(key="k", queue="a")])])

    assert await woken(given, parent.id)
    assert "default" in committed.queues


@pytest.mark.parametrize(("need", "pending"), [(1, 1), (2, 2), (3, 3), (9, 3), (None, 3)])
async def test_the_parent_waits_for_as_many_as_it_needs(
    given: Given, database: Database, store: Store, need: int | None, pending: int
) -> None:
    parent = await given.claim()

    await store.claims.commit([spawned(parent, [given.new() for _ in range(3)], need=need)])

    assert database.peek(parent.id, "pending") == pending


async def test_a_need_of_none_lets_the_parent_go_on(given: Given, store: Store) -> None:
    parent = await given.claim()

    await store.claims.commit([spawned(parent, [given.new() for _ in range(3)], need=0)])

    assert await woken(given, parent.id)
    assert len(await store.instances.children(parent.id, round=1, after=None, limit=10)) == 3


async def test_spawns_of_one_batch_count_apart(given: Given, database: Database, store: Store) -> None:
    await given.one(key="k", queue="other")
    claims = await given.claimed(4)
    families = [
        [given.new(), given.new(key="k"), given.new()],
        [],
        [given.new(key="k")],
        [given.new() for _ in range(5)],
    ]

    committed = await store.claims.commit(
        [spawned(claim, rows, need=4) for claim, rows in zip(claims, families, strict=True)]
    )

    assert committed.stale == []
    assert [database.peek(claim.id, "pending") for claim in claims] == [2, None, None, 4]
    assert [await given.status(claim.id) for claim in claims] == ["waiting", "ready", "ready", "waiting"]


async def test_a_spawn_written_twice_spawns_once(given: Given, database: Database, store: Store) -> None:
    parent = await given.claim()
    outcome = spawned(parent, [given.new() for _ in range(3)])

    committed = [await store.claims.commit([outcome]) for _ in range(2)]

    assert [each.stale for each in committed] == [[], []]
    assert len(await given.taken()) == 3
    row = await given.read(parent.id)
    assert (row.status, database.peek(parent.id, "spawns")) == ("waiting", 1)


async def test_a_lost_claim_spawns_nothing(given: Given, store: Store) -> None:
    parent = await given.claim()
    await store.leases.reclaim(10, 5)

    committed = await store.claims.commit([spawned(parent, [given.new()])])

    assert committed == Committed([parent.id], [])
    assert ids(await given.taken()) == [parent.id]


async def test_only_what_is_written_has_effects(given: Given, database: Database, store: Store) -> None:
    """A batch of lost claims and good ones."""
    parent, (child, lost_child, _) = await family(given, 3)
    good, lost = await given.claimed(2)
    post = Post(given)
    signal = post.signal(lost.id)
    await store.signals.send([signal])
    await store.instances.cancel(lost.id, "{}", None)
    await store.claims.release([(lost_child.id, lost_child.epoch)])
    batch = [spawned(good, [given.new(queue="q")]), spawned(lost, [given.new(queue="q")], consumed=[signal.id])]

    committed = await store.claims.commit([ended(child), ended(lost_child), *batch])

    assert sorted(committed.stale) == sorted([lost_child.id, lost.id])
    assert database.peek(parent, "pending") == 2
    assert [claim.parent for claim in await given.taken(queue="q")] == [good.id]
    assert await post.unread(lost.id) == ["go"]


async def test_children_with_limits_are_left_to_the_timekeeper(given: Given, store: Store) -> None:
    parent = await given.claim()
    rows = [given.new(concurrency_key="k"), given.new(rate_limit="r"), given.new(fair_key="t", fair_weight=2.0)]

    await store.claims.commit([spawned(parent, rows)])

    children = await store.instances.children(parent.id, round=1, after=None, limit=10)
    assert [child.status for child in children] == ["scheduled", "scheduled", "ready"]
    assert (children[2].fair_key, children[2].fair_weight) == ("t", 2.0)


# Joining.


async def test_the_last_child_wakes_the_parent(given: Given, store: Store, world: PinnedWorld) -> None:
    parent, (first, second, third) = await family(given, 3, wake_s=3600.0)

    assert await store.claims.commit([ended(first)]) == Committed([], [])
    assert await store.claims.commit([ended(second, "failed")]) == Committed([], [])
    assert not await woken(given, parent)
    world.pin(world.wall_us() + 60_000_000)
    assert await store.claims.commit([ended(third, "cancelled")]) == Committed([], ["default"])

    assert await woken(given, parent)
    row = await given.read(parent)
    assert row.wake_at is None
    assert row.due_at.timestamp() == pytest.approx(world.now_us / 1e6)  # type: ignore[operator]
    (claim,) = await given.taken()
    assert (claim.id, claim.step, claim.round) == (parent, "joined", 1)


async def test_children_that_end_together_count_each(given: Given, store: Store) -> None:
    parent, children = await family(given, 5)

    await store.claims.commit([ended(child) for child in children[:4]])
    assert not await woken(given, parent)
    committed = await store.claims.commit([ended(child) for child in children[4:]])

    assert committed.queues == ["default"]
    assert await woken(given, parent)


async def test_children_of_several_parents_end_in_one_batch(given: Given, store: Store) -> None:
    families = [await family(given, count) for count in (1, 2, 3)]

    committed = await store.claims.commit([ended(child) for _, children in families for child in children[:2]])

    assert committed == Committed([], ["default"])
    assert [await woken(given, parent) for parent, _ in families] == [True, True, False]


async def test_a_parent_that_has_enough_wakes_once(given: Given, store: Store) -> None:
    parent, (first, second, third) = await family(given, 3, need=1)

    await store.claims.commit([ended(first)])
    assert await woken(given, parent)
    assert await store.claims.commit([ended(second)]) == Committed([], [])
    (claim,) = await given.taken()
    assert claim.id == parent
    assert await store.claims.commit([ended(third)]) == Committed([], [])
    assert await given.status(parent) == "running"


async def test_more_than_enough_at_once_wakes_once(given: Given, store: Store) -> None:
    parent, children = await family(given, 3, need=2)

    await store.claims.commit([ended(child) for child in children])

    assert await woken(given, parent)


async def test_an_end_written_twice_counts_once(given: Given, store: Store) -> None:
    parent, (first, _) = await family(given, 2)

    for _ in range(3):
        assert (await store.claims.commit([ended(first)])).stale == []

    assert not await woken(given, parent)


async def test_a_lost_claim_of_a_child_counts_nothing(given: Given, store: Store) -> None:
    parent, (child,) = await family(given, 1)
    await store.leases.reclaim(10, 5)

    assert (await store.claims.commit([ended(child)])).stale == [child.id]
    assert not await woken(given, parent)


@pytest.mark.parametrize("outcome", ["again", "quarantined", "released", "reclaimed", "crashed out"])
async def test_what_is_not_an_end_does_not_count(given: Given, store: Store, outcome: str) -> None:
    parent, (child,) = await family(given, 1)

    match outcome:
        case "again":
            await store.claims.commit([again(child)])
        case "quarantined":
            await store.claims.commit([settlement(child, "quarantined")])
        case "released":
            await store.claims.release([(child.id, child.epoch)])
        case "reclaimed":
            assert (await store.leases.reclaim(10, 5)).returned == 1
        case _:
            assert (await store.leases.reclaim(10, 1)).quarantined == 1

    assert not await woken(given, parent)


async def test_a_parent_that_was_given_back_keeps_its_children(given: Given, store: Store) -> None:
    """It crashes in the step after the join: the children are not asked to end again."""
    parent, (child,) = await family(given, 1)
    await store.claims.commit([ended(child)])
    await given.taken()
    assert (await store.leases.reclaim(10, 5)).returned == 1

    (claim,) = await given.taken()

    assert (claim.id, claim.round, claim.step) == (parent, 1, "joined")


async def test_a_limited_parent_is_left_to_the_timekeeper(given: Given, store: Store) -> None:
    parent = await given.claim()
    await store.claims.commit([spawned(parent, [given.new()], concurrency_key="k")])
    (child,) = await given.taken()

    await store.claims.commit([ended(child)])

    assert await given.status(parent.id) == "scheduled"


async def test_only_the_round_that_is_waited_for_counts(given: Given, store: Store) -> None:
    parent, (first, late) = await family(given, 2, need=1)
    await store.claims.commit([ended(first)])
    (claim,) = await given.taken()
    assert claim.round == 1
    await store.claims.commit([spawned(claim, [given.new()])])
    (young,) = await given.taken()

    assert await store.claims.commit([ended(late)]) == Committed([], [])
    assert not await woken(given, parent)
    await store.claims.commit([ended(young)])

    assert await woken(given, parent)
    assert given.database.peek(parent, "spawns") == 2


async def test_a_child_may_be_a_parent(given: Given, store: Store) -> None:
    root, (child,) = await family(given, 1)
    await store.claims.commit([spawned(child, [given.new()])])
    (grandchild,) = await given.taken()

    await store.claims.commit([ended(grandchild)])
    assert not await woken(given, root)
    (claim,) = await given.taken()
    assert (claim.id, claim.parent, claim.round) == (child.id, root, 1)
    row = await given.read(child.id)
    assert (row.parent, row.round, row.child) == (root, 1, 0)
    await store.claims.commit([ended(claim)])

    assert await woken(given, root)


async def test_a_parent_that_waits_for_a_signal_is_not_woken_by_a_child(given: Given, store: Store) -> None:
    parent, (first, late) = await family(given, 2, need=1)
    await store.claims.commit([ended(first)])
    (claim,) = await given.taken()
    await store.claims.commit([parked(claim, "go")])

    assert await store.claims.commit([ended(late)]) == Committed([], [])
    assert await given.status(parent) == "waiting"


async def test_a_signal_does_not_wake_who_waits_for_children(given: Given, store: Store) -> None:
    parent, (child,) = await family(given, 1)
    post = Post(given)

    assert await post.send(parent) == "delivered"

    assert not await woken(given, parent)
    await store.claims.commit([ended(child)])
    assert await woken(given, parent)


async def test_a_wait_for_children_ends_at_its_deadline(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    parent, (child,) = await family(given, 1, wake_s=10.0)

    due = await store.timers.promote(10, world.advance(10.0))

    assert (due.promoted, due.timed_out) == (1, 1)
    assert await woken(given, parent)
    assert await store.claims.commit([ended(child)]) == Committed([], [])
    assert ids(await given.taken()) == [parent]


@pytest.mark.slow
async def test_tens_of_thousands_of_children(given: Given, database: Database, store: Store) -> None:
    parent = await given.claim()
    rows = [given.new(queue="children") for _ in range(CHILDREN)]

    committed = await store.claims.commit([spawned(parent, rows)])

    assert committed == Committed([], ["children"])
    assert database.peek(parent.id, "pending") == CHILDREN
    while children := await given.taken(5_000, queue="children"):
        assert not await woken(given, parent.id)
        assert (await store.claims.commit([ended(child) for child in children])).stale == []
    assert await woken(given, parent.id)
    last = await store.instances.children(parent.id, round=1, after=(1, CHILDREN - 3), limit=10)
    assert [child.child for child in last] == [CHILDREN - 2, CHILDREN - 1]


@pytest.mark.slow
async def test_a_tree_of_tens_of_thousands_is_cancelled(given: Given, store: Store) -> None:
    parent = await given.claim()
    await store.claims.commit([spawned(parent, [given.new(queue="children") for _ in range(CHILDREN)])])

    stopped = await store.instances.cancel(parent.id, "{}", None, tree=True)

    assert stopped is not None
    assert len(set(stopped.ids)) == CHILDREN + 1
    assert await given.taken(queue="children") == []


# What operators do.


async def test_a_cancelled_child_counts(given: Given, store: Store) -> None:
    parent, (first, second) = await family(given, 2)

    stopped = await store.instances.cancel(first.id, "{}", None)
    assert stopped is not None
    assert stopped.queues == []
    assert await store.instances.cancel(first.id, "{}", None) is not None
    assert not await woken(given, parent)
    stopped = await store.instances.cancel(second.id, "{}", None)

    assert stopped is not None
    assert stopped.queues == ["default"]
    assert await woken(given, parent)
    assert (await store.claims.commit([ended(first)])).stale == [first.id]


async def test_a_quarantined_child_counts_when_it_is_cancelled(given: Given, store: Store) -> None:
    parent, (child,) = await family(given, 1)
    await store.claims.commit([settlement(child, "quarantined")])

    await store.instances.cancel(child.id, "{}", None)

    assert await woken(given, parent)


@pytest.mark.parametrize("live", [True, False])
async def test_a_deleted_child_counts_once(given: Given, store: Store, live: bool) -> None:
    parent, (first, _) = await family(given, 2)
    if live:
        await store.claims.release([(first.id, first.epoch)])
    else:
        await store.claims.commit([ended(first)])

    await store.instances.delete(first.id)

    assert given.database.peek(parent, "pending") == 1


@pytest.mark.parametrize("status", FINAL)
async def test_a_child_that_is_run_again_is_waited_for_again(given: Given, store: Store, status: str) -> None:
    """Else its second end would count for a sibling that still runs."""
    parent, (first, second) = await family(given, 2)
    await store.claims.commit([ended(first, status)])

    retried = await store.acts.retry(first.id, Redo())
    assert (retried is not None) == (status != "done") or retried == Retried("done", "default", 1)
    if status == "done":
        assert given.database.peek(parent, "pending") == 1
        return
    assert given.database.peek(parent, "pending") == 2
    (fresh,) = await given.taken()
    await store.claims.commit([ended(fresh)])
    assert not await woken(given, parent)
    await store.claims.commit([ended(second)])

    assert await woken(given, parent)


async def test_a_quarantined_child_that_is_run_again_counts_once(given: Given, store: Store) -> None:
    parent, (child,) = await family(given, 1)
    await store.claims.commit([settlement(child, "quarantined")])

    await store.acts.retry(child.id, Redo())

    assert given.database.peek(parent, "pending") == 1
    (fresh,) = await given.taken()
    await store.claims.commit([ended(fresh)])
    assert await woken(given, parent)


async def test_a_child_run_again_after_the_join_holds_nobody_up(given: Given, store: Store) -> None:
    parent, (child,) = await family(given, 1)
    await store.claims.commit([ended(child, "failed")])

    await store.acts.retry(child.id, Redo())

    assert await woken(given, parent)
    claims = {claim.id: claim for claim in await given.taken()}
    await store.claims.commit([spawned(claims[parent], [given.new()])])
    assert await store.claims.commit([ended(claims[child.id])]) == Committed([], [])
    assert not await woken(given, parent)


async def test_children_are_pruned_after_their_parent_has_ended(given: Given, store: Store, world: PinnedWorld) -> None:
    parent, children = await family(given, 3)
    other = await given.ended(retention_s=60.0)
    await store.claims.commit([ended(child, retention_s=60.0) for child in children])
    late_us = world.wall_us() + 3_600_000_000

    assert await store.upkeep.prune(2, late_us) == 1
    assert await store.instances.get(other) is None
    assert await store.upkeep.prune(100, late_us) == 0
    (claim,) = await given.taken()
    await store.claims.commit([settlement(claim, retention_s=None)])

    assert await store.upkeep.prune(2, late_us) == 2
    assert await store.upkeep.prune(100, late_us) == 1
    assert (await given.read(parent)).status == "done"


async def test_orphans_are_pruned(given: Given, store: Store, world: PinnedWorld) -> None:
    parent, children = await family(given, 2)
    await store.claims.commit([ended(child, retention_s=60.0) for child in children])
    await store.instances.delete(parent)

    assert await store.upkeep.prune(10, world.wall_us() + 3_600_000_000) == 2


# Cancelling trees.


async def tree(given: Given) -> tuple[str, list[Claim], list[Claim]]:
    """Three levels: a root, three children (the last has ended), and two children of each of the first two."""
    root, children = await family(given, 3)
    for child in children[:2]:
        await given.store.claims.commit([spawned(child, [given.new(), given.new()])])
    await given.store.claims.commit([ended(children[2])])
    grandchildren = await given.taken(node="bob")
    assert len(grandchildren) == 4
    return root, children, grandchildren


async def test_a_tree_is_cancelled_whole(given: Given, store: Store) -> None:
    root, children, grandchildren = await tree(given)
    await store.claims.release([(grandchildren[0].id, grandchildren[0].epoch)])
    other = await given.one()

    stopped = await store.instances.cancel(root, '{"type":"Cancelled"}', 60.0, tree=True)

    assert stopped is not None
    assert (stopped.former, stopped.nodes, stopped.queues) == ("waiting", ["bob"], [])
    live = [root, *ids(children[:2]), *ids(grandchildren)]
    assert sorted(stopped.ids) == sorted(live)
    for id in live:
        row = await given.read(id)
        assert (row.status, row.error, row.expires_at is not None) == ("cancelled", '{"type":"Cancelled"}', True)
    assert await given.status(children[2].id) == "done"
    assert ids(await given.taken()) == [other]
    assert len((await store.claims.commit([ended(claim) for claim in grandchildren[1:]])).stale) == 3


async def test_a_branch_is_cancelled_and_its_parent_woken(given: Given, store: Store) -> None:
    root, children, grandchildren = await tree(given)
    await store.instances.cancel(children[0].id, "{}", None, tree=True)
    assert not await woken(given, root)

    stopped = await store.instances.cancel(children[1].id, "{}", None, tree=True)

    assert stopped is not None
    assert stopped.queues == ["default"]
    assert await woken(given, root)
    assert {await given.status(claim.id) for claim in grandchildren} == {"cancelled"}


async def test_a_tree_whose_root_has_ended_is_cancelled_below_it(given: Given, store: Store) -> None:
    parent, (child,) = await family(given, 1, need=0)
    claim = child if child.id == parent else (await given.taken() or [child])[0]
    root = claim if claim.id == parent else child
    await store.claims.commit([settlement(root)])

    stopped = await store.instances.cancel(parent, "{}", None, tree=True)

    assert stopped is not None
    assert stopped.former == "done"
    assert len(stopped.ids) == 1


async def test_children_live_on_when_only_their_parent_is_cancelled(given: Given, store: Store) -> None:
    parent, (child,) = await family(given, 1)

    stopped = await store.instances.cancel(parent, "{}", None)

    assert stopped is not None
    assert stopped.ids == [parent]
    assert given.database.peek(parent, "pending") is None
    assert await store.claims.commit([ended(child)]) == Committed([], [])
    assert await given.status(parent) == "cancelled"


@pytest.mark.parametrize("id", ["0199c2f0-0000-7000-8000-000000000000", "not-an-id"])
async def test_a_tree_without_a_root_is_none(store: Store, id: str) -> None:
    assert await store.instances.cancel(id, "{}", None, tree=True) is None
    assert await store.instances.children(id, round=None, after=None, limit=5) == []


# Reading.


async def test_children_are_read_in_pages(given: Given, store: Store) -> None:
    parent, children = await family(given, 3)
    await store.claims.commit([ended(child) for child in children])
    (claim,) = await given.taken()
    await store.claims.commit([spawned(claim, [given.new(), given.new()])])

    async def read(round: int | None, after: tuple[int, int] | None, limit: int = 2) -> list[tuple[int, int]]:
        rows = await store.instances.children(parent, round=round, after=after, limit=limit)
        return [(row.round, row.child) for row in rows]

    assert await read(None, None) == [(1, 0), (1, 1)]
    assert await read(None, (1, 1)) == [(1, 2), (2, 0)]
    assert await read(None, (2, 0)) == [(2, 1)]
    assert await read(None, (2, 1)) == []
    assert await read(1, None, 9) == [(1, 0), (1, 1), (1, 2)]
    assert await read(1, (1, 1)) == [(1, 2)]
    assert await read(2, None) == await read(2, (1, 1)) == [(2, 0), (2, 1)]
    assert await read(3, None) == []


async def test_a_row_says_where_it_belongs(given: Given, store: Store) -> None:
    parent, (child,) = await family(given, 1)

    row = await given.read(child.id)
    listed = {row.id: row for row in await store.instances.list(Filter())}

    assert (row.parent, row.round, row.child) == (parent, 1, 0)
    assert listed[child.id] == row
    assert child.parent == parent
    assert (await given.read(parent)).parent is None
