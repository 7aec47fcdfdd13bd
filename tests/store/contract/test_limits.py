"""Concurrency keys, rate limits and fair shares, as the store keeps them."""

import asyncio
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from outlast._model import Claim, Filter, NewInstance, RateRow, Taken
from outlast._store.contract import Store
from tests.store.conftest import OpenStore
from tests.store.given import Given, PinnedWorld, settlement

KNOWN = ["greet@1"]
CLAIMS = int(os.environ.get("OUTLAST_TEST_CLAIMS", "500"))
"""Keyed claims for each number of slots: 5,000 in all; a million on each database with OUTLAST_TEST_CLAIMS=200000."""
DEATHS = 40


async def take(store: Store, limit: int = 10, *, node: str = "n", queue: str = "default", **more: Any) -> Taken:
    await store.leases.register(node, "host", 1, 30.0)
    return await store.claims.take(queue, node, KNOWN, limit, 5.0, **more)


async def promote(store: Store) -> None:
    """Admits what is due."""
    while (await store.timers.promote(1_000)).promoted:
        pass


async def end(store: Store, claim: Claim, status: str = "done") -> None:
    """Ends a claim and opens the gate of its key, as the committer does."""
    await store.claims.commit([settlement(claim, status)])
    if claim.concurrency_key is not None:
        await store.limits.open([f"k:{claim.concurrency_key}"])


@pytest.fixture
def new(given: Given) -> Callable[..., NewInstance]:
    def make(**columns: Any) -> NewInstance:
        return given.new(**columns)

    return make


New = Callable[..., NewInstance]


async def added(store: Store, rows: list[NewInstance]) -> list[NewInstance]:
    assert await store.instances.add(rows) == []
    await promote(store)
    return rows


async def test_what_has_a_limit_is_not_ready_before_it_is_admitted(store: Store, given: Given, new: New) -> None:
    row = new(concurrency_key="a")

    await store.instances.add([row])

    assert await given.status(row.id) == "scheduled"
    assert await take(store) == []
    due = await store.timers.promote(10)
    assert (due.queues, due.promoted) == (["default"], 1)
    assert [claim.id for claim in await take(store)] == [row.id]


async def test_one_at_a_time_is_the_default(store: Store, given: Given, new: New) -> None:
    rows = await added(store, [new(concurrency_key="a") for _ in range(5)])
    done: list[str] = []

    for _ in rows:
        (claim,) = await take(store)
        assert await take(store) == []
        done.append(claim.id)
        await end(store, claim)

    assert sorted(done) == sorted(row.id for row in rows)
    assert await store.instances.totals() == {"done": 5}


async def test_keys_do_not_know_each_other(store: Store, new: New) -> None:
    await added(store, [new(concurrency_key=f"key {n}") for n in range(8)] + [new()])

    assert len(await take(store, 20)) == 9


@pytest.mark.parametrize("slots", [1, 2, 3, 10])
async def test_a_gate_admits_as_many_as_it_has_slots(store: Store, given: Given, new: New, slots: int) -> None:
    await given.node("n")
    await store.limits.declare("n", {"gpu": slots}, [])
    await added(store, [new(concurrency_key="gpu[eu]") for _ in range(12)] + [new(concurrency_key="gpu[us]")])

    taken = await take(store, 20)

    keys = [claim.concurrency_key for claim in taken]
    assert (keys.count("gpu[eu]"), keys.count("gpu[us]")) == (slots, 1)
    assert sorted(given.database.peek(c.id, "slot") for c in taken if c.concurrency_key == "gpu[eu]") == list(
        range(slots)
    )


async def test_the_strictest_of_the_living_counts(store: Store, given: Given, new: New) -> None:
    for node, slots in (("old", 3), ("new", 5)):
        await given.node(node)
        await store.limits.declare(node, {"gpu": slots}, [])
    await added(store, [new(concurrency_key="gpu") for _ in range(9)])

    first = await take(store, 20)
    assert (len(first), await store.limits.slots()) == (3, {"gpu": 3})

    await store.leases.retire("old")
    assert await store.limits.slots() == {"gpu": 5}
    queues, after = await store.limits.sweep("", 100)
    assert (queues, after) == (["default"], "")
    assert len(await take(store, 20)) == 2

    await store.leases.retire("new")  # now one at a time again; what runs drains first.
    assert await store.limits.slots() == {}
    for claim in first[:2]:
        await end(store, claim)
    assert await take(store, 20) == []


