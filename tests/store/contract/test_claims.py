"""Taking work and giving back what came of it."""

import asyncio

import msgspec
import pytest

from outlast._kernel.outcomes import Again, Failed, Finished, Moved, Outcome, Parked, Recorded
from outlast._kernel.settle import recorded, settle
from outlast._model import Claim, Entry, Reclaimed
from outlast._store.contract import Store
from tests.store.conftest import OpenStore
from tests.store.given import NODE, Database, Given, PinnedWorld, ids, settlement, take_as

OUTCOMES = ["done", "failed", "cancelled", "compensated", "compensation_failed", "quarantined", "ready", "scheduled"]
UNKNOWN = "01900000-0000-7000-8000-000000000000"


async def test_a_claim_carries_what_a_step_needs(given: Given) -> None:
    new = given.new(version=1, priority=3, step="second", state='{"a":1}', key="k")
    await given.store.instances.add([new])

    claims = await given.taken()

    assert claims == [Claim(new.id, "greet", 1, "second", '{"a":1}', 1, 0, 0, 3, "k")]


async def test_a_claimed_row_runs_on_its_node(given: Given, world: PinnedWorld) -> None:
    world.pin()
    claim = await given.claim()

    row = await given.read(claim.id)

    assert (row.status, row.node, row.epoch) == ("running", NODE, 1)
    assert row.claimed_at == row.created_at


async def test_each_claim_adds_one_to_the_epoch(given: Given) -> None:
    await given.one()

    epochs = []
    for _ in range(3):
        (claim,) = await given.taken()
        await given.store.claims.commit([settlement(claim, "ready")])
        epochs.append(claim.epoch)

    assert epochs == [1, 2, 3]


async def test_no_more_than_the_limit_is_taken(given: Given) -> None:
    await given.added(5)

    assert [len(await given.taken(2)) for _ in range(4)] == [2, 2, 1, 0]


async def test_the_most_urgent_goes_first_then_the_oldest_due_then_the_oldest(given: Given, world: PinnedWorld) -> None:
    now = world.pin()
    wanted = [
        given.new(id=UNKNOWN[:-1] + digit, priority=priority, due_us=now + due_us)
        for digit, priority, due_us in [
            ("3", -5, 0),
            ("9", 0, -2),
            ("8", 0, -1),
            ("1", 0, 0),
            ("2", 0, 0),
            ("0", 7, -9),
        ]
    ]
    await given.store.instances.add(sorted(wanted, key=lambda row: row.id[::-1]))

    taken = [id for limit in (1, 2, 3) for id in ids(await given.taken(limit))]

    assert taken == [row.id for row in wanted]


async def test_only_the_queue_that_was_named(given: Given) -> None:
    await given.one(queue="mail")

    assert await given.taken(queue="default") == []
    assert len(await given.taken(queue="mail")) == 1


async def test_programs_that_the_node_does_not_know_are_left(given: Given, store: Store) -> None:
    unknown = await given.one(program="send")
    newer = await given.one(version=2)
    known = await given.one()

    taken = await take_as(store, NODE, known=["greet@1", "other@1", "send@2"])

    assert ids(taken) == [known]
    assert [await given.status(id) for id in (unknown, newer)] == ["ready", "ready"]
    assert await take_as(store, NODE, known=[]) == []


async def test_unknown_programs_do_not_use_up_the_limit(given: Given) -> None:
    await given.added(20, program="send", priority=-1)
    known = await given.one()

    assert ids(await given.taken(1)) == [known]


async def test_what_is_scheduled_is_not_taken(given: Given) -> None:
    await given.one(delay_s=60.0)

    assert await given.taken() == []


async def test_nobody_takes_from_a_paused_queue(given: Given, store: Store) -> None:
    await given.one()
    other = await given.one(queue="mail")
    await store.queues.pause("default")

    assert await given.taken() == []
    assert ids(await given.taken(queue="mail")) == [other]

    await store.queues.resume("default")
    assert len(await given.taken()) == 1


