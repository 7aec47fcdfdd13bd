"""Two sides of one instance at once, on connections of their own: nothing is lost, and nothing done twice."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import pytest

from outlast._model import Claim, Committed, Receipt, Redo, Settlement, Signal
from outlast._store.contract import Store
from tests.store.conftest import OpenStore
from tests.store.given import Given, ids, settlement
from tests.store.outcomes import Post, ended, family, parked, spawned, waiting

T = TypeVar("T")
ROUNDS = int(os.environ.get("OUTLAST_TEST_ROUNDS", "50"))
AT_ONCE = 200
"""Instances in a round: each is a race of its own. In all, 10,000; a million with OUTLAST_TEST_ROUNDS=5000."""


@pytest.fixture
async def other(open_store: OpenStore) -> Store:
    """Another process's store."""
    return await open_store()


@pytest.fixture
def post(given: Given) -> Post:
    """Makes signals."""
    return Post(given)


def parts(items: Sequence[T], size: int = 20) -> list[Sequence[T]]:
    """The items in small batches, in an order of their own."""
    shuffled = random.sample(items, len(items))
    return [shuffled[start : start + size] for start in range(0, len(shuffled), size)]


async def commits(store: Store, outcomes: Sequence[Settlement], size: int = 20) -> list[Committed]:
    """Writes outcomes in small batches."""
    return list(await asyncio.gather(*(store.claims.commit(part) for part in parts(outcomes, size))))


async def sends(store: Store, signals: Sequence[Signal]) -> dict[str, Receipt]:
    """Sends signals in small batches. Returns receipts by instance."""
    found = await asyncio.gather(*(store.signals.send(part) for part in parts(signals)))
    return {receipt.instance: receipt for receipts in found for receipt in receipts if receipt.instance is not None}


async def at_once(*calls: Awaitable[Any]) -> list[Any]:
    """All of them, begun in any order."""
    order = random.sample(range(len(calls)), len(calls))
    answers = await asyncio.gather(*(calls[n] for n in order))
    return [answers[order.index(n)] for n in range(len(calls))]


async def totals(store: Store) -> Counter[str]:
    """Instances by status."""
    return Counter(await store.instances.totals())


async def finish(given: Given, claims: Iterable[Claim]) -> None:
    """Ends what a round has left running."""
    assert (await given.store.claims.commit([settlement(claim) for claim in claims])).stale == []


def forget_ended(given: Given) -> None:
    """Empties the tables, so that round after round finds them alike."""
    given.database.query("DELETE FROM {signals}")
    given.database.query("DELETE FROM {instances}")


@pytest.mark.timeout(120 + 5 * ROUNDS)
async def test_no_wake_up_is_lost_between_a_park_and_its_signal(given: Given, store: Store, other: Store) -> None:
    post = Post(given)
    for _ in range(ROUNDS):
        claims = await given.claimed(AT_ONCE)

        committed, receipts = await at_once(
            commits(store, [parked(claim, "go") for claim in claims]),
            sends(other, [post.signal(claim.id) for claim in claims]),
        )

        assert [each.stale for each in committed] == [[]] * len(committed)
        assert {receipt.result for receipt in receipts.values()} == {"delivered"}
        assert [each.waiting for each in await store.queues.counts()] == [0]
        awake = await given.taken(AT_ONCE)
        assert sorted(ids(awake)) == sorted(ids(claims))
        assert len(await store.signals.inbox(ids(awake))) == AT_ONCE
        await finish(given, awake)
        forget_ended(given)


async def test_without_the_second_look_wake_ups_would_be_lost(given: Given, store: Store, other: Store) -> None:
    """The same race with the look at the inbox after the park taken out: the test above can fail."""
    desk = cast(Any, store.claims)._desk
    blind = {
        field: getattr(desk.sql["recheck"], field).replace("status = 'waiting'", "status = 'nobody'")
        for field in ("text", "numbered")
    }
    assert blind["text"] != desk.sql["recheck"].text
    desk.sql = {**desk.sql, "recheck": replace(desk.sql["recheck"], **blind)}
    post = Post(given)
    lost = 0
    for _ in range(10):
        claims = await given.claimed(AT_ONCE)
        await at_once(
            commits(store, [parked(claim, "go") for claim in claims]),
            sends(other, [post.signal(claim.id) for claim in claims]),
        )
        lost += sum(each.waiting for each in await store.queues.counts())
        forget_ended(given)

    assert lost > 0