async def test_the_urgent_go_first_within_a_key(store: Store, given: Given, new: New) -> None:
    late, early, urgent = (new(concurrency_key="a", priority=priority) for priority in (1, 0, -1))
    await added(store, [late])
    await added(store, [early, urgent])
    order = []

    while taken := await take(store, 1):
        order.append(taken[0].id)
        await end(store, taken[0])

    assert order == [urgent.id, early.id, late.id]


async def test_a_line_that_nobody_serves_holds_no_other_back(store: Store, given: Given, new: New) -> None:
    unknown = new(concurrency_key="a", priority=-5)
    unknown.program = "nobody knows it"
    await added(store, [unknown, new(concurrency_key="a", queue="quiet"), new(concurrency_key="a")])

    (claim,) = await take(store)
    await end(store, claim)

    assert [c.concurrency_key for c in await take(store, queue="quiet")] == ["a"]


@pytest.mark.parametrize("act", ["release", "reclaim", "cancel", "retry later"])
async def test_whatever_ends_a_run_lets_go_of_the_slot(store: Store, given: Given, new: New, act: str) -> None:
    await given.node("n")
    await added(store, [new(concurrency_key="a") for _ in range(3)])
    (claim,) = await take(store)

    if act == "release":
        await store.claims.release([(claim.id, claim.epoch)])
    elif act == "reclaim":
        await store.leases.retire("n")
        assert (await store.leases.reclaim(10, 5)).returned == 1
    elif act == "cancel":
        await store.instances.cancel(claim.id, "{}", None)
        await store.limits.sweep("", 10)
    else:
        await store.claims.commit([settlement(claim, "scheduled", delay_s=60.0)])
        await store.limits.open(["k:a"])
    await promote(store)

    assert given.database.peek(claim.id, "slot") is None
    assert len(await take(store)) == 1


async def test_a_deep_backlog_behind_one_key_is_not_even_looked_at(store: Store, given: Given, new: New) -> None:
    await added(store, [new(concurrency_key="a") for _ in range(500)] + [new(priority=9)])

    taken = await take(store, 2)

    assert (len(taken), taken.seen, list(taken.denied)) == (2, 2, [])


async def test_what_is_blocked_says_on_what_and_is_counted(store: Store, given: Given, new: New) -> None:
    await added(store, [new(concurrency_key="a") for _ in range(3)])

    (counts,) = await store.queues.counts()

    assert (counts.ready, counts.blocked) == (1, 2)
    rows = [await given.read(row.id) for row in await store.instances.list(Filter(status=("blocked",)))]
    assert {row.blocked_on for row in rows} == {"k:a"}


# Rates.


async def declared(store: Store, given: Given, **rate: float) -> None:
    await given.node("n")
    await store.limits.declare("n", {}, [RateRow("api", **{"allowed": 10.0, "period_s": 1.0, "burst": 10.0} | rate)])


async def test_tokens_are_taken_with_the_claim_and_come_back_with_time(
    store: Store, given: Given, new: New, world: PinnedWorld
) -> None:
    world.pin()
    await declared(store, given)
    await added(store, [new(rate_limit="api") for _ in range(25)])

    assert [len(await take(store, 50)), len(await take(store, 50))] == [10, 0]
    for passed_s, more in ((0.05, 0), (0.06, 1), (0.5, 5), (60.0, 9)):
        world.advance(passed_s)
        await promote(store)
        assert len(await take(store, 50)) == more
    assert (await store.instances.totals())["running"] == 25


async def test_partitions_have_buckets_of_their_own(store: Store, given: Given, new: New) -> None:
    await declared(store, given, burst=2.0)
    await added(store, [new(rate_limit=f"api[{n % 3}]") for n in range(12)])

    assert len(await take(store, 50)) == 6


async def test_a_weight_takes_as_many_tokens(store: Store, given: Given, new: New, world: PinnedWorld) -> None:
    world.pin()
    await declared(store, given)
    await added(store, [new(rate_limit="api", rate_weight=4.0) for _ in range(4)])

    assert len(await take(store, 50)) == 2
    world.advance(0.2)
    await promote(store)
    assert len(await take(store, 50)) == 1


async def test_the_next_look_is_when_the_tokens_exist(store: Store, given: Given, new: New, world: PinnedWorld) -> None:
    world.pin()
    await declared(store, given, burst=1.0)
    await added(store, [new(rate_limit="api") for _ in range(3)])
    await take(store, 50)
    await promote(store)

    due = await store.timers.promote(10)

    assert due.next_s is not None
    assert 0.0 < due.next_s <= 0.11


