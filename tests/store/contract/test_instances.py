"""Rows as callers add, see and steer them."""

import asyncio

import pytest

from outlast._kernel import states
from outlast._model import Filter, Held, Redo, Retried, Stopped
from outlast._store.contract import Store
from tests.store.conftest import OpenStore
from tests.store.given import NOON_US, Database, Given, PinnedWorld, ids, settlement

SCOPES = {
    "live": states.LIVE,
    "always": states.ALL,
    "none": (),
    "live and done": (*states.LIVE, states.DONE),
}
UNKNOWN = "01900000-0000-7000-8000-000000000000"


async def test_a_new_row_is_ready_and_reads_back_as_written(given: Given) -> None:
    new = given.new(
        program="send", version=3, queue="mail", priority=-7, step="first", state='{"to": "Ä\\u0000\'"}', key="k"
    )

    assert await given.store.instances.add([new]) == []

    row = await given.read(new.id)
    assert row.id == new.id
    assert (row.program, row.version, row.step) == ("send", 3, "first")
    assert (row.queue, row.priority, row.status) == ("mail", -7, "ready")
    assert (row.attempt, row.crashes, row.epoch) == (0, 0, 0)
    assert (row.state, row.correlation_key) == ('{"to": "Ä\\u0000\'"}', "k")
    assert {row.result, row.error, row.progress, row.progress_note, row.node} == {None}
    assert {row.claimed_at, row.finished_at, row.expires_at} == {None}
    assert row.created_at.tzinfo is not None
    assert row.created_at == row.due_at


async def test_a_row_added_alone_equals_a_row_added_in_a_batch(given: Given, world: PinnedWorld) -> None:
    world.pin()
    columns = {"queue": "mail", "priority": 5, "state": '{"n":1e3}', "delay_s": 1.5, "timeout_s": 2.5}

    alone = await given.read(await given.one(**columns))
    together = await given.read((await given.added(2, **columns))[1])

    assert alone._replace(id="") == together._replace(id="")


async def test_text_is_kept_byte_for_byte(given: Given) -> None:
    texts = [
        '{"b": 1, "a": 2, "a": 3}',
        '{"n":1.0,"m":1e3,"big":123456789012345678901234567890}',
        '"\\u0000 \\ud83d\\ude00 🙂 \\\\ \' % :name $1 {schema} ?"',
        '"' + "x" * 262_144 + '"',
    ]
    rows = [given.new(state=text) for text in texts]

    await given.store.instances.add(rows)
    await given.store.instances.add([one := given.new(state=texts[2])])

    assert [(await given.read(row.id)).state for row in rows] == texts
    assert (await given.read(one.id)).state == texts[2]


async def test_adding_nothing_is_harmless(store: Store) -> None:
    assert await store.instances.add([]) == []


@pytest.mark.parametrize("count", [1, 3])
async def test_adding_the_same_rows_again_changes_nothing(given: Given, count: int) -> None:
    rows = [given.new(key=f"k{number}") for number in range(count)]
    await given.store.instances.add(rows)
    (claim,) = await given.taken(1)
    await given.store.claims.commit([settlement(claim, "ready")])

    assert await given.store.instances.add(rows) == []

    assert (await given.store.instances.totals()) == {"ready": count}
    assert (await given.read(claim.id)).epoch == 1


async def test_new_rows_beside_known_ones_are_added(given: Given) -> None:
    known = given.new()
    await given.store.instances.add([known])

    assert await given.store.instances.add([known, new := given.new()]) == []

    assert await given.status(new.id) == "ready"


async def test_a_row_twice_in_one_batch_is_added_once(given: Given) -> None:
    row = given.new()

    assert await given.store.instances.add([row, row]) == []

    assert await given.store.instances.totals() == {"ready": 1}


async def test_a_key_twice_in_one_batch_goes_to_the_first(given: Given) -> None:
    first, second = given.new(key="k"), given.new(key="k")

    held = await given.store.instances.add([first, second])

    assert held == [Held(second.id, "k", first.id)]
    assert await given.store.instances.get(second.id) is None


async def test_ten_thousand_rows_are_one_add(given: Given) -> None:
    added = await given.added(10_000)

    assert await given.store.instances.totals() == {"ready": 10_000}
    assert len(set(added)) == 10_000


