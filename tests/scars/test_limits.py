"""Peers' bugs with locks, semaphores and rates: too many at once, or somebody blocked for ever."""

import asyncio

import asyncpg
import pytest

from outlast._model import RateRow
from outlast._store.contract import Store
from tests.engine.given import soon
from tests.runtime.stage import Clock
from tests.scars.given import (
    DEAD,
    admitted,
    end,
    only_postgres,
    promote,
    reclaimed,
    rows_of,
    running,
    take,
    waits_for_lock,
)
from tests.store.given import Given, ids, settlement
from tests.store.outcomes import again, moved

YEAR_S = 365 * 86_400.0


async def declared(
    given: Given, node: str = "n", *, slots: int | None = None, rates: list[RateRow] | None = None
) -> None:
    """What a living node says of limits."""
    await given.node(node)
    await given.store.limits.declare(node, {} if slots is None else {"gpu": slots}, rates or [])


@only_postgres
async def test_rate_bucket_lock_order_deadlock(
    given: Given, store: Store, session: asyncpg.Connection, watcher: asyncpg.Connection
) -> None:
    """gen_durable #2: two claims locked the buckets that they share in the order of their plans, and so each other
    out.

    Here buckets are locked in the order of their names, whoever wants them and in whatever order.
    """
    await declared(given, rates=[RateRow("api", 100.0, 1.0, 100.0)])
    await admitted(store, *(given.new(rate_limit=rate) for rate in ("api[a]", "api[b]")))
    assert len(await take(store)) == 2
    await admitted(store, *(given.new(rate_limit=f"api[{name}]", priority=at) for at, name in enumerate("ba")))

    lock = "SELECT FROM outlast.buckets WHERE rate_limit = $1 FOR UPDATE NOWAIT"
    async with session.transaction():
        await session.execute(lock, "api[a]")
        taking = asyncio.ensure_future(take(store))
        await waits_for_lock(watcher)
        await session.execute(lock, "api[b]")  # nobody holds it while he waits for the first.

    assert len(await soon(taking)) == 2


async def test_bucket_gc_stalls_sleeping_row(given: Given, store: Store, clock: Clock) -> None:
    """gen_durable #13: the bucket of a row that slept was full again and deleted as idle; the claim wanted a
    bucket, and nobody made a new one.

    Here a bucket at which somebody waits is no idle one, and one that is missing is a full one.
    """
    clock.pin()
    await declared(given, rates=[RateRow("api", 1.0, 60.0, 1.0)])
    await admitted(store, given.new(rate_limit="api"), given.new(rate_limit="api"))
    (first,) = await take(store)
    clock.advance(3600)

    assert await store.limits.prune("", 10) == (0, "")
    assert await store.limits.open_due(10) == ["default"]
    (second,) = await take(store)

    sleeper = given.new(rate_limit="api", delay_s=7200.0)
    await store.instances.add([sleeper])
    clock.advance(7200)
    assert await store.limits.prune("", 10) == (1, "")
    await promote(store)
    assert ids(await take(store)) == [sleeper.id]
    assert first.id != second.id


async def test_gate_over_admission_epq(given: Given, store: Store, other: Store) -> None:
    """gen_durable #23: with more than one slot, two claims at once were counted twice from one snapshot, and the
    key ran more than it may.

    Here nothing is counted: a slot is the number of a running row, given under a lock of its key, unique in an
    index.
    """
    await declared(given, slots=3)
    await admitted(store, *(given.new(concurrency_key="gpu") for _ in range(24)))
    given.database.query("UPDATE {instances} SET status = 'ready', blocked_on = NULL")  # all may try at once.

    taken = await asyncio.gather(*(take(each, 3) for each in (store, other) * 4))

    claims = [claim for each in taken for claim in each]
    assert sorted(given.database.peek(claim.id, "slot") for claim in claims) == [0, 1, 2]
    assert running(given) == 3


