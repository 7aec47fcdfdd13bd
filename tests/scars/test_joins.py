"""Peers' bugs with children: parents that wait for ever, wake too early, or lock each other out."""

import asyncio

import asyncpg

from outlast._store.contract import Store
from tests.engine.given import soon
from tests.scars.given import DEAD, only_postgres, reclaimed, waits_for_lock
from tests.store.given import Given, ids
from tests.store.outcomes import ended, family, spawned


async def test_spawn_reaped_between_insert_and_park(given: Given, store: Store) -> None:
    """gen_durable F2: the reaper took a parent between the insert of its children and its park: they were orphans,
    and the barrier of its second run was lowered by the children of the first.

    Here children and park are one fenced write: a spawn that comes too late inserts nobody.
    """
    first = await given.claim(node=DEAD)
    second = await reclaimed(given)
    assert (await store.claims.commit([spawned(first, [given.new() for _ in range(3)])])).stale == [first.id]
    assert await store.instances.totals() == {"running": 1}

    assert (await store.claims.commit([spawned(second, [given.new() for _ in range(2)])])).stale == []
    one, two = await given.taken()
    await store.claims.commit([ended(one)])
    assert await given.status(second.id) == "waiting"
    await store.claims.commit([ended(two)])
    assert await given.status(second.id) == "ready"


async def test_parallel_join_lost_update(given: Given, store: Store, other: Store) -> None:
    """Durable's parallel_race: children that ended together read the list of results, added theirs, and wrote it
    back over each other; the parent waited for a result that was there and gone.

    Here each child's end counts once, under a lock of its parent, in the transaction of its own outcome.
    """
    parent, (last, *children) = await family(given, 40)

    told = await asyncio.gather(
        *((store, other)[at % 2].claims.commit([ended(child)]) for at, child in enumerate(children))
    )

    assert [each.queues for each in told] == [[]] * 39
    assert (await given.status(parent), given.database.peek(parent, "pending")) == ("waiting", 1)
    assert (await store.claims.commit([ended(last)])).queues == ["default"]
    assert ids(await given.taken()) == [parent]


FAIL_ONCE = """
CREATE SEQUENCE outlast.hits;
CREATE FUNCTION outlast.fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status = 'waiting' AND nextval('outlast.hits') = 1 THEN
        RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fail_once BEFORE UPDATE ON outlast.instances FOR EACH ROW EXECUTE FUNCTION outlast.fail_once();
"""


@only_postgres
async def test_deadlock_abort_loses_child_notice(given: Given, store: Store) -> None:
    """pg_durable's deadlock report: the transaction in which a child told its parent was the victim of a deadlock;
    it was logged and dropped, and the parent waited for ever.

    Here what a deadlock has undone is done again, the child's end with its parent's wake.
    """
    parent, (child,) = await family(given, 1)
    given.database.run(FAIL_ONCE)

    committed = await store.claims.commit([ended(child)])

    assert (committed.stale, committed.queues) == ([], ["default"])
    assert (await given.status(child.id), await given.status(parent)) == ("done", "ready")
    assert given.database.query("SELECT last_value FROM outlast.hits") == [(2,)]


@only_postgres
async def test_cancel_complete_lock_order(
    given: Given, store: Store, other: Store, session: asyncpg.Connection, watcher: asyncpg.Connection
) -> None:
    """absurd 0.1.0: a cancel locked task and run in one order, a completion in the other, and they locked each
    other out.

    Here both go from the leaves up: while a cancel waits for one child, another child ends and tells their parent.
    """
    parent, children = await family(given, 3)
    first, second, _ = sorted(children, key=lambda child: child.id)
    async with session.transaction():
        await session.execute("SELECT FROM outlast.instances WHERE id = $1 FOR UPDATE", first.id)
        cancelling = asyncio.ensure_future(store.instances.cancel(parent, "{}", None, tree=True))
        await waits_for_lock(watcher)
        assert (await soon(other.claims.commit([ended(second)]))).stale == []

    stopped = await soon(cancelling)
    assert sorted(stopped.ids) == sorted({parent, *ids(children)} - {second.id})
    assert await store.instances.totals() == {"cancelled": 3, "done": 1}
