"""Objects: who owns them, what is written of them, and what an owner who was replaced cannot do."""

import asyncio
import random
from dataclasses import replace
from typing import Any, cast

import pytest

from outlast._model import AlarmMove, Answer, ObjectCommit, Owned
from outlast._store.contract import Store
from outlast._store.parts import DELETED_KEPT_S
from outlast.errors import StoreError
from tests.store.conftest import OpenStore
from tests.store.given import NODE, Given
from tests.store.owners import BOB, TYPE, Owners, after, alarm, commit, wanted

MINE = (TYPE, "1")


async def test_an_object_is_made_when_it_is_wanted_first(given: Given, owners: Owners) -> None:
    now_us = given.world.pin()

    held = await owners.one()

    assert held == Owned(TYPE, "1", 1, '{"n":0}', epoch=1, commits=0, is_new=True)
    row = await given.store.objects.get(TYPE, "1")
    assert row is not None
    assert (row.state, row.version, row.node, row.epoch, row.commits) == ('{"n":0}', 1, NODE, 1, 0)
    assert row.created_at == row.updated_at
    assert round(row.created_at.timestamp() * 1_000_000) == now_us
    assert await given.store.objects.get(TYPE, "2") is None


async def test_nothing_wanted_nothing_held_and_nothing_to_save_are_no_harm(store: Store) -> None:
    assert await store.objects.activate(NODE, []) == ([], [])
    assert await store.objects.save(NODE, []) == []
    assert await store.objects.owned(NODE, []) == []
    assert await store.objects.release(NODE, []) == await store.objects.release(NODE, None) == 0


async def test_wanting_it_twice_at_once_is_wanting_it_once(owners: Owners, store: Store) -> None:
    await owners.given.node()

    found = await store.objects.activate(NODE, [wanted(), wanted()])

    assert [each.epoch for each in found.owned] == [1]


async def test_what_is_saved_is_there_for_the_next_owner(owners: Owners, store: Store) -> None:
    held = await owners.one()
    await owners.saved(commit(held, state='{"n":7}', version=3))
    assert await store.objects.release(NODE, [(TYPE, "1", 1)]) == 1

    again = await owners.one(node=BOB)

    assert again == Owned(TYPE, "1", 3, '{"n":7}', epoch=2, commits=1, is_new=False)


async def test_another_living_owner_keeps_it(owners: Owners, store: Store) -> None:
    await owners.one()
    await owners.given.node(BOB)

    found = await store.objects.activate(BOB, [wanted("1"), wanted("2")])

    assert [(each.id, each.epoch) for each in found.owned] == [("2", 1)]
    assert found.elsewhere == [(TYPE, "1", NODE)]
    assert await store.objects.owned(NODE, [(TYPE, "1", 1)]) == [MINE]


async def test_who_wants_what_it_owns_makes_its_own_old_writes_come_too_late(owners: Owners) -> None:
    first = await owners.one()
    second = await owners.one()
    assert (second.epoch, second.is_new) == (2, False)

    assert await owners.store.objects.save(NODE, [commit(first)]) == [MINE]
    await owners.saved(commit(second))


async def test_an_owner_whose_row_is_gone_owns_nothing(owners: Owners, store: Store) -> None:
    dead = await owners.one()
    await owners.bury()

    held = await owners.one(node=BOB)

    assert (held.epoch, held.is_new) == (2, False)
    assert await store.objects.save(NODE, [commit(dead, state='{"n":9}')]) == [MINE]
    assert await owners.state() == '{"n":0}'
    assert await store.objects.owned(NODE, [(TYPE, "1", 1)]) == []
    assert await store.objects.release(NODE, [(TYPE, "1", 1)]) == 0
    await owners.saved(commit(held), node=BOB)