@pytest.mark.parametrize("beside", [0, 2])
async def test_a_held_key_refuses_its_row_and_no_other(given: Given, beside: int) -> None:
    holder = await given.one(key="k")
    refused, others = given.new(key="k"), [given.new() for _ in range(beside)]

    held = await given.store.instances.add([refused, *others])

    assert held == [Held(refused.id, "k", holder)]
    assert await given.store.instances.get(refused.id) is None
    assert all([await given.store.instances.get(row.id) for row in others])


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("status", states.ALL)
async def test_a_key_is_held_in_the_statuses_of_its_scope(given: Given, status: str, scope: str) -> None:
    chosen = SCOPES[scope] if " " in scope else scope
    holder = await given.standing(status, key="k", scope=chosen)
    row = given.new(key="k", scope="live")

    held = await given.store.instances.add([row])

    assert held == ([Held(row.id, "k", holder)] if status in SCOPES[scope] else [])


async def test_rows_without_scope_never_meet(given: Given) -> None:
    await given.one(key="k", scope="none")

    assert await given.store.instances.add([given.new(key="k", scope="none"), given.new(key="k")]) == []
    assert await given.store.instances.add([given.new(key="k", scope="none")]) == []


async def test_a_delay_makes_a_row_scheduled(given: Given, world: PinnedWorld) -> None:
    world.pin()

    row = await given.read(await given.one(delay_s=1.5))

    assert row.status == "scheduled"
    assert (row.due_at - row.created_at).total_seconds() == 1.5


@pytest.mark.parametrize(("due_s", "status"), [(-5, "ready"), (0, "ready"), (0.000001, "scheduled"), (9, "scheduled")])
@pytest.mark.parametrize("count", [1, 2])
async def test_a_due_time_decides_between_ready_and_scheduled(
    given: Given, world: PinnedWorld, due_s: float, status: str, count: int
) -> None:
    world.pin()

    added = await given.added(count, due_us=NOON_US + round(due_s * 1_000_000))

    row = await given.read(added[-1])
    assert row.status == status
    assert (row.due_at - row.created_at).total_seconds() == due_s


async def test_what_does_not_exist_is_none(store: Store) -> None:
    assert await store.instances.get(UNKNOWN) is None
    assert await store.instances.find("no such key") is None
    assert await store.instances.ended([UNKNOWN]) == []
    assert await store.instances.cancel(UNKNOWN, "{}", None) is None
    assert await store.acts.retry(UNKNOWN, Redo()) is None
    assert await store.instances.delete(UNKNOWN) is None
    assert await store.instances.list(Filter()) == []
    assert await store.instances.totals() == {}


async def test_find_prefers_the_holder_to_newer_rows(given: Given) -> None:
    holder = await given.one(key="k")
    await given.one(key="k", scope="none")

    row = await given.store.instances.find("k")

    assert row is not None
    assert row.id == holder


async def test_find_falls_back_to_the_newest_that_had_the_key(given: Given) -> None:
    await given.ended(key="k")
    newest = await given.ended("failed", key="k")

    row = await given.store.instances.find("k")

    assert row is not None
    assert row.id == newest


async def test_list_is_newest_first_and_pages(given: Given) -> None:
    added = await given.added(5)
    list_ = given.store.instances.list

    assert [row.id for row in await list_(Filter())] == added[::-1]
    assert [row.id for row in await list_(Filter(limit=2))] == added[:-3:-1]
    assert [row.id for row in await list_(Filter(before=added[2]))] == [added[1], added[0]]


async def test_list_filters(given: Given) -> None:
    plain = await given.one()
    keyed = await given.one(key="k")
    other = await given.one(program="send", queue="mail")
    scheduled = await given.one(delay_s=60.0)
    done = await given.ended(queue="sums")

    async def found(**columns: object) -> list[str]:
        return [row.id for row in await given.store.instances.list(Filter(**columns))]  # type: ignore[arg-type]

    assert await found(status=("scheduled",)) == [scheduled]
    assert await found(status=("done", "scheduled")) == [done, scheduled]
    assert await found(status=()) == []
    assert await found(program="send") == [other]
    assert await found(queue="mail", program="greet") == []
    assert await found(correlation_key="k") == [keyed]
    assert await found(id_prefix=plain) == [plain]
    assert await found(id_prefix=plain[:13], queue="mail") == ([other] if other[:13] == plain[:13] else [])
    assert await found(id_prefix=plain[:4]) == [done, scheduled, other, keyed, plain]


async def test_list_by_time_includes_its_beginning_and_not_its_end(given: Given, world: PinnedWorld) -> None:
    world.pin()
    early = await given.one()
    world.advance(1)
    late = await given.one()
    list_ = given.store.instances.list

    assert [row.id for row in await list_(Filter(created_after_us=NOON_US + 1_000_000))] == [late]
    assert [row.id for row in await list_(Filter(created_before_us=NOON_US + 1_000_000))] == [early]


