"""Durable signals: delivered once, read until used up, never lost between a look and a wait."""

import pytest

from outlast._kernel.states import FINAL
from outlast._model import Committed, Redo
from outlast._store.contract import Store
from tests.store.given import Database, Given, PinnedWorld, ids, settlement
from tests.store.outcomes import Post, again, ended, moved, parked, waiting


@pytest.fixture
def post(given: Given) -> Post:
    """Sends signals."""
    return Post(given)


# Delivery.


@pytest.mark.parametrize("status", ["ready", "scheduled", "running", "waiting", "quarantined"])
async def test_a_signal_is_stored_for_whoever_lives(given: Given, post: Post, status: str) -> None:
    id = await given.standing(status)

    assert await post.send(id, "hello", payload='{"a":1}') == "delivered"

    (letter,) = await given.store.signals.inbox([id])
    assert (letter.instance, letter.name, letter.payload) == (id, "hello", '{"a":1}')
    assert (letter.dedup_key, letter.consumed_at) == (None, None)
    assert await given.status(id) == status


@pytest.mark.parametrize("status", FINAL)
async def test_nothing_is_stored_for_what_has_ended(given: Given, post: Post, status: str) -> None:
    id = await given.standing(status)

    assert await post.send(id) == "ended"
    assert await post.kept(id) == []


@pytest.mark.parametrize("id", ["0199c2f0-0000-7000-8000-000000000000", "not-an-id"])
async def test_nobody_is_no_target(post: Post, id: str) -> None:
    assert await post.send(id) == "no_target"
    assert await post.kept(id) == await post.unread(id) == []


async def test_receipts_come_in_the_order_of_the_batch(given: Given, post: Post, store: Store) -> None:
    done, live = await given.ended(), await given.one(key="k")
    batch = [
        post.signal(key="k"),
        post.signal(done),
        post.signal(live, "b"),
        post.signal(given.world.new_id()),
        post.signal(key="nobody"),
        post.signal(live, "c"),
    ]

    receipts = await store.signals.send(batch)

    assert [receipt.id for receipt in receipts] == [signal.id for signal in batch]
    assert [receipt.result for receipt in receipts] == [
        "delivered",
        "ended",
        "delivered",
        "no_target",
        "no_target",
        "delivered",
    ]
    assert [receipt.instance for receipt in receipts] == [live, done, live, None, None, live]
    assert {receipt.queue for receipt in receipts} == {None}
    assert await post.unread(live) == ["go", "b", "c"]


async def test_an_empty_batch_is_none(store: Store) -> None:
    assert await store.signals.send([]) == []
    assert await store.signals.inbox([]) == []


async def test_an_inbox_holds_only_its_own(given: Given, post: Post, store: Store) -> None:
    first, second, third = await given.added(3)
    for id, name in ((first, "a"), (second, "b"), (first, "c"), (third, "d")):
        await post.send(id, name)

    assert [letter.name for letter in await store.signals.inbox([second, first])] == ["a", "b", "c"]


# Repetition.


async def test_a_signal_sent_again_is_known(given: Given, post: Post, store: Store) -> None:
    id = await given.one()
    signal = post.signal(id)

    assert [(await store.signals.send([signal]))[0].result for _ in range(3)] == ["delivered", "duplicate", "duplicate"]
    assert await post.unread(id) == ["go"]


async def test_a_signal_twice_in_a_batch_counts_once(given: Given, post: Post, store: Store) -> None:
    (id,) = await waiting(given, "go")
    signal = post.signal(id)

    receipts = await store.signals.send([signal, signal])

    assert [(receipt.result, receipt.queue) for receipt in receipts] == [("delivered", "default"), ("duplicate", None)]


async def test_a_dedup_key_counts_once_for_each_instance(given: Given, post: Post, store: Store) -> None:
    first, second = await given.added(2)

    receipts = await store.signals.send([post.signal(id, dedup_key="d") for id in (first, first, second)])

    assert [receipt.result for receipt in receipts] == ["delivered", "duplicate", "delivered"]
    assert await post.send(first, "other", dedup_key="d") == "duplicate"
    assert await post.unread(first) == ["go"]


async def test_a_dedup_key_is_remembered_after_its_signal_was_used_up(given: Given, post: Post, store: Store) -> None:
    claim = await given.claim()
    keyed, plain = post.signal(claim.id, "keyed", dedup_key="d"), post.signal(claim.id, "plain")
    await store.signals.send([keyed, plain])

    await store.claims.commit([again(claim, consumed=[keyed.id, plain.id])])

    assert await post.unread(claim.id) == []
    kept = await store.signals.list(claim.id)
    assert [letter.name for letter in kept] == ["keyed", "plain"]
    assert all(letter.consumed_at is not None for letter in kept)
    assert await post.send(claim.id, dedup_key="d") == "duplicate"
    assert (await store.signals.send([keyed]))[0].result == "duplicate"