async def test_inline_continue_credits_held_slot(given: Given, store: Store) -> None:
    """gen_durable F1: a step that went on inline gave back the slot that it still held, once for each step.

    Here an outcome that keeps its claim keeps the slot: it is a column of the row.
    """
    await admitted(store, *(given.new(concurrency_key="k") for _ in range(3)))
    (claim,) = await take(store)
    for number in range(3):
        ahead = moved(claim, f"step {number}", commits=number)
        ahead.status, ahead.delay_s = "running", None
        assert (await store.claims.commit([ahead])).stale == []
        await store.limits.open(["k:k"])
        assert await take(store) == []

    last = settlement(claim, commits=3)
    assert (await store.claims.commit([last])).stale == []
    await store.limits.open(["k:k"])
    assert len(await take(store)) == 1


async def test_cold_gate_empty_pick(given: Given, store: Store) -> None:
    """gen_durable #24: the first claim of a key that was never seen made its gate, and went away with nothing.

    Here a key needs no row of its own, and a bucket is made full by the claim that wants it: the first one gets it.
    """
    await declared(given, rates=[RateRow("api", 1.0, 60.0, 1.0)])
    rows = [
        given.new(concurrency_key="never seen"),
        given.new(rate_limit="api[new]"),
        given.new(concurrency_key="gpu[new]"),
    ]
    await admitted(store, *rows)

    assert sorted(ids(await take(store))) == sorted(row.id for row in rows)


async def test_limit_added_or_removed_mid_flight(given: Given, store: Store) -> None:
    """gen_durable #30: keys with and without a configured limit were kept in two ways; where a deploy added or
    removed one, what ran under the old way was not seen by the new: one too many.

    Here every key is kept in one way, a limit of one where nobody says more; what runs always counts.
    """
    await admitted(store, *(given.new(concurrency_key="gpu") for _ in range(8)))
    (first,) = await take(store)

    await declared(given, slots=3)
    await store.limits.sweep("", 100)
    second, third = await take(store)

    await store.leases.retire("n")
    for claim in (first, second):
        await store.limits.sweep("", 100)
        assert await take(store) == []
        await end(store, claim)
    assert await take(store) == []
    await end(store, third)
    assert len(await take(store)) == 1


async def test_poke_storm_write_churn(given: Given, store: Store) -> None:
    """gen_durable #27: each hint made every node claim the rows behind a full key and give them back: writes
    without end.

    Here they are `blocked`, and in no index that claims read: looking for them writes nothing.
    """
    await admitted(store, *(given.new(concurrency_key="k") for _ in range(50)))
    assert len(await take(store)) == 1
    before = rows_of(given)

    for _ in range(10):
        await store.limits.sweep("", 100)
        await store.limits.open(["k:k"])
        taken = await take(store, 50)
        assert (taken, taken.seen) == ([], 0)

    assert rows_of(given) == before


async def test_denied_head_starves_queue(given: Given, store: Store) -> None:
    """gen_durable #26: rows of a full key filled the window that a claim looks at; what stood behind them never
    ran.

    Here a claim of one finds the one that may run, behind any number of others that may not.
    """
    await admitted(store, *(given.new(concurrency_key="k", priority=-9) for _ in range(200)))
    assert len(await take(store, 1)) == 1
    free = given.new(priority=9)
    await admitted(store, free)

    assert ids(await take(store, 1)) == [free.id]


async def test_recovered_row_blocks_key_forever(given: Given, store: Store) -> None:
    """DBOS-py #805: what was recovered still counted as running under its key, and waited for itself.

    Here whatever gives a row back empties its slot in the same write.
    """
    rows = [given.new(concurrency_key="k") for _ in range(2)]
    await admitted(store, *rows)
    (lost,) = await take(store, node=DEAD)
    assert (await store.leases.reclaim(10, 99)).returned == 1
    await promote(store)
    done = []

    while taken := await take(store):
        done += ids(taken)
        await end(store, taken[0])

    assert lost.id in done
    assert sorted(done) == sorted(row.id for row in rows)


async def test_future_job_holds_lock(given: Given, store: Store) -> None:
    """Procrastinate #1599: a job that is due next year held its lock from now on, and its siblings waited with it.

    Here only what runs holds a slot: neither what is scheduled, nor what waits for its next attempt.
    """
    await admitted(
        store, given.new(concurrency_key="k", delay_s=YEAR_S), *(given.new(concurrency_key="k") for _ in range(2))
    )
    (first,) = await take(store)
    later = again(first)
    later.status, later.delay_s = "scheduled", YEAR_S
    assert (await store.claims.commit([later])).stale == []
    await store.limits.open(["k:k"])

    (second,) = await take(store)
    assert second.id != first.id