async def test_ended_tells_how_rows_stand(given: Given) -> None:
    done = await given.ended(queue="a")
    failed = await given.ended("failed", queue="b")
    ready = await given.one(queue="c")

    found = {item.id: tuple(item)[1:] for item in await given.store.instances.ended([ready, UNKNOWN, failed, done])}

    assert found == {
        done: ("done", '"hello"', None),
        failed: ("failed", None, '{"type":"ValueError"}'),
        ready: ("ready", None, None),
    }
    assert await given.store.instances.ended([]) == []


@pytest.mark.parametrize("status", states.LIVE)
async def test_cancel_ends_what_lives(given: Given, world: PinnedWorld, status: str) -> None:
    id = await given.standing(status, key="k")
    before = await given.read(id)
    world.pin()

    assert await given.store.instances.cancel(id, '{"type":"Cancelled"}', 90.0) == Stopped(
        status, [] if before.node is None else [before.node], [id], []
    )

    row = await given.read(id)
    assert row.epoch == before.epoch + 1
    assert (row.status, row.node, row.error) == ("cancelled", None, '{"type":"Cancelled"}')
    assert row.finished_at is not None
    assert row.expires_at is not None
    assert (row.expires_at - row.finished_at).total_seconds() == 90.0
    assert await given.store.instances.add([given.new(key="k")]) == []


@pytest.mark.parametrize("status", states.FINAL)
async def test_cancel_leaves_what_has_ended(given: Given, status: str) -> None:
    id = await given.standing(status)
    before = await given.read(id)

    assert await given.store.instances.cancel(id, "{}", None) == Stopped(status, [], [], [])

    assert await given.read(id) == before


async def test_cancel_without_retention_keeps_the_row(given: Given) -> None:
    id = await given.one()

    await given.store.instances.cancel(id, "{}", None)

    assert (await given.read(id)).expires_at is None


async def test_cancelling_a_running_row_makes_its_commit_stale(given: Given) -> None:
    claim = await given.claim()
    await given.store.instances.cancel(claim.id, "{}", 60.0)
    before = await given.read(claim.id)

    assert (await given.store.claims.commit([settlement(claim)])).stale == [claim.id]

    assert await given.read(claim.id) == before
    assert await given.store.claims.owned("ann") == []


@pytest.mark.parametrize("status", states.allowed_from("retry"))
async def test_retry_makes_what_ended_ready_with_fresh_counts(given: Given, world: PinnedWorld, status: str) -> None:
    claim = await given.claim()
    await given.store.claims.report([(claim.id, claim.epoch, 0.5, "half")])
    await given.store.claims.commit([settlement(claim, status, attempt=4)])
    given.database.poke(claim.id, crashes=3)
    world.pin()

    assert await given.store.acts.retry(claim.id, Redo()) == Retried(status, "default", claim.epoch)

    row = await given.read(claim.id)
    assert (row.status, row.attempt, row.crashes) == ("ready", 0, 0)
    assert {row.result, row.progress, row.progress_note, row.finished_at, row.expires_at} == {None}
    assert ids(await given.taken()) == [claim.id]


@pytest.mark.parametrize("status", [status for status in states.ALL if status not in states.MOVES["retry"]])
async def test_retry_leaves_what_lives_or_is_done(given: Given, status: str) -> None:
    id = await given.standing(status)
    before = await given.read(id)

    assert await given.store.acts.retry(id, Redo()) == Retried(status, "default", (await given.read(id)).epoch)

    assert await given.read(id) == before


async def test_retry_of_a_row_whose_key_is_held_changes_nothing(given: Given) -> None:
    old = await given.ended("failed", key="k")
    holder = await given.one(key="k")
    before = await given.read(old)

    assert await given.store.acts.retry(old, Redo()) == Held(old, "k", holder)

    assert await given.read(old) == before


@pytest.mark.parametrize("scope", ["live", "always"])
async def test_retry_takes_the_key_again(given: Given, scope: str) -> None:
    old = await given.ended("failed", key="k", scope=scope)

    assert await given.store.acts.retry(old, Redo()) == Retried("failed", "default", 1)

    assert await given.store.instances.add([row := given.new(key="k")]) == [Held(row.id, "k", old)]


async def test_retry_of_a_row_that_never_holds_its_key_minds_no_holder(given: Given) -> None:
    old = await given.ended("failed", key="k", scope="none")
    await given.one(key="k")

    assert await given.store.acts.retry(old, Redo()) == Retried("failed", "default", 1)

    assert await given.status(old) == "ready"


