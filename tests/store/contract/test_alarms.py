"""Alarms of objects: committed with the state, rung by who may, moved only by who has seen them ring."""

import asyncio
import random

from outlast._model import AlarmMove, AlarmRow
from outlast._store.contract import Store
from tests.store.conftest import OpenStore
from tests.store.given import NODE, NOON_US, Given
from tests.store.owners import BOB, TYPE, Owners, after, alarm, commit

SECOND = 1_000_000


async def test_an_alarm_comes_back_as_it_was_set(given: Given, owners: Owners) -> None:
    now_us = given.world.pin()
    by_delay = AlarmRow(TYPE, "a:b", "é", "r1", None, 1.5, 3, 60.0, "* * * * *", "Europe/Rome", '{"type":"X"}')
    at_once = AlarmRow(TYPE, "a:b", "now", "r2")
    by_time = AlarmRow(TYPE, "a:b", "then", "r3", NOON_US - 7)

    await given.store.alarms.set([by_delay, at_once, by_time])

    assert await given.store.alarms.list(TYPE, "a:b", 10) == [
        AlarmRow(TYPE, "a:b", "then", "r3", NOON_US - 7),
        AlarmRow(TYPE, "a:b", "now", "r2", now_us),
        AlarmRow(TYPE, "a:b", "é", "r1", now_us + 1_500_000, None, 3, 60.0, "* * * * *", "Europe/Rome", '{"type":"X"}'),
    ]


async def test_nothing_to_set_or_to_ask_for_is_no_harm(given: Given) -> None:
    now_us = given.world.pin()
    await given.store.alarms.set([])

    assert await given.store.alarms.due(NODE, [], 10) == (now_us, [], None)
    assert await given.store.alarms.due(NODE, [TYPE], 10) == (now_us, [], None)
    assert await given.store.alarms.cancel(TYPE, "1", None) == await given.store.alarms.cancel(TYPE, "1", "x") == 0
    assert await given.store.alarms.list(TYPE, None, 10) == await given.store.alarms.list(TYPE, "1", 10) == []


async def test_setting_again_replaces(owners: Owners, store: Store) -> None:
    held = await owners.one()
    await store.alarms.set([alarm(held, attempt=2, error="{}", failed_us=5), alarm(held, "other")])

    await store.alarms.set([alarm(held, revision="r2", delay_s=5.0), alarm(held, revision="r3", delay_s=60.0)])

    found = {row.name: row for row in await store.alarms.list(TYPE, "1", 10)}
    assert sorted(found) == ["other", "ring"]
    row = found["ring"]
    assert (row.revision, row.attempt, row.error, row.failed_us) == ("r3", 0, None, None)
    assert await owners.due() == [("1", "other")]


async def test_a_node_rings_for_its_own_objects_and_for_nobodys(given: Given, owners: Owners) -> None:
    now_us = given.world.pin()
    await owners.one("mine")
    await owners.one("theirs", node=BOB)
    await owners.one("lost", node="cid")
    await owners.bury("cid")
    ids = ("never made", "lost", "theirs", "mine")
    await given.store.alarms.set([alarm((TYPE, id), due_us=now_us - 10 + n) for n, id in enumerate(ids)])
    await given.store.alarms.set([alarm(("other", "mine"), due_us=now_us - 20)])

    assert [id for id, _ in await owners.due()] == ["never made", "lost", "mine"]
    assert [id for id, _ in await owners.due(BOB)] == ["never made", "lost", "theirs"]
    assert [id for id, _ in await owners.due(limit=2)] == ["never made", "lost"]
    assert [id for id, _ in await owners.due(NODE, TYPE, "other", limit=2)] == ["mine", "never made"]
    assert await owners.due(NODE, "unknown") == []


async def test_the_next_one_that_is_not_due_yet_is_told(given: Given, owners: Owners) -> None:
    now_us = given.world.pin()
    held = await owners.one()
    later = [alarm(held, name, due_us=now_us + seconds * SECOND) for name, seconds in (("a", 30), ("b", 20), ("c", 0))]
    await given.store.alarms.set([*later, alarm(("other", "1"), due_us=now_us + SECOND)])
    await given.store.alarms.set([alarm(held, "failed", due_us=now_us + SECOND, failed_us=now_us)])

    found = await given.store.alarms.due(NODE, [TYPE], 10)

    assert (found.now_us, [row.name for row in found.alarms], found.next_s) == (now_us, ["c"], 20.0)
    assert (await given.store.alarms.due(NODE, [TYPE, "other"], 10)).next_s == 1.0
    given.world.advance(20.0)
    assert (await given.store.alarms.due(NODE, [TYPE], 10)).next_s == 10.0


async def test_many_due_alarms_come_page_by_page(given: Given, owners: Owners) -> None:
    now_us = given.world.pin()
    held = await owners.owned(*(f"{n:03}" for n in range(100)))
    await owners.saved(*(commit(each, alarms=[alarm(each, due_us=now_us - 1_000 + int(each.id))]) for each in held))
    by_id = {each.id: each for each in held}
    seen: list[str] = []

    while page := (await given.store.alarms.due(NODE, [TYPE], 30)).alarms:
        seen += [row.id for row in page]
        moves = [commit(after(by_id[row.id]), moved=[AlarmMove(row.name, row.revision)]) for row in page]
        await owners.saved(*moves)

    assert seen == [each.id for each in held]
    assert await given.store.alarms.list(TYPE, None, 10) == []