async def test_a_batch_of_wishes_is_sorted_out(owners: Owners, store: Store) -> None:
    await owners.owned("lost", node="cid")
    await owners.owned("theirs", node=BOB)
    await owners.owned("mine")
    await owners.bury("cid")

    found = await store.objects.activate(NODE, [wanted(id) for id in ("theirs", "new", "mine", "lost")])

    assert sorted((each.id, each.epoch, each.is_new) for each in found.owned) == [
        ("lost", 2, False),
        ("mine", 2, False),
        ("new", 1, True),
    ]
    assert found.elsewhere == [(TYPE, "theirs", BOB)]


@pytest.mark.parametrize("beside", [0, 1], ids=["alone", "beside another"])
async def test_only_the_owner_saves_and_only_under_its_epoch(owners: Owners, store: Store, beside: int) -> None:
    held = await owners.one()
    wrong = [
        (BOB, commit(held)),
        (NODE, commit(held._replace(epoch=2))),
        (NODE, commit(held._replace(epoch=0))),
        (NODE, commit(held._replace(id="2"))),
        (NODE, commit(held._replace(type="2"))),
    ]

    for number, (node, item) in enumerate(wrong):
        others = await owners.owned(f"other {number}", node=node) * beside
        assert await store.objects.save(node, [item, *map(commit, others)]) == [(item.type, item.id)]

    assert await owners.state() == '{"n":0}'
    await owners.saved(commit(held))


async def test_a_commit_may_give_its_object_up(owners: Owners, store: Store) -> None:
    held, other = await owners.owned("1", "2")
    item = commit(held, released=True)
    await owners.saved(item, commit(other))

    await owners.saved(item)  # again, after a lost reply.

    row = await store.objects.get(TYPE, "1")
    assert row is not None
    assert (row.node, row.state) == (None, '{"n":1}')
    assert await store.objects.owned(NODE, [(TYPE, "1", 1), (TYPE, "2", 1)]) == [(TYPE, "2")]
    assert await store.objects.save(NODE, [commit(after(held))]) == [MINE]


@pytest.mark.parametrize("beside", [0, 1], ids=["alone", "beside another"])
async def test_saving_again_after_a_lost_reply_is_no_loss_and_no_second_write(
    owners: Owners, store: Store, beside: int
) -> None:
    held = await owners.one()
    others = [commit(each) for each in await owners.owned("other") * beside]
    item = commit(held, state='{"n":1}')
    await owners.saved(item, *others)

    await owners.saved(item, *others)

    row = await store.objects.get(TYPE, "1")
    assert row is not None
    assert (row.commits, row.state) == (1, '{"n":1}')
    await owners.saved(commit(after(held), state='{"n":2}'))
    assert await store.objects.save(NODE, [item, *others]) == [MINE]
    assert await owners.state() == '{"n":2}'


async def test_alone_or_beside_another_the_same_is_written(owners: Owners, store: Store) -> None:
    world = owners.given.world
    world.pin()
    one, two, three = await owners.owned("1", "2", "3")
    world.advance(5)
    made = {"state": '{"n":8}', "version": 4, "expires_s": 60.0}

    await owners.saved(commit(one, **made))
    await owners.saved(commit(two, **made), commit(three, **made))

    rows = [await store.objects.get(TYPE, id) for id in "123"]
    assert len({row and row._replace(id="") for row in rows}) == 1
    assert rows[0] is not None
    assert (rows[0].version, rows[0].commits, rows[0].state) == (4, 1, '{"n":8}')
    assert rows[0].updated_at > rows[0].created_at
    await owners.bury()
    world.advance(60)
    assert await store.objects.prune(10) == 3


async def test_who_was_replaced_after_the_write_is_told_that_it_was_written(owners: Owners, store: Store) -> None:
    """Its reply was lost; the next owner has seen the write, and has not written yet."""
    held = await owners.one()
    item = commit(held)
    await owners.saved(item)
    await owners.bury()
    other = await owners.one(node=BOB)

    assert await store.objects.save(NODE, [item]) == []

    await owners.saved(commit(other, state='{"n":2}'), node=BOB)
    assert await store.objects.save(NODE, [item]) == [MINE]
    assert await store.objects.save(NODE, [commit(after(held))]) == [MINE]
    assert await owners.state() == '{"n":2}'