async def test_a_signal_is_stored_or_its_target_had_ended(given: Given, store: Store, other: Store, post: Post) -> None:
    seen: Counter[str] = Counter()
    for _ in range(ROUNDS // 10):
        claims = await given.claimed(AT_ONCE)

        _, receipts = await at_once(
            commits(store, [settlement(claim) for claim in claims]),
            sends(other, [post.signal(claim.id) for claim in claims]),
        )

        stored = {letter.instance for letter in await store.signals.inbox(ids(claims))}
        assert stored == {id for id, receipt in receipts.items() if receipt.result == "delivered"}
        seen.update(receipt.result for receipt in receipts.values())
    assert set(seen) <= {"delivered", "ended"}


async def test_a_deadline_and_a_signal_wake_once(given: Given, store: Store, other: Store, post: Post) -> None:
    for _ in range(ROUNDS // 10):
        waits = await waiting(given, "go", count=AT_ONCE, wake_s=3600.0)
        late_us = given.world.wall_us() + 7_200_000_000

        dues, receipts = await at_once(
            asyncio.gather(*(store.timers.promote(20, late_us) for _ in range(AT_ONCE // 10))),
            sends(other, [post.signal(id) for id in waits]),
        )

        assert {receipt.result for receipt in receipts.values()} == {"delivered"}
        by_signal = sum(receipt.queue is not None for receipt in receipts.values())
        assert by_signal + sum(due.timed_out for due in dues) == AT_ONCE
        awake = await given.taken(2 * AT_ONCE)
        assert sorted(ids(awake)) == sorted(waits)
        await finish(given, awake)


async def test_a_dedup_key_counts_once_from_two_senders(given: Given, store: Store, other: Store, post: Post) -> None:
    waits = await waiting(given, "go", count=AT_ONCE)

    both = await at_once(
        *(sends(each, [post.signal(id, dedup_key="d") for id in waits]) for each in (store, other, store, other))
    )

    for id in waits:
        assert sorted(found[id].result for found in both) == ["delivered", *["duplicate"] * 3]
        assert sum(found[id].queue is not None for found in both) == 1
    assert len(await store.signals.inbox(waits)) == AT_ONCE


async def test_children_that_end_at_once_wake_their_parent_once(given: Given, store: Store, other: Store) -> None:
    """Each parent has a queue of its own, so that the queues told are the wake-ups."""
    for _ in range(ROUNDS // 20):
        parents = []
        for number in range(AT_ONCE // 2):
            parents += await given.claimed(queue=f"q{number}")
        await store.claims.commit([spawned(claim, [given.new() for _ in range(3)]) for claim in parents])
        children = await given.taken(2 * AT_ONCE)
        assert len(children) == 3 * len(parents)

        halves = await at_once(
            commits(store, [ended(child) for child in children[::2]], 7),
            commits(other, [ended(child, "failed") for child in children[1::2]], 7),
        )

        told = Counter(queue for half in halves for committed in half for queue in committed.queues)
        assert told == Counter(f"q{number}" for number in range(len(parents)))
        for number, claim in enumerate(parents):
            awake = await given.taken(queue=f"q{number}")
            assert ids(awake) == [claim.id]
            await finish(given, awake)


async def test_the_deadline_and_the_last_child_wake_once(given: Given, store: Store, other: Store) -> None:
    for _ in range(ROUNDS // 20):
        parents = await given.claimed(AT_ONCE, queue="parents")
        await store.claims.commit([spawned(claim, [given.new()], wake_s=3600.0) for claim in parents])
        children = await given.taken(AT_ONCE)
        late_us = given.world.wall_us() + 7_200_000_000

        await at_once(
            asyncio.gather(*(store.timers.promote(20, late_us) for _ in range(AT_ONCE // 10))),
            commits(other, [ended(child) for child in children]),
        )

        awake = await given.taken(2 * AT_ONCE, queue="parents")
        assert sorted(ids(awake)) == sorted(ids(parents))
        await finish(given, awake)


async def test_a_spawn_and_a_reclaim_have_one_winner(given: Given, store: Store, other: Store) -> None:
    for _ in range(ROUNDS // 20):
        parents = await given.claimed(AT_ONCE, queue="parents")  # of a node that never announced itself.

        committed, _ = await at_once(
            commits(store, [spawned(claim, [given.new(), given.new()]) for claim in parents]),
            asyncio.gather(*(other.leases.reclaim(20, 100) for _ in range(5))),
        )

        stale = {id for each in committed for id in each.stale}
        again = await given.taken(2 * AT_ONCE, queue="parents")
        assert set(ids(again)) == stale
        children = await given.taken(3 * AT_ONCE)
        assert len(children) == 2 * (AT_ONCE - len(stale))
        assert {child.parent for child in children} == set(ids(parents)) - stale
        await commits(store, [ended(child) for child in children])
        await finish(given, [*again, *await given.taken(2 * AT_ONCE, queue="parents")])
        assert await totals(store) == Counter(done=(await totals(store))["done"])


async def test_a_retried_child_never_wakes_its_parent_early(given: Given, store: Store, other: Store) -> None:
    families = [await family(given, 2) for _ in range(20)]
    await store.claims.commit([ended(first, "failed") for _, (first, _) in families])

    await at_once(
        asyncio.gather(*(other.acts.retry(first.id, Redo()) for _, (first, _) in families)),
        commits(store, [ended(second) for _, (_, second) in families], 3),
    )

    statuses = [
        (given.database.peek(parent, "status"), given.database.peek(parent, "pending")) for parent, _ in families
    ]
    assert set(statuses) <= {("waiting", 1), ("ready", None)}
    again = await given.taken(100)
    await commits(store, [ended(claim) for claim in again if claim.parent is not None])
    assert {await given.status(parent) for parent, _ in families} <= {"ready", "running"}


async def test_a_key_leads_to_who_holds_it_while_it_moves(given: Given, store: Store, other: Store, post: Post) -> None:
    keys = [f"k{number}" for number in range(AT_ONCE)]
    olds = {key: (await given.claimed(key=key))[0] for key in keys}
    news = {key: given.new(key=key) for key in keys}

    async def move(key: str) -> None:
        await store.claims.commit([settlement(olds[key])])
        assert await store.instances.add([news[key]]) == []

    async def send(key: str) -> Receipt:
        return (await other.signals.send([post.signal(key=key)]))[0]

    found = await at_once(*(move(key) for key in keys), *(send(key) for key in keys))

    for key, receipt in zip(keys, found[AT_ONCE:], strict=True):
        places = [id for id in (olds[key].id, news[key].id) if await post.kept(id)]
        assert places == ([receipt.instance] if receipt.result == "delivered" else [])
        assert receipt.result in ("delivered", "ended")


async def test_a_signal_that_starts_always_arrives(given: Given, store: Store, other: Store, post: Post) -> None:
    """Whoever held the key may end at that moment: then a successor starts."""
    for _ in range(ROUNDS // 20):
        keys = [given.world.new_id() for _ in range(50)]
        olds = [(await given.claimed(key=key))[0] for key in keys]
        news = [given.new(key=key, queue="new") for key in keys]

        found = await at_once(
            *(other.instances.add_and_send(row, post.signal(key=row.correlation_key)) for row in news),
            *(store.claims.commit([settlement(claim)]) for claim in olds),
        )

        for (held, receipt), row, old in zip(found[:50], news, olds, strict=True):
            assert receipt.result == "delivered"
            assert receipt.instance == (old.id if held else row.id)
            assert [each.holder for each in held] in ([], [old.id])
            assert await post.unread(receipt.instance) == ["go"]
        await finish(given, await given.taken(queue="new"))


async def test_two_signals_that_start_start_one(given: Given, store: Store, other: Store, post: Post) -> None:
    keys = [given.world.new_id() for _ in range(AT_ONCE)]
    rows = [(each, given.new(key=key)) for key in keys for each in (store, other)]

    found = await at_once(
        *(each.instances.add_and_send(row, post.signal(key=row.correlation_key)) for each, row in rows)
    )

    assert {receipt.result for _, receipt in found} == {"delivered"}
    assert sum(not held for held, _ in found) == AT_ONCE
    claims = await given.taken(2 * AT_ONCE)
    assert len(claims) == AT_ONCE
    assert len(await store.signals.inbox(ids(claims))) == 2 * AT_ONCE


async def test_nothing_of_a_cancelled_tree_goes_on(given: Given, store: Store, other: Store) -> None:
    """Its children spawn, end and fail while it is cancelled."""
    for _ in range(ROUNDS // 5):
        root, children = await family(given, 12)
        outcomes = [
            spawned(child, [given.new(), given.new()]) if number % 3 else ended(child)
            for number, child in enumerate(children)
        ]

        await at_once(
            other.instances.cancel(root, "{}", None, tree=True),
            commits(store, outcomes, 2),
        )

        left = await totals(store)
        assert left == Counter(done=left["done"], cancelled=left["cancelled"])
        assert await given.taken() == []


async def test_a_parent_of_many_is_counted_right_by_all_who_end_its_children(
    given: Given, store: Store, other: Store
) -> None:
    """Some commit, some cancel, some delete: each child counts once."""
    parent, children = await family(given, 300)
    cancelled, deleted, rest = children[:60], children[60:120], children[120:]
    await store.claims.release([(child.id, child.epoch) for child in deleted])

    await at_once(
        commits(store, [ended(child) for child in rest[::2]], 5),
        commits(other, [ended(child) for child in rest[1::2]], 5),
        *(other.instances.cancel(child.id, "{}", None) for child in cancelled),
        *(store.instances.delete(child.id) for child in deleted),
    )

    assert await given.status(parent) == "ready"
    assert ids(await given.taken()) == [parent]