async def test_a_commit_from_before_a_retry_is_still_known_as_ours(given: Given) -> None:
    claim = await given.claim()
    await given.store.claims.commit([settlement(claim, "failed")])
    await given.store.acts.retry(claim.id, Redo())

    assert (await given.store.claims.commit([settlement(claim, "failed")])).stale == []

    assert await given.status(claim.id) == "ready"


@pytest.mark.parametrize("status", [status for status in states.ALL if status != "running"])
async def test_delete_removes_what_does_not_run(given: Given, status: str) -> None:
    id = await given.standing(status)

    assert await given.store.instances.delete(id) == status

    assert await given.store.instances.get(id) is None


async def test_delete_leaves_what_runs(given: Given) -> None:
    claim = await given.claim()

    assert await given.store.instances.delete(claim.id) == "running"

    assert (await given.store.claims.commit([settlement(claim)])).stale == []


async def test_one_key_wanted_by_many_at_once_goes_to_one(given: Given, open_store: OpenStore) -> None:
    stores = [given.store, await open_store()]
    rows = [given.new(key="k") for _ in range(20)]

    held = await asyncio.gather(*(stores[at % 2].instances.add([row]) for at, row in enumerate(rows)))

    (holder,) = [row.id for row, answer in zip(rows, held, strict=True) if answer == []]
    assert all(answer == [Held(row.id, "k", holder)] for row, answer in zip(rows, held, strict=True) if answer)
    assert await given.store.instances.totals() == {"ready": 1}


async def test_batches_with_the_same_keys_in_other_orders_do_not_stand_in_each_others_way(
    given: Given, open_store: OpenStore
) -> None:
    stores = [given.store, await open_store()]
    batches = [[given.new(key=f"k{number}") for number in range(40)] for _ in range(8)]

    held = await asyncio.gather(
        *(stores[at % 2].instances.add(batch[::-1] if at % 2 else batch) for at, batch in enumerate(batches))
    )

    assert sum(len(answer) for answer in held) == 7 * 40
    assert await given.store.instances.totals() == {"ready": 40}


async def test_one_key_retried_by_many_at_once_goes_to_one(given: Given, open_store: OpenStore) -> None:
    stores = [given.store, await open_store()]
    ended = [await given.ended("failed", key="k") for _ in range(6)]

    answers = await asyncio.gather(*(stores[at % 2].acts.retry(id, Redo()) for at, id in enumerate(ended)))

    (winner,) = [id for id, answer in zip(ended, answers, strict=True) if answer == Retried("failed", "default", 1)]
    assert [answer for answer in answers if isinstance(answer, Held)] == [
        Held(id, "k", winner) for id in ended if id != winner
    ]
    assert await given.store.instances.totals() == {"ready": 1, "failed": 5}


@pytest.mark.parametrize("act", ["cancel", "delete"])
async def test_an_operator_and_a_claimer_at_once_have_one_winner(given: Given, open_store: OpenStore, act: str) -> None:
    added = await given.added(30)
    other = await open_store()

    async def steer(id: str) -> object:
        return await (other.instances.cancel(id, "{}", 60.0) if act == "cancel" else other.instances.delete(id))

    claims, _ = await asyncio.gather(given.taken(), asyncio.gather(*(steer(id) for id in added)))
    stale = (await given.store.claims.commit([settlement(claim) for claim in claims])).stale

    totals = await given.store.instances.totals()
    assert totals.get("done", 0) == len(claims) - len(stale)
    assert set(totals) <= {"done", "cancelled"}
    assert sum(totals.values()) == (30 if act == "cancel" else len(claims))


async def test_totals_count_by_status(given: Given) -> None:
    await given.ended(queue="a")
    await given.added(2)
    await given.one(delay_s=60.0)

    assert await given.store.instances.totals() == {"done": 1, "ready": 2, "scheduled": 1}


async def test_a_pinned_clock_is_used_for_every_time(given: Given, world: PinnedWorld, database: Database) -> None:
    world.pin()
    created = (await given.read(await given.one())).created_at
    world.advance(10)
    claim = (await given.taken())[0]
    world.advance(10)
    await given.store.claims.commit([settlement(claim)])

    row = await given.read(claim.id)

    assert row.created_at.timestamp() * 1_000_000 == NOON_US
    assert row.claimed_at is not None
    assert (row.claimed_at - created).total_seconds() == 10
    assert row.finished_at is not None
    assert (row.finished_at - created).total_seconds() == 20
    assert row.expires_at is not None
    assert (row.expires_at - created).total_seconds() == 80