@pytest.mark.parametrize("fair_key", [None, "a"])
async def test_a_node_that_is_not_registered_gets_nothing(given: Given, store: Store, fair_key: str | None) -> None:
    # Whatever it claimed would count as a crash: nobody knows that it lives.
    await given.added(3, fair_key=fair_key)
    await given.node()

    async def take(count: int) -> list[str]:
        return ids(await store.claims.take("default", NODE, ["greet@1"], count, 5.0))

    assert len(await take(1)) == 1
    await store.leases.bury(NODE, 0)

    assert await take(10) == []
    assert await store.leases.reclaim(10, 5) == Reclaimed(1, 0, ["default"])

    await given.node("ben")
    assert len(await store.claims.take("default", "ben", ["greet@1"], 10, 5.0)) == 3


async def test_two_claimers_never_take_the_same(given: Given, open_store: OpenStore) -> None:
    added = await given.added(200)
    stores = [given.store, await open_store()]

    async def drain(store: Store, node: str) -> list[str]:
        await given.node(node)
        found: list[str] = []
        while some := await store.claims.take("default", node, ["greet@1"], 7, 5.0):
            found += ids(some)
        return found

    taken = await asyncio.gather(*(drain(store, f"{node}") for node, store in enumerate(stores * 2)))

    assert sorted(id for mine in taken for id in mine) == sorted(added)
    for node, mine in enumerate(taken):
        assert sorted(id for id, *_ in await given.store.claims.owned(str(node))) == sorted(mine)


async def test_no_claim_begins_after_a_pause(given: Given, open_store: OpenStore) -> None:
    await given.added(50)
    other = await open_store()
    await given.node("bob")

    async def claim_until_paused() -> int:
        count = 0
        while taken := await other.claims.take("default", "bob", ["greet@1"], 1, 5.0):
            count += len(taken)
        return count

    count, _ = await asyncio.gather(claim_until_paused(), given.store.queues.pause("default"))

    assert await given.taken() == []
    assert await given.store.instances.totals() == {
        status: number for status, number in (("running", count), ("ready", 50 - count)) if number
    }


@pytest.mark.parametrize("status", OUTCOMES)
async def test_an_outcome_is_written_once_and_whole(given: Given, world: PinnedWorld, status: str) -> None:
    world.pin()
    claim = await given.claim()
    world.advance(1)
    outcome = settlement(claim, status, attempt=2, error='{"type":"E"}', result='"r"' if status == "done" else None)

    assert (await given.store.claims.commit([outcome])).stale == []

    row = await given.read(claim.id)
    assert (row.status, row.attempt, row.node, row.epoch) == (status, 2, None, 1)
    assert (row.error, row.result) == ('{"type":"E"}', '"r"' if status == "done" else None)
    ended = status not in ("quarantined", "ready", "scheduled")
    assert (row.finished_at is not None) == ended
    assert (row.expires_at is not None) == ended
    assert (row.due_at - row.created_at).total_seconds() == {"ready": 1, "scheduled": 61}.get(status, 0)
    assert given.database.peek(claim.id, "commits") == 1


@pytest.mark.parametrize("status", OUTCOMES)
@pytest.mark.parametrize("how", ["released", "reclaimed", "taken again", "cancelled", "wrong epoch"])
async def test_a_stale_claim_changes_nothing(given: Given, status: str, how: str) -> None:
    claim = await given.claim(node="gone")
    store = given.store
    if how == "released":
        await store.claims.release([(claim.id, claim.epoch)])
    elif how == "reclaimed":
        await store.leases.reclaim(10, 5)
    elif how == "taken again":
        await store.leases.reclaim(10, 5)
        await given.taken(node="bob")
    elif how == "cancelled":
        await store.instances.cancel(claim.id, "{}", 60.0)
    else:
        claim.epoch += 1
    before = await given.read(claim.id)

    assert (await store.claims.commit([settlement(claim, status)])).stale == [claim.id]

    assert await given.read(claim.id) == before
    assert given.database.peek(claim.id, "commits") == 0