@pytest.mark.parametrize("is_plain", [True, False])
async def test_of_a_batch_the_stale_ones_are_left_out(owners: Owners, store: Store, is_plain: bool) -> None:
    held = await owners.owned("1", "2", "3", "4")
    await owners.saved(again := commit(held[3]))
    await store.objects.activate(NODE, [wanted("2")])
    batch = [
        commit(each, state='{"n":5}', **({} if is_plain else {"alarms": [alarm(each)]})) for each in reversed(held[:3])
    ]

    assert await store.objects.save(NODE, [*batch, again]) == [(TYPE, "2")]

    assert [await owners.state(id) for id in "1234"] == ['{"n":5}', '{"n":0}', '{"n":5}', '{"n":1}']
    assert sorted(await owners.due()) == ([] if is_plain else [("1", "ring"), ("3", "ring")])


async def test_all_that_a_commit_writes_comes_with_the_state_or_not_at_all(owners: Owners, store: Store) -> None:
    held = await owners.one()
    asked = owners.call(sender=BOB)
    await store.calls.post([asked])
    full = commit(
        held,
        alarms=[alarm(held)],
        sends=[owners.call("2")],
        answers=[_answer(asked.call)],
    )
    for stale in (commit(held._replace(epoch=9)), commit(held._replace(id="9"))):
        item = ObjectCommit(
            stale.type, stale.id, stale.epoch, 1, 1, "{}", alarms=full.alarms, sends=full.sends, answers=full.answers
        )
        assert await store.objects.save(NODE, [item]) == [(item.type, item.id)]
        assert await owners.due() == await store.calls.answers([asked.call]) == []
        assert await owners.waiting() == [asked.call]

    await owners.saved(full)

    assert await owners.due() == [("1", "ring")]
    assert await store.calls.answers([asked.call]) == [_answer(asked.call)]
    assert await owners.waiting() == [full.sends[0].call]


@pytest.mark.parametrize(
    "name", ["finish_alarms", "move_alarms", "clear_alarms", "cancel_alarms", "set_alarms", "post", "answer_calls"]
)
async def test_a_commit_that_breaks_off_anywhere_has_written_nothing(owners: Owners, store: Store, name: str) -> None:
    held = await owners.one()
    await owners.saved(commit(held, alarms=[alarm(held, "a"), alarm(held, "b"), alarm(held, "c")]))
    asked = owners.call(sender=BOB)
    await store.calls.post([asked])
    full = commit(
        after(held),
        state='{"n":2}',
        moved=[AlarmMove("a", "r1"), AlarmMove("b", "r1", delay_s=60.0)],
        clears_alarms=True,
        cancelled=["c"],
        alarms=[alarm(held, "d")],
        sends=[owners.call("2")],
        answers=[_answer(asked.call)],
    )
    desk = cast(Any, store.objects)._desk
    sql = desk.sql
    broken = replace(sql[name], text="SELECT 1 FROM nowhere", numbered="SELECT 1 FROM nowhere", parameters=())
    desk.sql = {**sql, name: broken}

    with pytest.raises(StoreError):
        await store.objects.save(NODE, [full])

    desk.sql = sql
    assert await owners.state() == '{"n":1}'
    assert sorted(await owners.due()) == [("1", "a"), ("1", "b"), ("1", "c")]
    assert await owners.waiting() == [asked.call]
    await owners.saved(full)
    assert await owners.state() == '{"n":2}'
    assert await owners.due() == [("1", "d")]
    assert await owners.waiting() == [full.sends[0].call]


async def test_what_an_earlier_try_has_done_is_not_done_again(owners: Owners, store: Store) -> None:
    """The call that it sent was handled, and its alarm cancelled, before it was written again."""
    held, other = await owners.owned("1", "2")
    sent = owners.call("2")
    item = commit(held, sends=[sent], alarms=[alarm(held)])
    await owners.saved(item)
    await owners.saved(commit(other, answers=[_answer(sent.call)]))
    assert await store.alarms.cancel(TYPE, "1", "ring") == 1
    assert await owners.waiting() == []

    await owners.saved(item)

    assert await owners.waiting() == []
    assert await owners.due() == []


