"""Peers' bugs with signals: lost between a park and its delivery, given twice, taken for another's."""

import asyncio

import pytest

from outlast import Await, Done, Engine, Machine, step
from outlast._store.contract import Store
from outlast.errors import StoreError
from tests.engine.given import SOON_S, Ear
from tests.scars.given import a_while, breaking_off, reclaimed, take
from tests.store.given import Given, ids, settlement
from tests.store.outcomes import Post, moved, parked, waiting

AT_ONCE = 60


async def test_park_deliver_lost_wakeup(given: Given, other: Store, post: Post) -> None:
    """gen_durable #1, absurd 0.0.7, tensorzero/durable #37, DBOS-py #76: a park and a delivery at the same time
    each missed the other, and the instance waited beside its signal for ever.

    Here both lock the row: a delivery sees the park, or the park looks again and sees the signal.
    """
    (early,) = await given.claimed()
    await post.send(early.id)
    assert (await given.store.claims.commit([parked(early, "go")])).queues == ["default"]
    (late,) = await waiting(given, "go", queue="late")
    await post.send(late)
    assert await given.status(early.id) == await given.status(late) == "ready"

    claims = await given.claimed(AT_ONCE, queue="races")
    await asyncio.gather(
        *(given.store.claims.commit([parked(claim, "go")]) for claim in claims),
        *(other.signals.send([post.signal(claim.id)]) for claim in reversed(claims)),
    )

    assert sorted(ids(await given.taken(queue="races"))) == sorted(ids(claims))


class Pack(Machine, name="scars.pack"):
    """Goes on when it was sent three signals, and uses none up before."""

    steps: int = 0

    @step
    async def start(self, ctx: object) -> object:
        return Await("item", then=self.collect)

    @step
    async def collect(self, ctx: object) -> object:
        self.steps += 1
        items = [signal.payload for signal in ctx.awaited]  # type: ignore[attr-defined]
        return Await("item", then=self.collect) if len(items) < 3 else Done([self.steps, items])


async def test_reawait_presented_signal_busy_loop(given: Given, store: Store, post: Post, engine: Engine) -> None:
    """gen_durable #14: a step that waits on for more of the same was woken at once by the signal that it was just
    shown, again and again, at full speed.

    Here a park names the signals that its step was shown, and only others wake it: a step for each signal.
    """
    (id,) = await waiting(given, "item", queue="by hand")
    await post.send(id, "item")
    (claim,) = await given.taken(queue="by hand")
    (letter,) = await store.signals.inbox([id])
    assert (await store.claims.commit([parked(claim, "item", shown=[letter.id])])).queues == []
    assert await given.status(id) == "waiting"
    await post.send(id, "item")
    assert await given.status(id) == "ready"

    ear = Ear(engine)
    handle = await engine.start(Pack())
    await ear.hears("step.stop", step="start")
    await handle.signal("item", 0)
    await ear.hears("step.stop", step="collect")
    await a_while()
    assert len(ear.all("step.stop", step="collect")) == 1
    for number in (1, 2):
        await handle.signal("item", number)

    steps, items = await handle.result(SOON_S)
    assert items == [0, 1, 2]
    assert steps <= 3


async def test_numeric_key_equals_other_id(given: Given, store: Store, post: Post) -> None:
    """gen_durable #18: `coalesce(concurrency_key, id)` put a key and an unrelated instance with that id into one
    line.

    Here ids and keys of all kinds are columns of their own: what looks like another's id is nobody's but its own.
    """
    plain = await given.one()
    keyed = given.new(concurrency_key=plain, key=plain)
    assert await store.instances.add([keyed]) == []
    await store.timers.promote(10)

    assert sorted(ids(await take(store))) == sorted([plain, keyed.id])
    by_id, by_key = await store.signals.send([post.signal(plain), post.signal(None, key=plain)])
    assert (by_id.instance, by_key.instance) == (plain, keyed.id)


async def test_event_received_but_parent_waiting(given: Given, store: Store, post: Post) -> None:
    """Durable M-2, M-3: an event was marked as received in one write and its workflow woken in another. What came
    between left a workflow that waits for what has come.

    Here delivery and wake are one transaction: it is there and wakes, or it is not there and can be sent again.
    """
    (id,) = await waiting(given, "go")
    signal = post.signal(id)

    with breaking_off(store.signals, "wake"), pytest.raises(StoreError):
        await store.signals.send([signal])
    assert (await post.kept(id), await given.status(id)) == ([], "waiting")

    (receipt,) = await store.signals.send([signal])
    assert (receipt.result, receipt.queue) == ("delivered", "default")
    assert (await post.kept(id), await given.status(id)) == (["go"], "ready")


async def test_two_recoveries_consume_one_message(given: Given, store: Store, post: Post) -> None:
    """DBOS-ts #1205, #1207: two recoveries of one workflow each received its one message, and one of them a second
    one, which it lost.

    Here a signal is used up by the fenced outcome of a step: of two that were shown it, the one that owns the
    claim.
    """
    (id,) = await given.added()
    await post.send(id)
    (first,) = await given.taken(node="a")
    second = await reclaimed(given)
    (letter,) = await store.signals.inbox([id])

    late = await store.claims.commit([moved(first, "late", consumed=[letter.id])])
    assert (late.stale, await post.unread(id)) == ([id], ["go"])

    assert (await store.claims.commit([moved(second, "next", consumed=[letter.id])])).stale == []
    assert (await post.unread(id), (await given.read(id)).step) == ([], "next")


async def test_completion_races_signal(given: Given, store: Store, other: Store, post: Post) -> None:
    """Temporal's UnhandledCommand, omes #12: a workflow that completes while a signal arrives must not swallow it.

    Here a signal is accepted, and then listed as undelivered when its instance ends without it; or refused with the
    word that the instance has ended, and not stored.
    """
    first, second = await given.claimed(2)
    assert await post.send(first.id) == "delivered"
    await store.claims.commit([settlement(first), settlement(second)])
    assert await post.send(second.id) == "ended"
    assert (await post.unread(first.id), await post.unread(second.id)) == (["go"], [])

    claims = await given.claimed(AT_ONCE)
    answers = await asyncio.gather(
        *(store.claims.commit([settlement(claim)]) for claim in claims),
        *(other.signals.send([post.signal(claim.id)]) for claim in reversed(claims)),
    )

    receipts = [receipt for (receipt,) in answers[AT_ONCE:]]
    accepted = {receipt.instance for receipt in receipts if receipt.result == "delivered"}
    assert {letter.instance for letter in await store.signals.inbox(ids(claims))} == accepted
    assert {receipt.result for receipt in receipts} <= {"delivered", "ended"}