@pytest.mark.parametrize("status", OUTCOMES)
async def test_a_commit_repeated_after_a_lost_reply_is_ours_and_writes_once(
    given: Given, world: PinnedWorld, status: str
) -> None:
    claim = await given.claim()
    world.pin()
    await given.store.claims.commit([settlement(claim, status)])
    before = await given.read(claim.id)
    world.advance(60)

    assert (await given.store.claims.commit([settlement(claim, status)])).stale == []

    assert await given.read(claim.id) == before
    assert given.database.peek(claim.id, "commits") == 1


async def test_a_repeated_commit_does_not_touch_the_next_claim(given: Given) -> None:
    claim = await given.claim()
    await given.store.claims.commit([settlement(claim, "ready")])
    (again,) = await given.taken(node="bob")
    before = await given.read(claim.id)

    assert (await given.store.claims.commit([settlement(claim, "ready")])).stale == []

    assert await given.read(claim.id) == before
    assert (await given.store.claims.commit([settlement(again)])).stale == []


async def test_only_stale_claims_of_a_batch_are_left_out(given: Given) -> None:
    good, released, deleted = await given.claimed(3)
    await given.store.claims.release([(released.id, released.epoch)])
    await given.store.claims.release([(deleted.id, deleted.epoch)])
    await given.store.instances.delete(deleted.id)

    stale = (await given.store.claims.commit([settlement(claim) for claim in (released, good, deleted)])).stale

    assert sorted(stale) == sorted([released.id, deleted.id])
    assert [await given.status(claim.id) for claim in (good, released)] == ["done", "ready"]


async def test_one_claim_twice_in_a_batch_is_written_once(given: Given) -> None:
    claim = await given.claim()

    assert (await given.store.claims.commit([settlement(claim), settlement(claim)])).stale == []

    assert given.database.peek(claim.id, "commits") == 1


async def test_every_outcome_fits_into_one_batch(given: Given) -> None:
    claims = await given.claimed(len(OUTCOMES))

    stale = (
        await given.store.claims.commit(
            [settlement(claim, status) for claim, status in zip(claims, OUTCOMES, strict=True)]
        )
    ).stale

    assert stale == []
    assert [await given.status(claim.id) for claim in claims] == OUTCOMES


async def test_committing_and_releasing_nothing_is_harmless(store: Store) -> None:
    assert (await store.claims.commit([])).stale == []
    await store.claims.release([])
    await store.claims.report([])


async def test_texts_of_an_outcome_are_kept_byte_for_byte(given: Given) -> None:
    first, second = await given.claimed(2)
    text = '{"a": 1.0, "a": "\\u0000 🙂 \\\\ \' % :name $1"}'

    await given.store.claims.commit([settlement(first, result=text), settlement(second, "failed", error=text)])

    assert (await given.read(first.id)).result == text
    assert (await given.read(second.id)).error == text


async def test_an_outcome_without_an_error_keeps_the_last_one(given: Given) -> None:
    claim = await given.claim()
    await given.store.claims.commit([settlement(claim, "ready", error='{"type":"E"}')])
    (again,) = await given.taken()

    await given.store.claims.commit([settlement(again)])

    row = await given.read(claim.id)
    assert (row.status, row.error) == ("done", '{"type":"E"}')


async def test_an_outcome_without_retention_keeps_the_row(given: Given) -> None:
    claim = await given.claim()

    await given.store.claims.commit([settlement(claim, retention_s=None)])

    assert (await given.read(claim.id)).expires_at is None


async def test_a_later_attempt_waits_for_its_time(given: Given, world: PinnedWorld) -> None:
    world.pin()
    claim = await given.claim()

    await given.store.claims.commit([settlement(claim, "scheduled", attempt=1, delay_s=0.25)])

    assert await given.taken() == []
    world.advance(0.25)
    await given.store.timers.promote(10)
    (again,) = await given.taken()
    assert (again.id, again.attempt, again.epoch) == (claim.id, 1, 2)