async def test_a_repetition_wakes_nobody(given: Given, post: Post, store: Store) -> None:
    claim = await given.claim()
    signal = post.signal(claim.id, dedup_key="d")
    await store.signals.send([signal])
    await store.claims.commit([parked(claim, "go", shown=[signal.id])])

    assert (await store.signals.send([signal]))[0].result == "duplicate"
    assert await post.send(claim.id, dedup_key="d") == "duplicate"
    assert await given.status(claim.id) == "waiting"


# Correlation keys.


async def test_a_key_finds_its_holder(given: Given, post: Post) -> None:
    id = await given.one(key="k")

    assert await post.send(key="k") == "delivered"
    assert await post.unread(id) == ["go"]


async def test_a_key_without_a_holder_is_ended_or_unknown(given: Given, post: Post) -> None:
    await given.ended(key="k")

    assert await post.send(key="k") == "ended"
    assert await post.send(key="other") == "no_target"


async def test_a_key_that_is_held_for_ever_is_ended_with_its_holder(given: Given, post: Post, store: Store) -> None:
    id = await given.ended(key="k", scope="always")

    (receipt,) = await store.signals.send([post.signal(key="k")])

    assert (receipt.result, receipt.instance) == ("ended", id)


async def test_a_key_moves_to_a_new_instance(given: Given, post: Post) -> None:
    old = await given.ended(key="k")
    new = await given.one(key="k")

    assert await post.send(key="k") == "delivered"
    assert await post.kept(old) == []
    assert await post.unread(new) == ["go"]


# Waiting.


async def test_an_instance_parks_until_its_signal_comes(
    given: Given, post: Post, store: Store, world: PinnedWorld
) -> None:
    (id,) = await waiting(given, "go", "stop", wake_s=3600.0)
    row = await given.read(id)
    assert (row.status, row.step, row.node) == ("waiting", "next", None)
    assert row.awaits == '["go","stop"]'
    assert row.wake_at is not None
    assert await given.taken() == []
    world.pin(world.wall_us() + 60_000_000)

    (receipt,) = await store.signals.send([post.signal(id, "stop")])

    assert receipt.queue == "default"
    row = await given.read(id)
    assert (row.status, row.wake_at) == ("ready", None)
    assert row.due_at.timestamp() == pytest.approx(world.now_us / 1e6)  # type: ignore[operator]
    (claim,) = await given.taken()
    assert claim.awaits == '["go","stop"]'
    assert claim.mail


async def test_another_signal_wakes_nobody(given: Given, post: Post, store: Store) -> None:
    (id,) = await waiting(given, "go")

    (receipt,) = await store.signals.send([post.signal(id, "gone")])

    assert (receipt.result, receipt.queue) == ("delivered", None)
    assert await given.status(id) == "waiting"


async def test_of_several_signals_the_first_says_where_it_woke(given: Given, post: Post, store: Store) -> None:
    (id,) = await waiting(given, "go")

    receipts = await store.signals.send([post.signal(id, name) for name in ("x", "go", "go")])

    assert [receipt.queue for receipt in receipts] == [None, "default", None]


@pytest.mark.parametrize("limit", [{"concurrency_key": "k"}, {"rate_limit": "r"}])
async def test_what_has_a_limit_is_left_to_the_timekeeper(
    given: Given, post: Post, store: Store, limit: dict[str, str]
) -> None:
    claim = await given.claim()
    await store.claims.commit([parked(claim, "go", **limit)])

    await post.send(claim.id)

    row = await given.read(claim.id)
    assert (row.status, row.awaits) == ("scheduled", '["go"]')
    assert (await store.timers.promote(10)).promoted == 1


async def test_a_signal_that_came_first_counts(given: Given, post: Post, store: Store) -> None:
    early, late = await given.claimed(2)
    await post.send(early.id)

    committed = await store.claims.commit([parked(early, "go", wake_s=60.0), parked(late, "go", wake_s=60.0)])

    assert committed == Committed([], ["default"])
    row = await given.read(early.id)
    assert (row.status, row.awaits, row.wake_at) == ("ready", '["go"]', None)
    assert await given.status(late.id) == "waiting"


async def test_a_signal_that_came_first_leaves_the_limited_to_the_timekeeper(
    given: Given, post: Post, store: Store
) -> None:
    claim = await given.claim()
    await post.send(claim.id)

    await store.claims.commit([parked(claim, "go", concurrency_key="k")])

    assert await given.status(claim.id) == "scheduled"