async def test_what_rang_is_done_due_again_or_failed_for_good(given: Given, owners: Owners) -> None:
    now_us = given.world.pin()
    held = await owners.one()
    names = ("at", "done", "failed", "in")
    await owners.saved(commit(held, alarms=[alarm(held, name, every_s=5.0) for name in names]))
    moves = [
        AlarmMove("done", "r1"),
        AlarmMove("at", "r1", due_us=now_us + 9 * SECOND),
        AlarmMove("in", "r1", delay_s=4.0, attempt=2, error='{"a":1}'),
        AlarmMove("failed", "r1", attempt=6, error='{"a":2}', failed=True),
    ]

    await owners.saved(commit(after(held), moved=moves))

    found = {row.name: row for row in await given.store.alarms.list(TYPE, "1", 10)}
    assert list(found) == ["in", "at", "failed"]
    assert found["at"] == alarm(held, "at", due_us=now_us + 9 * SECOND, delay_s=None, every_s=5.0)
    assert found["in"] == alarm(
        held, "in", due_us=now_us + 4 * SECOND, delay_s=None, every_s=5.0, attempt=2, error='{"a":1}'
    )
    failed = found["failed"]
    assert (failed.attempt, failed.error, failed.failed_us, failed.due_us) == (6, '{"a":2}', now_us, now_us)
    given.world.advance(60.0)
    assert await owners.due() == [("1", "in"), ("1", "at")]
    assert await given.store.alarms.list(TYPE, None, 2) == [found["in"], found["at"]]
    assert [row.name for row in await given.store.alarms.list(TYPE, None, 10)] == ["in", "at", "failed"]


async def test_an_alarm_that_is_set_again_while_it_rings_stays(owners: Owners, store: Store) -> None:
    held = await owners.one()
    await owners.saved(commit(held, alarms=[alarm(held)]))

    # By its own handler, in one commit with what became of it,
    again = alarm(held, revision="r2", delay_s=60.0)
    await owners.saved(commit(after(held), moved=[AlarmMove("ring", "r1")], alarms=[again]))
    assert [row.revision for row in await store.alarms.list(TYPE, "1", 10)] == ["r2"]

    # and by somebody else, meanwhile: what rang is another one.
    await store.alarms.set([alarm(held, revision="r3", delay_s=60.0)])
    await owners.saved(commit(after(held, 2), moved=[AlarmMove("ring", "r2", failed=True, attempt=9)]))
    await owners.saved(commit(after(held, 3), moved=[AlarmMove("ring", "r2")]))
    await owners.saved(commit(after(held, 4), moved=[AlarmMove("ring", "r2", delay_s=0.0)]))

    assert [(row.revision, row.attempt, row.failed_us) for row in await store.alarms.list(TYPE, "1", 10)] == [
        ("r3", 0, None)
    ]
    assert await owners.due() == []


async def test_the_parts_of_a_commit_come_in_their_order(owners: Owners, store: Store) -> None:
    held = await owners.one()
    await owners.saved(commit(held, alarms=[alarm(held, name) for name in ("a", "b", "c")]))

    await owners.saved(
        commit(after(held), moved=[AlarmMove("a", "r1", delay_s=0.0)], clears_alarms=True, alarms=[alarm(held, "d")])
    )
    assert await owners.due() == [("1", "d")]
    await owners.saved(
        commit(
            after(held, 2),
            moved=[AlarmMove("d", "r1", delay_s=0.0)],
            cancelled=["d", "e", "f"],
            alarms=[alarm(held, "e"), alarm(held, "g")],
        )
    )

    assert sorted(await owners.due()) == [("1", "e"), ("1", "g")]


async def test_alarms_are_cancelled_by_name_or_all(owners: Owners, store: Store) -> None:
    keys = [(TYPE, "1"), (TYPE, "2"), ("other", "1"), (TYPE, "1:a")]
    await store.alarms.set([alarm(key, name) for key in keys for name in ("a", "b", "a:b")])

    assert await store.alarms.cancel(TYPE, "1", "a") == 1
    assert await store.alarms.cancel(TYPE, "1", "a") == 0
    assert sorted(name for id, name in await owners.due() if id == "1") == ["a:b", "b"]
    assert await store.alarms.cancel(TYPE, "1", None) == 2

    assert len(await owners.due()) == 6
    assert len(await owners.due(NODE, "other")) == 3


async def test_a_stale_commit_moves_sets_and_cancels_nothing(owners: Owners, store: Store) -> None:
    held = await owners.one()
    await owners.saved(commit(held, alarms=[alarm(held), alarm(held, "b")]))
    await owners.bury()
    await owners.one(node=BOB)
    late = commit(
        after(held), moved=[AlarmMove("ring", "r1")], cancelled=["b"], clears_alarms=True, alarms=[alarm(held, "c")]
    )

    assert await store.objects.save(NODE, [late]) == [(TYPE, "1")]

    assert sorted(await owners.due(BOB)) == [("1", "b"), ("1", "ring")]


async def test_a_ring_and_a_change_at_once_leave_what_was_set(
    owners: Owners, store: Store, open_store: OpenStore
) -> None:
    """The owner says that the alarm is done, and somebody sets it again, at the same moment. 2,000 times."""
    other = await open_store()
    held = await owners.owned(*(f"{n:03}" for n in range(100)))
    for turn in range(20):
        old, new = f"{turn}", f"{turn}n"
        await store.alarms.set([alarm(each, revision=old) for each in held])
        doings = [
            store.objects.save(
                NODE, [commit(after(each, turn), moved=[AlarmMove("ring", old)]) for each in random.sample(held, 100)]
            ),
            other.alarms.set([alarm(each, revision=new) for each in random.sample(held, 100)]),
        ]
        random.shuffle(doings)

        await asyncio.gather(*doings)

        assert {row.revision for row in await store.alarms.list(TYPE, None, 1_000)} == {new}
        assert len(await owners.due()) == 100