async def test_a_clock_that_goes_back_mints_nothing(store: Store, given: Given, new: New, world: PinnedWorld) -> None:
    world.pin()
    await declared(store, given, burst=3.0)
    await added(store, [new(rate_limit="api") for _ in range(9)])
    assert len(await take(store, 50)) == 3

    world.advance(-3_600.0)
    await store.limits.sweep("", 10)
    assert await take(store, 50) == []


async def test_key_and_rate_are_taken_both_or_neither(store: Store, given: Given, new: New, world: PinnedWorld) -> None:
    world.pin()
    await declared(store, given, burst=2.0)
    await added(store, [new(concurrency_key="a", rate_limit="api") for _ in range(4)])

    (first,) = await take(store, 50)
    assert await take(store, 50) == []
    await end(store, first)
    (second,) = await take(store, 50)
    await end(store, second)
    assert await take(store, 50) == []

    world.advance(1.0)
    for _ in range(2):
        await promote(store)
        await store.limits.sweep("", 10)
        (claim,) = await take(store, 50)
        await end(store, claim)
    assert await store.instances.totals() == {"done": 4}


async def test_a_rate_that_nobody_has_declared_lets_nobody_through(store: Store, given: Given, new: New) -> None:
    (row,) = await added(store, [new(rate_limit="gone")])

    assert await take(store) == []
    assert await given.status(row.id) == "blocked"


# Fair shares.


async def test_keys_take_turns(store: Store, given: Given, new: New) -> None:
    await store.instances.add([new(fair_key="big") for _ in range(300)])
    small = [new(fair_key="small") for _ in range(5)]
    await store.instances.add(small)

    taken = await take(store, 10)

    assert len(taken) == 10
    assert len({claim.id for claim in taken} & {row.id for row in small}) == 5


async def test_one_key_alone_gets_everything(store: Store, given: Given, new: New) -> None:
    await store.instances.add([new(fair_key="big") for _ in range(30)])

    first = await take(store, 20)
    assert (len(first), first.fair_after) == (20, "big")
    assert len(await take(store, 20, fair_after=first.fair_after)) == 10


async def test_weights_count(store: Store, given: Given, new: New) -> None:
    heavy = [new(fair_key="heavy", fair_weight=3.0) for _ in range(100)]
    await store.instances.add(heavy + [new(fair_key="light") for _ in range(100)])

    taken = {claim.id for claim in await take(store, 40)}

    assert len(taken & {row.id for row in heavy}) == 30


async def test_all_keys_have_their_turn_however_many(store: Store, given: Given, new: New) -> None:
    await store.instances.add([new(fair_key=f"t{n:03}") for n in range(60) for _ in range(3)])
    served: list[Taken] = []
    after = None

    for _ in range(6):
        served.append(await take(store, 10, fair_after=after))
        after = served[-1].fair_after

    ids = [claim.id for taken in served for claim in taken]
    keys = [given.database.peek(id, "fair_key") for id in ids]
    assert len(ids) >= 55
    assert len(set(keys)) >= 50, "nobody is served again before nearly all had a turn"


async def test_others_are_not_forgotten_beside_fair_ones(store: Store, given: Given, new: New) -> None:
    plain = [new() for _ in range(100)]
    await store.instances.add(plain + [new(fair_key="t") for _ in range(100)])
    first = await take(store, 20)
    assert first.fair_after is not None, "a full claim of others tells that fair ones wait"

    second = {claim.id for claim in await take(store, 20, fair_after=first.fair_after)}

    assert len(second & {row.id for row in plain}) == 10
    (counts,) = await store.queues.counts()
    assert (counts.ready, counts.running) == (160, 40)


# Races.


