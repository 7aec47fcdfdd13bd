"""Peers' bugs with claims: outcomes over rows that belong to others by now, and rescuers that harm."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from outlast._kernel.outcomes import (
    Again,
    Cancelled,
    Failed,
    Finished,
    Moved,
    Outcome,
    Parked,
    Recorded,
    Spawned,
    Unreadable,
)
from outlast._kernel.settle import settle
from outlast._model import Claim, Entry
from outlast._runtime.upkeep import Reaper
from outlast._store.contract import Store
from outlast._world import SystemWorld
from outlast.errors import StoreUnavailable
from tests.engine.given import Spoilt, soon
from tests.runtime.stage import Clock
from tests.scars.given import DEAD, LIVING, a_while, changing, only_postgres, reclaimed, rows_of, take
from tests.store.given import KNOWN, NODE, Given, ids, settlement, take_as
from tests.store.outcomes import Post, ended, family, parked, spawned

LEASE_S = 10.0
DAY_S = 86_400.0
MakeReaper = Callable[..., Reaper]

OUTCOMES: dict[str, Callable[[Given, str], Outcome]] = {
    "done": lambda given, letter: Finished("1", consumed=(letter,)),
    "failed": lambda given, letter: Failed("{}", consumed=(letter,)),
    "cancelled": lambda given, letter: Cancelled("{}", consumed=(letter,)),
    "retry": lambda given, letter: Again(0.0, "{}"),
    "next": lambda given, letter: Moved("two", "{}", consumed=(letter,)),
    "await": lambda given, letter: Parked("two", "{}", ("go",), consumed=(letter,)),
    "spawn": lambda given, letter: Spawned("two", "{}", [given.new(), given.new()], consumed=(letter,)),
    "recorded": lambda given, letter: Recorded((Entry("pay#1", "step", "done", 1),), consumed=(letter,)),
    "quarantined": lambda given, letter: Unreadable("{}"),
}


@pytest.mark.parametrize("kind", OUTCOMES)
async def test_stale_outcome_over_reclaimed_row(given: Given, post: Post, kind: str) -> None:
    """gen_durable #11: a worker that had lost its claim wrote its outcome over the row of the next one: the step
    went back, the inbox was emptied, the parent's barrier was lowered.

    Here every outcome names the epoch of its claim. One that comes too late changes no row at all.
    """
    _, (claim,) = await family(given, 1)
    await post.send(claim.id)
    (letter,) = await given.store.signals.inbox([claim.id])
    again = await reclaimed(given)
    before = rows_of(given)

    made = settle(claim, OUTCOMES[kind](given, letter.id), retention_s=60.0)
    committed = await given.store.claims.commit([made])

    assert committed.stale == [claim.id]
    assert rows_of(given) == before
    assert (await given.store.claims.commit([ended(again)])).stale == []


@pytest.mark.parametrize(
    "outcome", [settlement, parked, lambda claim: spawned(claim, [])], ids=["end", "park", "spawn"]
)
async def test_fence_checked_then_updated(given: Given, outcome: Callable[[Claim], Any]) -> None:
    """Durable's queue adapter: it read the row, compared the lock's token, and then updated the row by its id
    alone. What took the row over in between was overwritten.

    Here the fence is a condition of the very statement that writes: it holds for the row as it is when it is
    written.
    """
    claim = await given.claim()
    with changing(given, "SET epoch = epoch + 1, node = ? WHERE id = ?", LIVING, claim.id) as taking_over:
        committing = asyncio.ensure_future(given.store.claims.commit([outcome(claim)]))
        await a_while()
        assert not committing.done()
        taking_over.commit()

    assert (await committing).stale == [claim.id]
    row = await given.read(claim.id)
    assert (row.status, row.node, row.epoch) == ("running", LIVING, claim.epoch + 1)


async def test_stale_recovery_snapshot_executes(given: Given, store: Store) -> None:
    """DBOS-py #742: recovery read a list of workflows to run, and ran them: also those that had ended since.

    Here nobody runs what it has read: a claim is a change of the row, and of a row that is ready at that moment.
    """
    claim = await given.claim(node=DEAD)
    assert (await store.leases.reclaim(10, 99)).returned == 1
    column = "finished_us = 1" if store.dialect == "sqlite" else "finished_at = now()"
    with changing(given, f"SET status = 'cancelled', {column} WHERE id = ?", claim.id) as cancelling:
        taking = asyncio.ensure_future(take(store))
        await a_while()
        cancelling.commit()

    assert await taking == []
    assert await given.status(claim.id) == "cancelled"


async def test_rescuer_overwrites_completed(given: Given, store: Store) -> None:
    """River #1302: the rescuer read a job that seemed stuck, the job completed, and the rescuer made it available
    again.

    Here a reclaim moves only what runs at that moment: an outcome that is being written is let through.
    """
    claim = await given.claim(node=DEAD)
    column = "finished_us = 1" if store.dialect == "sqlite" else "finished_at = now()"
    change = f"SET status = 'done', node = NULL, result = '\"mine\"', {column} WHERE id = ?"
    with changing(given, change, claim.id) as completing:
        reclaiming = asyncio.ensure_future(store.leases.reclaim(10, 99))
        await a_while()
        completing.commit()

    assert (await reclaiming).returned == (await store.leases.reclaim(10, 99)).returned == 0
    row = await given.read(claim.id)
    assert (row.status, row.result, row.crashes) == ("done", '"mine"', 0)


async def test_rescuer_pagination_starves(given: Given, store: Store) -> None:
    """River #1258, #1318: the rescuer looked at one page of long-running jobs, which were all alive; 5,133 dead
    ones behind them stayed stuck, up to 91 days.

    Here a page is a page of what is lost: those that are alive take no place in it.
    """
    await given.node("alive")
    await given.claimed(5, node="alive")
    lost = await given.claimed(5, node="ghost")

    counts = [(await store.leases.reclaim(2, 99)).returned for _ in range(4)]

    assert counts == [2, 2, 1, 0]
    assert {await given.status(claim.id) for claim in lost} == {"ready"}
    assert len(await store.claims.owned("alive")) == 5


async def test_unknown_kind_discarded(given: Given, make_reaper: MakeReaper) -> None:
    """River's rescuer: jobs of a kind that this client does not know were discarded, as in every rolling deploy.

    Here a reclaim asks for no program, and a claim names those that its process knows. The others wait for one that
    does.
    """
    (id,) = await given.added(program="newer")
    store = given.store
    assert len(await take_as(store, DEAD, known=["newer@1"])) == 1

    await make_reaper().beat()

    assert await given.status(id) == "ready"
    assert await take_as(store, NODE) == []
    assert await given.status(id) == "ready"
    assert ids(await take_as(store, NODE, known=[*KNOWN, "newer@1"])) == [id]


async def test_rescue_by_age_runs_twice(given: Given, clock: Clock, make_reaper: MakeReaper) -> None:
    """Oban's Lifeline, hexpm #1825: what had run longer than an hour was rescued, and ran twice at once, night
    after night.

    Here age says nothing: who renews its lease keeps what it runs, for years if need be.
    """
    clock.pin()
    await given.node("slow", lease_s=LEASE_S)
    claim = await given.claim(node="slow")
    renewer = given.store.leases.renewer()
    reaper = make_reaper()
    for _ in range(30):
        clock.advance(30 * DAY_S)
        clock.now += 1.0
        assert await asyncio.to_thread(renewer.renew, "slow")
        await reaper.beat()
    await asyncio.to_thread(renewer.close)

    row = await given.read(claim.id)
    assert (row.status, row.epoch, row.node) == ("running", 1, "slow")


async def test_same_host_pid_reclaim(given: Given, store: Store) -> None:
    """gen_durable #16, Procrastinate #1518: workers in containers are all process 1 of hosts that may have one
    name; one that started took the claims of another for those of its own former life.

    Here a node is a random name for each start of a process. Host and process are told, and never compared.
    """
    for node in ("one", "two"):
        await store.leases.register(node, "web", 1, 30.0)
    claim = await given.claim(node="one")

    await store.leases.retire("two")
    await store.leases.register("three", "web", 1, 30.0)

    assert (await store.leases.reclaim(10, 99)).returned == 0
    assert (await given.read(claim.id)).node == "one"
    assert SystemWorld().new_node_id() != SystemWorld().new_node_id()


@only_postgres
async def test_heartbeat_reap_deadlock(given: Given, store: Store, session: asyncpg.Connection) -> None:
    """gen_durable #17, Procrastinate #328: a late heartbeat and the reaper locked the same rows in two orders.

    Here a heartbeat writes the one row of its node, and a reclaim waits for no row: what somebody is writing is
    left out.
    """
    await given.node("own")
    first, middle, last = await given.claimed(3, node=DEAD)
    renewer = store.leases.renewer()

    async with session.transaction():
        await session.execute("SELECT FROM outlast.instances WHERE id = $1 FOR UPDATE", middle.id)
        assert (await soon(store.leases.reclaim(10, 99))).returned == 2
        assert await soon(asyncio.to_thread(renewer.renew, "own"))
    await asyncio.to_thread(renewer.close)

    assert (await store.leases.reclaim(10, 99)).returned == 1
    assert {await given.status(claim.id) for claim in (first, middle, last)} == {"ready"}


async def test_stalled_row_invisible_after_worker_pruned(given: Given, store: Store) -> None:
    """Procrastinate #1518: once the row of a dead worker was deleted, nothing led to what it held: `doing` for
    ever.

    Here it is the other way round: what runs under a name that has no row is what is lost.
    """
    await given.node("gone")
    claim = await given.claim(node="gone")
    await store.leases.retire("gone")
    assert await store.leases.beats() == []

    assert (await store.leases.reclaim(10, 99)).returned == 1
    assert await given.status(claim.id) == "ready"


async def test_db_restart_during_recovery_strands_rows(given: Given, clock: Clock, make_reaper: MakeReaper) -> None:
    """DBOS-py #716: Postgres was restarted while a process recovered what others had left; the recovery ended with
    the error, and the rows stayed PENDING for ever.

    Here a round of the reaper can break off anywhere: whatever it did not do, the next round does.
    """
    await given.node("gone", lease_s=LEASE_S)
    claims = await given.claimed(3, node="gone")
    bury, reclaim = Spoilt(given.store.leases, "bury"), Spoilt(given.store.leases, "reclaim")
    bury.lose_replies()
    reaper = make_reaper()
    failed = 0
    for _ in range(round(3 * LEASE_S)):
        clock.now += 1.0
        try:
            await reaper.beat()
        except StoreUnavailable:
            failed += 1
            if failed == 1:
                reclaim.refuse(2)

    assert failed == 3
    assert {await given.status(claim.id) for claim in claims} == {"ready"}