async def test_ids_are_two_columns_and_never_one_text(owners: Owners, store: Store) -> None:
    await owners.given.node()
    pairs = [("a", "b:c"), ("a:b", "c"), ("a", "b\x1fc"), ("A", "b:c"), ("a", "B:C"), ("a", " b:c"), ("ab", ":c")]
    pairs += [
        ("ä", "\u00e4"),
        ("ä", "a\u0308"),
        ("𝔘", "\U0001f600"),
        ("o'x", 'q"'),
        ("a\\", "\\b"),
        ("%", "_"),
        ("a", ""),
    ]

    found = await store.objects.activate(
        NODE, [wanted(id, type, state=f'{{"{n}":0}}') for n, (type, id) in enumerate(pairs)]
    )

    assert sorted((each.type, each.id) for each in found.owned) == sorted(pairs)
    held = {(each.type, each.id): each for each in found.owned}
    await owners.saved(*(commit(held[pair], state=f'["{n}"]') for n, pair in enumerate(pairs)))
    for n, (type, id) in enumerate(pairs):
        assert await owners.state(id, type) == f'["{n}"]'
    assert sorted(await store.objects.owned(NODE, [(*pair, 1) for pair in pairs])) == sorted(pairs)
    assert await store.objects.release(NODE, [(*pairs[0], 1)]) == 1
    assert sorted(await store.objects.owned(NODE, [(*pair, 1) for pair in pairs])) == sorted(pairs[1:])


async def test_a_state_comes_back_as_it_went_in(owners: Owners) -> None:
    held = await owners.one()
    state = '{"a": "\\u0000", "b": "\u2028 é 𝔘 \\" \\\\ \'", "c": 1.50, "big": "' + "x" * 300_000 + '"}'

    await owners.saved(commit(held, state=state))

    assert await owners.state() == state


async def test_released_objects_are_free(owners: Owners, store: Store) -> None:
    await owners.owned("1", "2", "3")
    await owners.owned("4", node=BOB)

    assert await store.objects.release(NODE, [(TYPE, "1", 1), (TYPE, "2", 7), (TYPE, "4", 1)]) == 1
    assert await store.objects.owned(NODE, [(TYPE, id, 1) for id in "1234"]) == [(TYPE, "2"), (TYPE, "3")]
    assert await store.objects.release(NODE, None) == 2

    assert [each.epoch for each in await owners.owned("1", "2", "3", node=BOB)] == [2, 2, 2]
    assert await store.objects.owned(BOB, [(TYPE, "4", 1)]) == [(TYPE, "4")]


async def test_a_deleted_object_is_gone_with_its_alarms_and_can_be_made_anew(owners: Owners, store: Store) -> None:
    held = await owners.one()
    await owners.saved(commit(held, alarms=[alarm(held), alarm(held, "later", delay_s=60.0)]))
    asked = owners.call()
    await store.calls.post([asked])
    gone = commit(after(held), deleted=True, alarms=[alarm(held, "third")], sends=[owners.call("2")])

    await owners.saved(gone)

    assert await store.objects.get(TYPE, "1") is None
    assert await store.objects.list(TYPE, after="", limit=10) == await store.objects.counts() == []
    assert await store.alarms.list(TYPE, None, 10) == []
    assert await owners.waiting() == [asked.call, gone.sends[0].call]
    await owners.saved(gone)
    assert await store.objects.owned(NODE, [(TYPE, "1", 1)]) == []

    fresh = await owners.one()

    assert (fresh.state, fresh.is_new) == ('{"n":0}', True)
    await owners.saved(gone)  # written once: it says so, and touches nothing.
    assert await owners.state() == '{"n":0}'
    await owners.saved(commit(fresh))
    assert await store.objects.save(NODE, [gone]) == [MINE]
    assert [row.id for row in await store.objects.list(TYPE, after="", limit=10)] == ["1"]