async def test_a_release_costs_no_attempt(given: Given) -> None:
    claim = await given.claim()

    await given.store.claims.release([(claim.id, claim.epoch)])

    row = await given.read(claim.id)
    assert (row.status, row.node, row.attempt, row.crashes) == ("ready", None, 0, 0)
    (again,) = await given.taken()
    assert again.epoch == 2
    assert given.database.peek(claim.id, "commits") == 0


async def test_a_release_keeps_the_place_in_the_line(given: Given) -> None:
    first, _ = await given.claimed(2)
    await given.one()

    await given.store.claims.release([(first.id, first.epoch)])

    assert ids(await given.taken(1)) == [first.id]


async def test_a_release_of_another_epoch_does_nothing(given: Given) -> None:
    claim = await given.claim()

    await given.store.claims.release([(claim.id, claim.epoch - 1), (claim.id, claim.epoch + 1), (UNKNOWN, 1)])

    assert await given.status(claim.id) == "running"


async def test_a_release_of_what_was_committed_does_nothing(given: Given) -> None:
    claim = await given.claim()
    await given.store.claims.commit([settlement(claim)])

    await given.store.claims.release([(claim.id, claim.epoch)])

    assert await given.status(claim.id) == "done"


async def test_owned_lists_what_a_node_runs(given: Given) -> None:
    first, second = await given.claimed(2)
    await given.claim(node="bob")
    await given.store.claims.commit([settlement(first)])

    assert await given.store.claims.owned(NODE) == [(second.id, 1, False)]
    assert await given.store.claims.owned("nobody") == []


async def test_progress_is_kept_while_it_runs(given: Given) -> None:
    first, second = await given.claimed(2)

    await given.store.claims.report([(first.id, 1, 0.25, "a 'quarter'"), (second.id, 1, 1, "")])

    row = await given.read(first.id)
    assert (row.progress, row.progress_note) == (0.25, "a 'quarter'")
    assert (await given.read(second.id)).progress == 1.0


async def test_progress_of_a_stale_claim_is_dropped(given: Given) -> None:
    running, done = await given.claimed(2)
    await given.store.claims.commit([settlement(done)])

    await given.store.claims.report([(running.id, 2, 0.5, ""), (done.id, 1, 0.5, ""), (UNKNOWN, 1, 0.5, "")])

    assert [(await given.read(claim.id)).progress for claim in (running, done)] == [None, None]


async def test_commits_of_one_row_race_and_one_wins(given: Given, open_store: OpenStore) -> None:
    claim = await given.claim()
    other = await open_store()

    answers = await asyncio.gather(
        *(store.claims.commit([settlement(claim)]) for store in (given.store, other) * 4),
        other.instances.cancel(claim.id, "{}", 60.0),
    )

    status = await given.status(claim.id)
    assert given.database.peek(claim.id, "commits") == (status == "done")
    assert all(answer.stale == ([] if status == "done" else [claim.id]) for answer in answers[:-1])  # type: ignore[union-attr]


async def test_those_with_more_crashes_than_asked_for_are_left(given: Given, database: Database, store: Store) -> None:
    suspect, other = await given.one(), await given.one()
    database.query("UPDATE {instances} SET crashes = 2 WHERE id = ?", suspect)

    taken = await take_as(store, NODE, crashes_max=1)
    rest = await take_as(store, NODE, crashes_max=2)

    assert [claim.id for claim in taken] == [other]
    assert [(claim.id, claim.crashes) for claim in rest] == [(suspect, 2)]


async def test_a_batch_in_which_some_go_on_and_others_end(given: Given) -> None:
    goes_on, ends, lost, again = await given.claimed(4)
    await given.store.instances.cancel(lost.id, "{}", None)
    first = [
        recorded(claim, Recorded((Entry("a#1", "step", "done", 1, value="1"),))) for claim in (goes_on, lost, again)
    ]

    assert (await given.store.claims.commit([*first, settlement(ends)])).stale == [lost.id]
    assert (await given.store.claims.commit([first[2]])).stale == []  # a repeated commit whose reply was lost.

    rows = [await given.read(claim.id) for claim in (goes_on, ends, lost, again)]
    assert [row.status for row in rows] == ["running", "done", "cancelled", "running"]
    found = await given.store.journal.notes([claim.id for claim in (goes_on, ends, lost, again)])
    assert sorted((note.instance, note.key, note.value) for note in found) == sorted(
        (claim.id, "a#1", "1") for claim in (goes_on, again)
    )
    goes_on.commits += 1
    entry = Entry("b#1", "step", "done", 2, value="2")
    assert (await given.store.claims.commit([recorded(goes_on, Recorded((entry,)))])).stale == []