@pytest.mark.parametrize("how", ["another name", "shown", "consumed", "consumed before"])
async def test_a_signal_that_came_first_counts_once(given: Given, post: Post, store: Store, how: str) -> None:
    claim = await given.claim()
    signal = post.signal(claim.id, "other" if how == "another name" else "go", dedup_key="d")
    await store.signals.send([signal])
    if how == "consumed before":
        await store.claims.commit([again(claim, consumed=[signal.id])])
        (claim,) = await given.taken()
    columns = {"shown": {"shown": [signal.id]}, "consumed": {"consumed": [signal.id]}}.get(how, {})

    committed = await store.claims.commit([parked(claim, "go", **columns)])

    assert committed == Committed([], [])
    assert await given.status(claim.id) == "waiting"


async def test_a_signal_with_an_older_id_is_not_taken_for_one_that_was_shown(
    given: Given, post: Post, store: Store
) -> None:
    """Senders make ids before they are stored, in any order: what was shown is a set of them, and no mark in a line."""
    claim = await given.claim()
    older = post.signal(claim.id)
    shown = post.signal(claim.id)
    assert older.id < shown.id
    await store.signals.send([shown])
    await store.signals.send([older])

    assert (await store.claims.commit([parked(claim, "go", shown=[shown.id])])).queues == ["default"]


async def test_a_second_signal_wakes_what_was_shown_the_first(given: Given, post: Post, store: Store) -> None:
    claim = await given.claim()
    first, second = post.signal(claim.id), post.signal(claim.id)
    await store.signals.send([first, second])

    await store.claims.commit([parked(claim, "go", shown=[first.id])])

    assert await given.status(claim.id) == "ready"


# What becomes of what was awaited.


async def test_a_retried_step_sees_what_it_awaited(given: Given, database: Database, post: Post, store: Store) -> None:
    (id,) = await waiting(given, "go")
    await post.send(id)

    (claim,) = await given.taken()
    await store.claims.commit([again(claim)])
    (claim,) = await given.taken()
    assert claim.awaits == '["go"]'
    await store.claims.release([(claim.id, claim.epoch)])
    (claim,) = await given.taken()
    assert claim.awaits == '["go"]'
    assert (await store.leases.reclaim(10, 5)).returned == 1
    (claim,) = await given.taken()
    assert claim.awaits == '["go"]'
    await store.claims.commit([settlement(claim, "quarantined")])
    assert database.peek(id, "awaits") == '["go"]'
    await store.acts.retry(id, Redo())
    (claim,) = await given.taken()
    assert claim.awaits == '["go"]'


@pytest.mark.parametrize("outcome", ["moved", "done", "failed", "cancelled"])
async def test_the_next_step_awaits_nothing(given: Given, post: Post, store: Store, outcome: str) -> None:
    (id,) = await waiting(given, "go", wake_s=60.0)
    await post.send(id)
    (claim,) = await given.taken()

    await store.claims.commit([moved(claim) if outcome == "moved" else settlement(claim, outcome)])

    row = await given.read(id)
    assert (row.awaits, row.wake_at) == (None, None)


async def test_a_parked_instance_can_be_cancelled(given: Given, store: Store) -> None:
    (id,) = await waiting(given, "go", wake_s=60.0)

    stopped = await store.instances.cancel(id, "{}", None)

    assert stopped is not None
    assert stopped.ids == [id]
    row = await given.read(id)
    assert (row.status, row.awaits, row.wake_at) == ("cancelled", None, None)


async def test_what_nobody_read_stays_with_what_has_ended(given: Given, post: Post, store: Store) -> None:
    claim = await given.claim()
    used, unread = post.signal(claim.id, "used"), post.signal(claim.id, "unread")
    await store.signals.send([used, unread])

    await store.claims.commit([settlement(claim, consumed=[used.id])])

    assert await post.unread(claim.id) == ["unread"]
    letters = await store.signals.list(claim.id)
    assert {letter.name: letter.consumed_at is None for letter in letters} == {"used": False, "unread": True}


# Using up.


async def test_a_signal_sent_again_after_a_lost_reply_is_not_delivered_twice(
    given: Given, post: Post, store: Store, world: PinnedWorld
) -> None:
    """The first try was stored, and used up before the second came; without a dedup key it would count as new."""
    world.pin()
    claim = await given.claim()
    signal = post.signal(claim.id, "go")
    await store.signals.send([signal])
    await store.claims.commit([again(claim, consumed=[signal.id])])

    world.advance(30.0)
    assert (await store.signals.send([signal]))[0].result == "duplicate"
    assert await post.unread(claim.id) == []