async def test_objects_are_listed_by_id(owners: Owners, store: Store) -> None:
    await owners.owned("a", "b", "d", type="x")
    await owners.owned("c", "e", node=BOB, type="x")
    await owners.owned("a", type="y")
    await owners.bury(BOB)

    async def ids(**asked: object) -> list[str]:
        plain: dict[str, object] = {"after": "", "limit": 10}
        return [row.id for row in await store.objects.list("x", **plain | asked)]  # type: ignore[arg-type]

    assert await ids() == ["a", "b", "c", "d", "e"]
    assert await ids(limit=2) == ["a", "b"]
    assert await ids(after="b", limit=2) == ["c", "d"]
    assert await ids(owned=True) == ["a", "b", "d"]
    assert await ids(owned=False) == ["c", "e"]
    assert [row.node for row in await store.objects.list("x", after="b", limit=2)] == [None, NODE]
    assert await store.objects.counts() == [("x", 5, 3), ("y", 1, 1)]


async def test_what_expires_goes_when_nobody_has_touched_it_for_so_long(given: Given, owners: Owners) -> None:
    objects = given.store.objects
    given.world.pin()
    short, long, never = await owners.owned("1", "2", "3")
    await owners.saved(commit(short, expires_s=60.0), commit(long, expires_s=3600.0), commit(never))
    given.world.advance(61.0)
    assert await objects.prune(10) == 0  # its owner lives.
    assert await objects.release(NODE, None) == 3
    assert await objects.prune(10) == 0  # it was in use until now.
    given.world.advance(61.0)

    assert await objects.prune(10) == 1

    assert [row.id for row in await objects.list(TYPE, after="", limit=10)] == ["2", "3"]
    fresh = await owners.one()
    assert fresh.is_new


async def test_what_a_dead_node_owned_expires(given: Given, owners: Owners) -> None:
    given.world.pin()
    await owners.saved(commit(await owners.one(), expires_s=60.0))
    given.world.advance(61.0)
    await owners.bury()

    assert await given.store.objects.prune(10) == 1


async def test_pruning_spares_what_a_call_waits_for_or_an_alarm_will_ring(given: Given, owners: Owners) -> None:
    store = given.store
    given.world.pin()
    held = await owners.owned("call", "late call", "alarm", "failed", "plain")
    for each in held:
        alarms = {"alarm": [alarm(each, delay_s=9e6)], "failed": [alarm(each, failed_us=given.world.pin())]}
        await owners.saved(commit(each, expires_s=60.0, alarms=alarms.get(each.id, [])))
    await store.calls.post([owners.call("call"), owners.call("late call", timeout_s=5.0)])
    await store.objects.release(NODE, None)
    given.world.advance(60.0)

    assert await store.objects.prune(2) == 2
    assert await store.objects.prune(10) == 1

    assert [row.id for row in await store.objects.list(TYPE, after="", limit=10)] == ["alarm", "call"]
    assert [row.id for row in await store.alarms.list(TYPE, None, 10)] == ["alarm"]


async def test_a_deleted_object_is_forgotten_after_a_while(given: Given, owners: Owners) -> None:
    given.world.pin()
    await owners.saved(commit(await owners.one(), deleted=True))
    assert await given.store.objects.prune(10) == 0

    given.world.advance(DELETED_KEPT_S)

    assert await given.store.objects.prune(10) == 1
    assert given.database.query("SELECT count(*) FROM {objects}") == [(0,)]