async def test_semaphore_released_twice(given: Given, store: Store) -> None:
    """Solid Queue #761: a heartbeat that failed for a moment made two runs of one job, and each gave back the
    semaphore: of a job limited to one, eleven ran.

    Here there is nothing to give back but the row's own slot, and only the claim that has it can.
    """
    await admitted(store, *(given.new(concurrency_key="k") for _ in range(12)))
    (lost,) = await take(store, node=DEAD)
    assert (await store.leases.reclaim(10, 99)).returned == 1
    await promote(store)
    await given.node("b")
    (holder,) = await take(store, node="b")

    for _ in range(11):
        late = settlement(lost, frees="k")
        assert (await store.claims.commit([late])).stale == [lost.id]
        await store.limits.open(["k:k"])
        await store.limits.sweep("", 10)
        assert await take(store) == []

    assert running(given) == 1
    await end(store, holder)
    assert len(await take(store)) == 1


async def test_semaphore_expires_while_running(given: Given, store: Store, clock: Clock) -> None:
    """Solid Queue #761: a semaphore has a duration; a job that takes longer keeps running, and the next one is let
    in.

    Here a slot has no end but that of its run.
    """
    clock.pin()
    await admitted(store, *(given.new(concurrency_key="k") for _ in range(2)))
    assert len(await take(store)) == 1

    clock.advance(YEAR_S)
    await promote(store)
    await store.limits.sweep("", 10)
    await store.limits.prune("", 10)

    assert await take(store) == []
    assert running(given) == 1


@pytest.mark.parametrize("opens", [True, False], ids=["told", "crashed before it told"])
async def test_enqueue_unblock_race(given: Given, store: Store, other: Store, opens: bool) -> None:
    """Solid Queue #689: a job was blocked at the very moment in which the last holder went; nobody was left to
    unblock it.

    Here admission looks after it has blocked, whoever ends looks after it has ended, and a sweep looks in any case.
    """
    for before in (True, False):
        await admitted(store, given.new(concurrency_key="k"))
        (holder,) = await take(store)
        row = given.new(concurrency_key="k")
        await store.instances.add([row])

        if before:
            await promote(store)
        assert (await store.claims.commit([settlement(holder)])).stale == []
        if opens:
            await store.limits.open(["k:k"])
        if not before:
            await promote(store)
        elif not opens:
            await other.limits.sweep("", 10)

        (claim,) = await take(store)
        assert claim.id == row.id
        await end(store, claim)


async def test_retry_hits_queueing_lock(given: Given, store: Store) -> None:
    """Procrastinate #1446: a job held its queueing lock only while it waited. A second one took it while the first
    ran; the first failed, could not be put back, and stayed `doing` for ever.

    Here a key is held from the start to the end, so no retry can meet another holder; and who waits behind a
    concurrency key just goes first.
    """
    row, twin = given.new(key="k", concurrency_key="c"), given.new(key="k")
    await admitted(store, row)
    (claim,) = await take(store)
    (held,) = await store.instances.add([twin])
    assert held.holder == row.id
    await admitted(store, sibling := given.new(concurrency_key="c"))

    retried = again(claim)
    retried.status = "scheduled"
    assert (await store.claims.commit([retried])).stale == []
    await store.limits.open(["k:c"])
    await promote(store)

    done = []
    while taken := await take(store):
        done += ids(taken)
        await end(store, taken[0])
    assert sorted(done) == sorted([row.id, sibling.id])
    assert await store.instances.add([twin]) == []


async def test_unique_job_conflicts_with_itself(given: Given, store: Store) -> None:
    """River #619: a unique job that was to run again conflicted with a unique job: itself.

    Here a row that changes its status keeps its one place in the index of keys; a start that is repeated finds
    itself.
    """
    row = given.new(key="k")
    for _ in range(2):
        assert await store.instances.add([row]) == []
    (claim,) = await take(store, node=DEAD)
    claim = await reclaimed(given)
    for _ in range(2):
        assert (await store.claims.commit([again(claim)])).stale == []
        (claim,) = await take(store)

    assert (claim.id, claim.attempt) == (row.id, 2)
    assert await store.instances.add([row]) == []
    assert (await store.claims.commit([settlement(claim)])).stale == []