async def test_what_was_used_long_ago_goes_with_the_next_use(
    given: Given, post: Post, store: Store, world: PinnedWorld
) -> None:
    world.pin()
    claim = await given.claim()
    old, late = post.signal(claim.id, "old"), post.signal(claim.id, "new")
    keyed = post.signal(claim.id, "keyed", dedup_key="d")
    await store.signals.send([old, keyed, late])
    await store.claims.commit([again(claim, consumed=[old.id, keyed.id])])

    world.advance(61.0)
    (claim,) = await given.taken()
    await store.claims.commit([again(claim, consumed=[late.id])])

    assert {letter.name for letter in await store.signals.list(claim.id)} == {"keyed", "new"}


async def test_a_lost_claim_uses_nothing_up(given: Given, post: Post, store: Store) -> None:
    claim = await given.claim()
    keyed, plain = post.signal(claim.id, "keyed", dedup_key="d"), post.signal(claim.id, "plain")
    await store.signals.send([keyed, plain])
    assert (await store.leases.reclaim(10, 5)).returned == 1
    (fresh,) = await given.taken()

    committed = await store.claims.commit([settlement(claim, consumed=[keyed.id, plain.id])])

    assert committed.stale == [claim.id]
    assert await post.unread(claim.id) == ["keyed", "plain"]
    assert (await store.claims.commit([again(fresh, consumed=[plain.id])])).stale == []
    assert await post.unread(claim.id) == ["keyed"]


async def test_a_signal_of_another_is_not_used_up(given: Given, post: Post, store: Store) -> None:
    mine, other = await given.claimed(2)
    signals = [post.signal(other.id, dedup_key="d"), post.signal(other.id)]
    await store.signals.send(signals)

    await store.claims.commit([again(mine, consumed=[signal.id for signal in signals])])

    assert await post.unread(other.id) == ["go", "go"]


async def test_an_outcome_written_twice_uses_up_once(given: Given, post: Post, store: Store) -> None:
    claim = await given.claim()
    signal = post.signal(claim.id)
    await store.signals.send([signal])
    outcome = parked(claim, "go", consumed=[signal.id])

    first, second = await store.claims.commit([outcome]), await store.claims.commit([outcome])

    assert first == second == Committed([], [])
    assert await given.status(claim.id) == "waiting"


async def test_a_park_written_twice_waits_once(given: Given, post: Post, store: Store) -> None:
    """The reply of the first was lost; meanwhile the signal came, and the step ran."""
    claim = await given.claim()
    outcome = parked(claim, "go")
    await store.claims.commit([outcome])
    await post.send(claim.id)
    (fresh,) = await given.taken()

    assert (await store.claims.commit([outcome])).stale == []
    assert await given.status(claim.id) == "running"
    assert (await store.claims.commit([settlement(fresh)])).stale == []


# Deadlines.