@pytest.mark.parametrize("nodes", [2, 8])
async def test_of_many_who_want_one_object_exactly_one_owns_it(
    owners: Owners, open_store: OpenStore, nodes: int
) -> None:
    stores = [owners.store, *[await open_store() for _ in range(min(nodes, 4) - 1)]]
    names = [f"n{n}" for n in range(nodes)]
    for name in names:
        await owners.given.node(name)

    for turn in range(25):
        ids = [f"{turn}-{n}" for n in range(8)]
        found = await asyncio.gather(
            *(
                stores[n % len(stores)].objects.activate(name, [wanted(id) for id in ids[:: 1 if n % 2 else -1]])
                for n, name in enumerate(names)
            )
        )
        owned = sorted(each.id for activated in found for each in activated.owned)
        assert owned == sorted(ids)
        for activated in found:
            assert len(activated.owned) + len(activated.elsewhere) == len(ids)


def _answer(call: str) -> Answer:
    return Answer(call, '"done"', None)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800"])
async def test_text_that_would_become_another_is_refused_and_nothing_is_written(
    owners: Owners, store: Store, text: str
) -> None:
    held = await owners.one("a")
    await store.alarms.set([alarm(held)])
    doings = [
        store.objects.activate(NODE, [wanted("new"), wanted(text)]),
        store.objects.activate(NODE, [wanted("new"), wanted("a", text)]),
        store.objects.save(NODE, [commit(held, state=text)]),
        store.objects.save(NODE, [commit(held, alarms=[alarm(held, text)])]),
        store.objects.save(NODE, [commit(held, sends=[owners.call(text)])]),
        store.objects.save(NODE, [commit(held, cancelled=[text])]),
        store.calls.post([owners.call("new"), owners.call("new", key=text)]),
        store.alarms.set([alarm(held, "new"), alarm(held, text)]),
        store.alarms.cancel(TYPE, text, None),
    ]

    for doing in doings:
        with pytest.raises(StoreError):
            await doing

    assert [row.id for row in await store.objects.list(TYPE, after="", limit=10)] == ["a"]
    assert await owners.state("a") == '{"n":0}'
    assert await owners.due() == [("a", "ring")]
    assert await owners.waiting() == []


@pytest.mark.timeout(180)
async def test_an_owner_and_who_takes_over_never_both_write(
    given: Given, owners: Owners, open_store: OpenStore
) -> None:
    """20,000 races: what the old owner was told it has written is what the new one finds; else it wrote nothing."""
    old, new = given.store, await open_store()
    await given.node(BOB)
    written = late = 0
    for turn in range(100):
        ids = [f"{turn}-{n}" for n in range(200)]
        held = await owners.owned(*ids)
        await owners.bury()
        saves = [commit(each, state='{"by":"old"}') for each in held]
        doings = [
            *(old.objects.save(NODE, part) for part in _parts(saves)),
            *(new.objects.activate(BOB, part) for part in _parts([wanted(id) for id in ids])),
        ]
        order = random.sample(range(len(doings)), len(doings))
        answers = dict(zip(order, await asyncio.gather(*(doings[n] for n in order)), strict=True))

        stale = {key for n, answer in answers.items() if isinstance(answer, list) for key in answer}
        taken = [each for answer in answers.values() if isinstance(answer, tuple) for each in answer.owned]
        assert len(taken) == 200
        for each in taken:
            if (each.type, each.id) in stale:
                assert (each.state, each.commits, each.epoch) == ('{"n":0}', 0, 2)
                late += 1
            else:
                assert (each.state, each.commits, each.epoch) == ('{"by":"old"}', 1, 2)
                written += 1
        assert await new.objects.save(BOB, [commit(each, state='{"by":"new"}') for each in taken]) == []
        assert len(await old.objects.save(NODE, [commit(after(each)) for each in held])) == 200
        assert {row.state for row in await new.objects.list(TYPE, after="", limit=1_000)} == {'{"by":"new"}'}
        given.database.query("DELETE FROM {objects}")

    assert written + late == 20_000
    assert written > 0 < late


def _parts(items: list[Any]) -> list[list[Any]]:
    """The items in small batches, in an order of their own."""
    shuffled = random.sample(items, len(items))
    return [shuffled[start : start + 20] for start in range(0, len(shuffled), 20)]
