"""Calls that travel through the store: posted once, seen by who may answer them, answered once, forgotten in time."""

import asyncio
from collections import Counter

from outlast._model import Answer, Posted, WaitingCall
from outlast._store.contract import Store
from outlast._store.parts import ANSWER_KEPT_S, LATE_KEPT_S
from tests.store.conftest import OpenStore
from tests.store.given import NODE, Given
from tests.store.owners import BOB, TYPE, Owners, after, commit

UNKNOWN = "0190a2b3-0000-7000-8000-000000000000"


def answer(call: str, result: str | None = '"done"', error: str | None = None) -> Answer:
    return Answer(call, result, error)


async def test_a_call_is_seen_as_it_was_posted(given: Given, owners: Owners) -> None:
    given.world.pin()
    call = owners.call(
        "a:b", handler="take", args='{"é":"\\u0000"}', sender=BOB, key="k", chain='[["x","y"]]', timeout_s=5.5
    )

    assert await given.store.calls.post([call]) == [Posted(call.call, None)]

    given.world.advance(1.0)
    assert await given.store.calls.waiting(NODE, [TYPE], 10) == [
        WaitingCall(call.call, TYPE, "a:b", "take", call.args, BOB, "k", call.chain, left_s=4.5, mine=False)
    ]


async def test_nothing_to_post_to_ask_or_to_drop_is_no_harm(store: Store) -> None:
    assert await store.calls.post([]) == []
    assert await store.calls.waiting(NODE, [], 10) == await store.calls.waiting(NODE, [TYPE], 10) == []
    assert await store.calls.answers([]) == await store.calls.answers([UNKNOWN, "no call"]) == []
    await store.calls.drop([])
    await store.calls.drop([UNKNOWN, "no call"])
    assert await store.calls.prune(10) == 0


async def test_who_posts_is_told_the_living_owner(owners: Owners, store: Store) -> None:
    await owners.one("lost", node="cid")
    await owners.bury("cid")
    await owners.one("theirs", node=BOB)
    await owners.one("mine")
    calls = [owners.call(id) for id in ("theirs", "lost", "mine", "none")]

    posted = await store.calls.post(calls)

    assert [each.node for each in posted] == [BOB, None, NODE, None]
    assert [each.call for each in posted] == [call.call for call in calls]


async def test_a_node_sees_calls_to_its_own_objects_and_to_nobodys_in_their_order(owners: Owners, store: Store) -> None:
    await owners.one("mine")
    await owners.one("theirs", node=BOB)
    await owners.one("lost", node="cid")
    await owners.bury("cid")
    calls = [owners.call(id) for id in ("mine", "theirs", "lost", "none", "mine")]
    other = owners.call("mine", "other")
    await store.calls.post([*calls, other])
    last = owners.call("none")
    await store.calls.post([last])

    first, _, third, fourth, fifth = (call.call for call in calls)
    assert await owners.waiting() == [first, third, fourth, fifth, last.call]
    assert [each.mine for each in await store.calls.waiting(NODE, [TYPE], 10)] == [True, False, False, True, False]
    assert await owners.waiting(BOB) == [calls[1].call, third, fourth, last.call]
    assert await owners.waiting(limit=2) == [first, third]
    assert await owners.waiting(NODE, "other") == [other.call]
    assert await owners.waiting(NODE, "other", TYPE, limit=5) == [first, third, fourth, fifth, other.call]
    assert await owners.waiting(NODE, "unknown") == []


async def test_many_calls_come_page_by_page_as_they_are_answered(owners: Owners, store: Store) -> None:
    held = await owners.one()
    calls = [owners.call(sender=BOB) for _ in range(50)]
    await store.calls.post(calls)
    seen: list[str] = []
    while page := await owners.waiting(limit=20):
        seen += page
        await owners.saved(commit(held, answers=[answer(call) for call in page]))
        held = after(held)

    assert seen == [call.call for call in calls]


async def test_posting_again_is_harmless(owners: Owners, store: Store) -> None:
    held = await owners.one()
    call = owners.call(sender=BOB)
    assert await store.calls.post([call, call]) == [Posted(call.call, NODE)] * 2

    assert await store.calls.post([call]) == [Posted(call.call, NODE)]

    assert await owners.waiting() == [call.call]
    await owners.saved(commit(held, answers=[answer(call.call)]))
    await store.calls.post([call])
    assert await owners.waiting() == []
    assert await store.calls.answers([call.call]) == [answer(call.call)]