async def test_what_is_recorded_stays_as_it_is(given: Given) -> None:
    claim = await given.claim()
    for value in ("1", "2"):
        entry = Entry("a#1", "step", "done", 1, value=value)
        assert (await given.store.claims.commit([recorded(claim, Recorded((entry,)))])).stale == []
        claim.commits += 1

    assert [note.value for note in await given.store.journal.notes([claim.id])] == ["1"]


@pytest.mark.parametrize("is_taken", [True, False], ids=["taken", "given back"])
async def test_a_step_of_a_claim_that_is_no_longer_ours_changes_nothing(given: Given, is_taken: bool) -> None:
    claim = await given.claim()
    await given.store.claims.release([(claim.id, claim.epoch)])
    if is_taken:
        await given.taken(node="bob")
    before = await given.read(claim.id)
    outcome = settle(claim, Moved("pay", '{"n":1}'), retention_s=None)

    assert (await given.store.claims.commit([outcome])).stale == [claim.id]

    assert await given.read(claim.id) == before


@pytest.mark.parametrize(
    "outcome",
    [
        Finished('"r"', None),
        Again(0.0, '{"type":"E"}', None),
        Failed('{"type":"E"}'),
        Moved("pay", '{"n":1}'),
        Recorded((Entry("a#1", "step", "done", 1, value="1"),)),
        Parked("next", "{}", ("go",), None, ()),
    ],
    ids=lambda outcome: outcome.kind,
)
async def test_of_a_number_that_was_given_out_twice_the_older_claim_writes_nothing(
    given: Given, outcome: Outcome
) -> None:
    first = await given.claim()
    lost = msgspec.structs.replace(first, epoch=2)  # claimed again on a server whose standby never heard of it.
    await given.store.claims.commit([settle(first, Again(0.0, "{}", None), retention_s=None)])
    (claim,) = await given.taken()
    assert claim.epoch == lost.epoch
    before = await given.read(claim.id)

    stale = (await given.store.claims.commit([settle(lost, outcome, retention_s=None)])).stale

    assert stale == [claim.id]
    assert await given.read(claim.id) == before
    assert await given.store.journal.notes([claim.id]) == []
    assert (await given.store.claims.commit([settle(claim, outcome, retention_s=None)])).stale == []


async def test_a_step_after_which_its_claim_goes_on_counts_once(given: Given) -> None:
    claim = await given.claim()
    first = settle(claim, Moved("pay", '{"n":1}'), retention_s=None, ahead=True)
    assert (await given.store.claims.commit([first])).stale == []
    assert (await given.store.claims.commit([first])).stale == []  # its reply was lost.
    assert given.database.peek(claim.id, "commits") == 1
    claim.commits += 1
    second = settle(claim, Moved("ship", '{"n":2}'), retention_s=None, ahead=True)
    assert (await given.store.claims.commit([second])).stale == []

    assert (await given.store.claims.commit([first])).stale == [claim.id]

    row = await given.read(claim.id)
    assert (row.step, row.state) == ("ship", '{"n":2}')
    assert given.database.peek(claim.id, "commits") == 2


async def test_what_is_recorded_by_a_claim_that_has_been_replaced_changes_nothing(given: Given) -> None:
    claim = await given.claim()
    await given.store.claims.release([(claim.id, claim.epoch)])
    (later,) = await given.taken()
    entry = Entry("a#1", "step", "done", 1, value="1")

    assert (await given.store.claims.commit([recorded(claim, Recorded((entry,)))])).stale == [claim.id]

    assert await given.store.journal.notes([claim.id]) == []
    assert (await given.read(claim.id)).epoch == later.epoch