@pytest.mark.timeout(120 + CLAIMS // 50)
@pytest.mark.parametrize("slots", [1, 2, 3, 10, 64])
async def test_never_more_than_the_slots_run(
    store: Store, given: Given, open_store: OpenStore, new: New, slots: int
) -> None:
    """Several processes claim, end, give back and die at once; the rows and a history of our own both count."""
    rng = random.Random(slots)
    stores = [store, await open_store(), await open_store()]
    nodes = [f"n{number}" for number in range(len(stores))]

    async def rise(number: int) -> None:
        await given.node(nodes[number])
        await store.limits.declare(nodes[number], {"gate": slots}, [])

    for number in range(len(stores)):
        await rise(number)
    for start in range(0, CLAIMS, 10_000):
        await added(store, [new(concurrency_key=f"gate[{n % 3}]") for n in range(start, min(CLAIMS, start + 10_000))])
    running: dict[str, set[str]] = {}
    worst = deaths = claimed = 0

    async def work(number: int) -> None:
        nonlocal worst, deaths, claimed
        mine = stores[number]
        idle = 0
        while idle < 40:
            taken = await take(mine, rng.randint(1, 2 * slots), node=nodes[number])
            idle = 0 if taken else idle + 1
            for claim in taken:
                holders = running.setdefault(claim.concurrency_key or "", set())
                holders.add(claim.id)
                worst = max(worst, len(holders))
            await asyncio.sleep(0)
            claimed += len(taken)
            # Counted, not drawn: every run has all of them.
            dies = deaths < DEATHS and claimed * (DEATHS + 1) >= CLAIMS * (deaths + 1)
            deaths += dies
            for claim in taken:
                running[claim.concurrency_key or ""].discard(claim.id)
                if dies:
                    continue
                if rng.random() < 0.1:
                    await mine.claims.release([(claim.id, claim.epoch)])
                else:
                    await end(mine, claim)
            if dies:
                dead, nodes[number] = nodes[number], f"n{number}.{deaths}"
                await rise(number)
                await mine.leases.retire(dead)
                await mine.leases.reclaim(1_000, 2**31 - 1)
            if not taken or dies:
                await promote(mine)
                await mine.limits.sweep("", 100)

    await asyncio.gather(*(work(number) for number in range(len(stores))))

    assert worst <= slots
    assert deaths == DEATHS
    assert await store.instances.totals() == {"done": CLAIMS}


async def test_idle_buckets_are_deleted_page_by_page(store: Store, given: Given, new: New, world: PinnedWorld) -> None:
    world.pin()
    await given.node()
    await store.limits.declare("ann", {}, [RateRow("api", 2.0, 60.0, 2.0)])
    await added(store, [new(rate_limit=f"api[{place}]") for place in "abc"])
    await added(store, [new(rate_limit="api[d]", rate_weight=2.0), new(rate_limit="api[d]")])
    assert len(await take(store)) == 4
    assert await store.limits.prune("", 100) == (0, "")

    world.advance(29)
    assert await store.limits.prune("", 100) == (0, "")
    world.advance(2)
    assert await store.limits.prune("", 2) == (2, "api[b]")
    assert await store.limits.prune("api[b]", 2) == (1, "api[d]")
    assert await store.limits.prune("api[d]", 2) == (0, "")

    assert given.database.query("SELECT rate_limit FROM {buckets}") == [("api[d]",)]


async def test_a_deleted_bucket_is_a_full_one(store: Store, given: Given, new: New, world: PinnedWorld) -> None:
    world.pin()
    await given.node()
    await store.limits.declare("ann", {}, [RateRow("api", 1.0, 1.0, 3.0)])
    await added(store, [new(rate_limit="api") for _ in range(3)])
    assert len(await take(store)) == 3
    world.advance(3)
    assert await store.limits.prune("", 10) == (1, "")

    await added(store, [new(rate_limit="api") for _ in range(5)])

    assert len(await take(store)) == 3


async def test_buckets_of_a_limit_that_is_gone_are_deleted(
    store: Store, given: Given, new: New, world: PinnedWorld
) -> None:
    world.pin()
    await given.node()
    await store.limits.declare("ann", {}, [RateRow("api", 1.0, 3600.0, 1.0)])
    await added(store, [new(rate_limit="api")])
    await take(store)
    given.database.query("DELETE FROM {rates}")

    assert await store.limits.prune("", 10) == (1, "")


async def test_rates_that_nobody_declares_are_found(store: Store, given: Given, new: New) -> None:
    await given.node()
    await store.limits.declare("ann", {}, [RateRow("api", 1.0, 3600.0, 1.0)])
    await added(store, [new(rate_limit="api") for _ in range(3)])
    await added(store, [new(rate_limit=rate) for rate in ("apy", "apy[eu]", "zzz", "api[eu]")])
    await added(store, [new(concurrency_key="zzz") for _ in range(3)])
    assert await take(store)

    assert await store.limits.strays(10) == ["apy", "apy[eu]", "zzz"]
    assert await store.limits.strays(2) == ["apy", "apy[eu]"]

    await store.limits.declare("ann", {}, [RateRow(name, 1.0, 1.0, 1.0) for name in ("apy", "zzz")])
    assert await store.limits.strays(10) == []