async def test_a_key_stands_for_one_call_of_one_object(owners: Owners, store: Store) -> None:
    held = await owners.one()
    first = owners.call(key="k", sender=BOB)
    strangers = [owners.call("2", key="k"), owners.call("1", "k", key="k"), owners.call(key="K"), owners.call()]
    again = [owners.call(key="k", sender="cid"), owners.call(key="k")]

    posted = await store.calls.post([first, *strangers, *again])

    assert [each.call for each in posted] == [first.call, *(call.call for call in strangers), first.call, first.call]
    assert [each.call for each in await store.calls.post(again)] == [first.call, first.call]
    await owners.saved(commit(held, answers=[answer(first.call, '"once"')]))
    assert [each.call for each in await store.calls.post(again)] == [first.call, first.call]
    assert await store.calls.answers([first.call]) == [answer(first.call, '"once"')]
    await store.calls.drop([first.call])
    assert await store.calls.answers([first.call]) == [answer(first.call, '"once"')]


async def test_of_many_who_post_one_key_all_get_one_call(owners: Owners, store: Store, open_store: OpenStore) -> None:
    other = await open_store()
    for turn in range(20):
        keys = [f"{turn}-{n}" for n in range(5)]
        batches = [[owners.call(key=key) for key in (keys if n % 2 else keys[::-1])] for n in range(6)]
        found = await asyncio.gather(
            *((other if n % 2 else store).calls.post(batch) for n, batch in enumerate(batches))
        )
        by_key: dict[str | None, set[str]] = {}
        for batch, posted in zip(batches, found, strict=True):
            for call, each in zip(batch, posted, strict=True):
                by_key.setdefault(call.key, set()).add(each.call)
        assert [len(calls) for calls in by_key.values()] == [1] * 5
    assert len(await owners.waiting()) == 100


async def test_answers_are_there_once_they_are_committed(owners: Owners, store: Store) -> None:
    held = await owners.one()
    good, bad, open_ = (owners.call(sender=BOB) for _ in range(3))
    await store.calls.post([good, bad, open_])

    await owners.saved(commit(held, answers=[answer(good.call), answer(bad.call, None, '{"type":"ValueError"}')]))

    found = await store.calls.answers([bad.call, open_.call, good.call, UNKNOWN])
    assert sorted(found) == sorted([answer(good.call), answer(bad.call, None, '{"type":"ValueError"}')])
    assert await owners.waiting() == [open_.call]


async def test_the_first_answer_stays(owners: Owners, store: Store) -> None:
    held = await owners.one()
    call = owners.call(sender=BOB)
    await store.calls.post([call])
    await owners.saved(commit(held, answers=[answer(call.call, "1")]))

    await owners.saved(commit(after(held), answers=[answer(call.call, "2")]))

    assert await store.calls.answers([call.call]) == [answer(call.call, "1")]


async def test_an_object_answers_its_own_calls_alone(owners: Owners, store: Store) -> None:
    held = await owners.one("1")
    calls = [owners.call("2", sender=BOB), owners.call("2")]
    await store.calls.post(calls)

    await owners.saved(commit(held, answers=[answer(call.call) for call in calls]))

    assert await owners.waiting() == [call.call for call in calls]


async def test_what_nobody_waits_for_goes_when_it_is_handled(given: Given, owners: Owners) -> None:
    held = await owners.one()
    one_way, keyed = owners.call(), owners.call(key="k")
    await given.store.calls.post([one_way, keyed])

    await owners.saved(commit(held, answers=[answer(one_way.call), answer(keyed.call)]))

    assert await given.store.calls.answers([one_way.call, keyed.call]) == [answer(keyed.call)]
    assert given.database.query("SELECT count(*) FROM {calls}") == [(1,)]


async def test_dropped_calls_are_gone_unless_they_have_a_key(owners: Owners, store: Store) -> None:
    held = await owners.one()
    read, given_up = owners.call(sender=BOB), owners.call(sender=BOB)
    keyed, kept = owners.call(sender=BOB, key="k"), owners.call(sender=BOB, key="l")
    await store.calls.post([read, given_up, keyed, kept])
    await owners.saved(commit(held, answers=[answer(read.call), answer(keyed.call)]))

    await store.calls.drop([read.call, given_up.call, keyed.call, kept.call])

    assert await store.calls.answers([read.call, given_up.call, keyed.call]) == [answer(keyed.call)]
    assert await owners.waiting() == [kept.call]
    await owners.saved(commit(after(held), answers=[answer(given_up.call)]))
    assert await store.calls.answers([given_up.call]) == []