async def test_a_wait_ends_at_its_deadline(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    (id,) = await waiting(given, "go", wake_s=60.0)

    due = await store.timers.promote(10, world.advance(59.0))
    assert due.promoted == 0
    assert due.next_s == pytest.approx(1.0)
    due = await store.timers.promote(10, now := world.advance(1.5))

    assert (list(due.queues), due.promoted, due.timed_out) == (["default"], 1, 1)
    row = await given.read(id)
    assert (row.status, row.awaits, row.wake_at) == ("ready", '["go"]', None)
    assert row.due_at.timestamp() == pytest.approx(now / 1e6)
    assert (await store.timers.promote(10)).next_s is None


async def test_deadlines_and_due_times_share_a_round(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    await waiting(given, "go", count=3, wake_s=10.0)
    await given.added(3, delay_s=20.0, queue="other")
    await given.one(delay_s=30.0)

    first = await store.timers.promote(100, world.advance(5.0))
    both = await store.timers.promote(100, world.advance(20.0))

    assert first.next_s == pytest.approx(5.0)
    assert sorted(both.queues) == ["default", "other"]
    assert (both.promoted, both.timed_out) == (6, 3)
    assert (await store.timers.promote(100)).next_s == pytest.approx(5.0)


async def test_a_round_wakes_no_more_than_its_limit(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    await waiting(given, "go", count=5, wake_s=10.0)
    world.advance(10.0)

    rounds = [await store.timers.promote(2) for _ in range(3)]

    assert [due.timed_out for due in rounds] == [2, 2, 1]
    assert rounds[0].next_s == 0.0


async def test_a_deadline_leaves_the_limited_to_the_timekeeper(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    claim = await given.claim()
    await store.claims.commit([parked(claim, "go", wake_s=1.0, concurrency_key="k")])

    due = await store.timers.promote(10, world.advance(1.0))

    assert (due.timed_out, due.next_s) == (1, 0.0)
    assert await given.status(claim.id) == "scheduled"


async def test_a_signal_takes_the_deadline_away(given: Given, post: Post, store: Store, world: PinnedWorld) -> None:
    world.pin()
    (id,) = await waiting(given, "go", wake_s=10.0)
    await post.send(id)

    due = await store.timers.promote(10, world.advance(60.0))

    assert (due.promoted, due.next_s) == (0, None)


# signal_or_start.


async def test_a_signal_starts_whom_it_does_not_find(given: Given, post: Post, store: Store) -> None:
    row = given.new(key="k")

    held, receipt = await store.instances.add_and_send(row, post.signal(key="k"))

    assert held == []
    assert (receipt.result, receipt.instance) == ("delivered", row.id)
    assert await given.status(row.id) == "ready"
    assert await post.unread(row.id) == ["go"]
    (claim,) = await given.taken()
    assert claim.mail


async def test_a_signal_finds_whom_it_would_start(given: Given, post: Post, store: Store) -> None:
    (id,) = await waiting(given, "go", key="k")
    row = given.new(key="k")

    held, receipt = await store.instances.add_and_send(row, post.signal(key="k"))

    assert [(each.id, each.key, each.holder) for each in held] == [(row.id, "k", id)]
    assert (receipt.result, receipt.instance, receipt.queue) == ("delivered", id, "default")
    assert await store.instances.get(row.id) is None
    assert await given.status(id) == "ready"


async def test_a_start_with_a_signal_sent_again_is_harmless(given: Given, post: Post, store: Store) -> None:
    row, signal = given.new(key="k"), post.signal(key="k")
    await store.instances.add_and_send(row, signal)

    held, receipt = await store.instances.add_and_send(row, signal)

    assert held == []
    assert (receipt.result, receipt.instance) == ("duplicate", row.id)
    assert await post.unread(row.id) == ["go"]


async def test_a_signal_starts_a_successor(given: Given, post: Post, store: Store) -> None:
    await given.ended(key="k")
    row = given.new(key="k")

    held, receipt = await store.instances.add_and_send(row, post.signal(key="k"))

    assert (held, receipt.result, receipt.instance) == ([], "delivered", row.id)


async def test_a_signal_neither_starts_nor_reaches_where_the_key_is_held_by_what_ended(
    given: Given, post: Post, store: Store
) -> None:
    id = await given.ended(key="k", scope="always")
    row = given.new(key="k", scope="always")

    held, receipt = await store.instances.add_and_send(row, post.signal(key="k"))

    assert [each.holder for each in held] == [id]
    assert (receipt.result, receipt.instance) == ("ended", id)
    assert await store.instances.get(row.id) is None


# Deleting.


async def test_signals_go_with_their_instance(
    given: Given, database: Database, post: Post, store: Store, world: PinnedWorld
) -> None:
    deleted, pruned, stays = await given.claimed(3)
    keyed = [post.signal(claim.id, dedup_key="d") for claim in (deleted, pruned, stays)]
    await store.signals.send([*keyed, *(post.signal(claim.id) for claim in (deleted, pruned, stays))])
    await store.claims.commit([ended(deleted, consumed=[keyed[0].id]), ended(pruned, consumed=[keyed[1].id])])

    await store.instances.delete(deleted.id)
    assert await store.upkeep.prune(10, world.wall_us() + 10**9) == 1

    left = database.query("SELECT instance, count(*) FROM {signals} GROUP BY instance")
    assert [(str(id), count) for id, count in left] == [(stays.id, 2)]
    assert await post.kept(deleted.id) == []


async def test_a_deleted_instance_is_no_target(given: Given, post: Post, store: Store) -> None:
    id = await given.one()
    await store.instances.delete(id)

    assert await post.send(id) == "no_target"


async def test_ten_thousand_signals_in_one_send(given: Given, post: Post, store: Store) -> None:
    waits = await waiting(given, "go", count=1_000)
    others = await given.added(1_000)
    batch = [post.signal(id, name) for id in (*waits, *others) for name in ("a", "b", "go", "go", "z")]

    receipts = await store.signals.send(batch)

    assert {receipt.result for receipt in receipts} == {"delivered"}
    assert sum(receipt.queue == "default" for receipt in receipts) == 1_000
    assert sorted(ids(await given.taken(3_000))) == sorted(waits + others)
    assert [letter.name for letter in await store.signals.inbox([waits[0]])] == ["a", "b", "go", "go", "z"]