async def test_calls_past_their_time_are_not_begun_and_then_forgotten(given: Given, owners: Owners) -> None:
    calls = given.store.calls
    given.world.pin()
    late, patient = owners.call(timeout_s=5.0), owners.call()
    await calls.post([late, patient])
    given.world.advance(4.999)
    assert await owners.waiting() == [late.call, patient.call]

    given.world.advance(0.001)

    assert await owners.waiting() == [patient.call]
    given.world.advance(LATE_KEPT_S - 0.001)
    assert await calls.prune(10) == 0
    given.world.advance(0.001)
    assert await calls.prune(10) == 1
    given.world.advance(1e6)
    assert await calls.prune(10) == 0
    assert await owners.waiting() == [patient.call]


async def test_a_call_with_a_key_that_is_made_again_may_be_begun_again_and_is_remembered(
    given: Given, owners: Owners
) -> None:
    calls = given.store.calls
    given.world.pin()
    first = owners.call(key="k", timeout_s=5.0, sender="ann", keep_s=3600.0)
    await calls.post([first, owners.call(timeout_s=5.0)])
    given.world.advance(LATE_KEPT_S + 5.0)
    assert await owners.waiting() == []
    assert await calls.prune(10) == 1  # the other one.

    again = owners.call(key="k", timeout_s=7.0, sender=BOB, keep_s=3600.0)
    assert [each.call for each in await calls.post([again, owners.call(key="other")])][:1] == [first.call]

    (waiting, _) = await calls.waiting(NODE, [TYPE], 10)
    assert (waiting.call, waiting.left_s, waiting.sender) == (first.call, 7.0, BOB)
    held = await owners.one()
    await owners.saved(commit(held, answers=[answer(first.call)]))
    await calls.post([owners.call(key="k", timeout_s=9.0, sender="cid")])
    assert [each.call for each in await calls.answers([first.call])] == [first.call]
    given.world.advance(3600.0 - 0.001)
    assert await calls.prune(10) == 0
    given.world.advance(0.001)
    assert await calls.prune(10) == 1


async def test_answers_are_kept_for_their_time(given: Given, owners: Owners) -> None:
    calls = given.store.calls
    given.world.pin()
    held = await owners.one()
    plain, keyed = owners.call(sender=BOB, timeout_s=1.0), owners.call(key="k", keep_s=3600.0, timeout_s=1.0)
    await calls.post([plain, keyed])
    await owners.saved(commit(held, answers=[answer(plain.call), answer(keyed.call)]))

    given.world.advance(ANSWER_KEPT_S - 0.001)
    assert await calls.prune(10) == 0
    given.world.advance(0.001)
    assert await calls.prune(10) == 1
    given.world.advance(3600.0 - ANSWER_KEPT_S - 0.001)
    assert await calls.prune(10) == 0
    assert (await calls.post([owners.call(key="k")]))[0].call == keyed.call
    given.world.advance(0.001)
    assert await calls.prune(10) == 1
    fresh = owners.call(key="k")
    assert (await calls.post([fresh]))[0].call == fresh.call


async def test_pruning_goes_on_where_it_was(given: Given, owners: Owners) -> None:
    given.world.pin()
    await given.store.calls.post([owners.call(timeout_s=1.0) for _ in range(5)])
    given.world.advance(1.0 + LATE_KEPT_S)

    assert [await given.store.calls.prune(2) for _ in range(4)] == [2, 2, 1, 0]


async def test_what_was_sent_is_sent_once_whoever_writes_it_again(
    owners: Owners, store: Store, open_store: OpenStore
) -> None:
    """The same commits from two connections at once, as after a reply that was lost."""
    other = await open_store()
    sent: list[str] = []
    for turn in range(20):
        held = await owners.owned(*(f"{turn}-{n}" for n in range(5)))
        batch = [commit(each, sends=[owners.call("x"), owners.call("y")]) for each in held]
        sent += [call.call for item in batch for call in item.sends]

        assert await asyncio.gather(*(each.objects.save(NODE, batch) for each in (store, other, store))) == [[]] * 3

    assert Counter(await owners.waiting()) == Counter(sent)
