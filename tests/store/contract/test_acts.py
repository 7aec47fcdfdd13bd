"""Single instances paused and resumed, in every status; retries with changes; and the record of it all."""

import asyncio
from typing import Any

import pytest

from outlast._kernel.states import FINAL, LIVE
from outlast._model import Claim, Deed, Entry, Filter, Held, RateRow, Redo, Settlement, Stopped
from outlast._store.contract import Store
from tests.store.conftest import OpenStore
from tests.store.given import NODE, Given, PinnedWorld, ids, settlement, take_as
from tests.store.outcomes import Post, again, ended, family, moved, parked, spawned, waiting

UNKNOWN = "0190a2b3-0000-7000-8000-000000000000"


@pytest.fixture
def post(given: Given) -> Post:
    """Makes signals."""
    return Post(given)


def deed(given: Given, act: str = "paused", **columns: Any) -> Deed:
    return Deed(given.world.new_id(), act, **columns)


async def pause(given: Given, id: str, **options: Any) -> Stopped:
    """Pauses one that must be there."""
    found = await given.store.acts.pause(id, deed(given, who="ann", reason="why not"), **options)
    assert found is not None
    return found


async def resume(given: Given, id: str, **options: Any) -> Stopped:
    """Resumes one that must be there."""
    found = await given.store.acts.resume(id, deed(given, "resumed"), **options)
    assert found is not None
    return found


async def promote(given: Given) -> list[str]:
    """Promotes all that is due; queues that received work."""
    queues: list[str] = []
    while (due := await given.store.timers.promote(100)).promoted:
        queues += due.queues
    return queues


async def held(given: Given, id: str) -> bool:
    """Whether it is held: blocked, on no gate, and nobody can claim it."""
    row = await given.read(id)
    assert await given.taken() == []
    return (row.status, row.blocked_on) == ("blocked", None) and row.paused_at is not None


async def is_index_empty(given: Given) -> bool:
    """Whether nothing stands in the indexes that claims and gates read."""
    found = given.database.query("SELECT count(*) FROM {instances} WHERE status = 'ready' OR blocked_on IS NOT NULL")
    return found == [(0,)]


# Every status.


async def test_what_is_ready_is_held_and_ready_again_on_resume(given: Given) -> None:
    id, other = await given.one(priority=1), await given.one(priority=2)

    assert await pause(given, id) == Stopped("ready", [], [id], ["default"])

    row = await given.read(id)
    assert (row.status, row.blocked_on, row.pause_reason) == ("blocked", None, "why not")
    assert row.paused_at is not None
    assert ids(await given.taken()) == [other]
    assert await resume(given, id) == Stopped("blocked", [], [id], ["default"])
    row = await given.read(id)
    assert (row.status, row.paused_at, row.pause_reason) == ("ready", None, None)
    assert ids(await given.taken()) == [id]


async def test_what_has_a_fair_key_is_held_too(given: Given) -> None:
    id = await given.one(fair_key="t")

    await pause(given, id)

    assert await held(given, id)
    await resume(given, id)
    assert ids(await given.taken()) == [id]


async def test_what_is_scheduled_stays_so_until_it_is_due_and_is_held_then(given: Given, world: PinnedWorld) -> None:
    world.pin()
    id = await given.one(delay_s=60.0)

    await pause(given, id)

    assert await given.status(id) == "scheduled"
    world.advance(61)
    assert await promote(given) == []
    assert await held(given, id)
    await resume(given, id)
    assert ids(await given.taken()) == [id]


async def test_what_is_scheduled_and_resumed_before_it_is_due_loses_nothing(given: Given, world: PinnedWorld) -> None:
    world.pin()
    id = await given.one(delay_s=60.0)
    await pause(given, id)

    await resume(given, id)

    assert await given.status(id) == "scheduled"
    world.advance(61)
    assert await promote(given) == ["default"]
    assert ids(await given.taken()) == [id]


@pytest.mark.parametrize("limit", ["key", "rate"])
@pytest.mark.parametrize("when", ["scheduled", "blocked", "ready"])
async def test_what_has_a_limit_leaves_its_gate_and_comes_back_to_it(
    given: Given, store: Store, limit: str, when: str
) -> None:
    await given.node()
    await store.limits.declare(NODE, {}, [RateRow("r", 1.0, 3600.0, 1.0)])
    columns: dict[str, Any] = {"concurrency_key": "k"} if limit == "key" else {"rate_limit": "r"}
    gate = "k:k" if limit == "key" else "r:r"
    first = await given.one(priority=1, **columns)
    if when == "blocked":
        await promote(given)
        (holder,) = await given.taken()
        first = await given.one(priority=1, **columns)
    if when != "scheduled":
        await promote(given)
    assert await given.status(first) == when

    await pause(given, first)
    second = await given.one(priority=2, **columns)
    await promote(given)

    assert await held(given, first) if when == "blocked" else (await given.read(first)).status == "blocked"
    assert (await given.read(first)).blocked_on is None
    if when != "blocked":  # nobody else is held up by what is paused.
        await store.limits.open([gate])
        (claim,) = await given.taken()
        assert claim.id == second
        await store.claims.commit([settlement(claim)])
    elif limit == "key":
        await store.claims.commit([settlement(holder)])
        await store.limits.open([gate])
        (claim,) = await given.taken()
        assert claim.id == second
        await store.claims.commit([settlement(claim)])
    await resume(given, first)
    assert await given.status(first) == "scheduled"
    await promote(given)
    if limit == "key":
        assert ids(await given.taken()) == [first]
    else:  # its turn has not come: the only token was spent.
        assert (await given.read(first)).blocked_on == "r:r"


@pytest.mark.parametrize("woken", ["signal", "time"])
async def test_what_waits_goes_on_waiting_and_is_held_when_it_is_woken(
    given: Given, post: Post, world: PinnedWorld, woken: str
) -> None:
    world.pin()
    (id,) = await waiting(given, "go", wake_s=60.0)
    await pause(given, id)
    assert await given.status(id) == "waiting"

    if woken == "signal":
        assert await post.send(id) == "delivered"
    else:
        world.advance(61)
    await promote(given)
    await promote(given)

    assert await held(given, id)
    assert await post.send(id, "more") == "delivered"
    await resume(given, id)
    (claim,) = await given.taken()
    assert claim.id == id
    assert await post.unread(id) == (["go", "more"] if woken == "signal" else ["more"])


async def test_a_parent_that_is_paused_is_held_when_its_children_have_ended(given: Given, store: Store) -> None:
    parent, (first, second) = await family(given, 2)
    await pause(given, parent)

    await store.claims.commit([ended(first)])
    assert await given.status(parent) == "waiting"
    await store.claims.commit([ended(second)])
    await promote(given)

    assert await held(given, parent)
    await resume(given, parent)
    assert ids(await given.taken()) == [parent]


@pytest.mark.parametrize("outcome", ["done", "failed", "cancelled"])
async def test_a_step_that_runs_may_end_its_instance_which_is_paused_no_more(
    given: Given, store: Store, outcome: str
) -> None:
    claim = await given.claim()

    assert await pause(given, claim.id) == Stopped("running", [NODE], [claim.id], ["default"])
    committed = await store.claims.commit([settlement(claim, outcome)])

    assert (committed.stale, committed.paused) == ([], ())
    row = await given.read(claim.id)
    assert (row.status, row.paused_at) == (outcome, None)


@pytest.mark.parametrize("how", ["again", "again, and more", "next", "later", "release", "reclaim"])
async def test_what_a_running_step_leaves_to_do_is_held(
    given: Given, store: Store, world: PinnedWorld, how: str
) -> None:
    world.pin()
    claim = await given.claim()
    await pause(given, claim.id)

    match how:
        case "again":
            await store.claims.commit([settlement(claim, "ready")])
        case "again, and more":
            await store.claims.commit([again(claim, state="{}")])
        case "next":
            await store.claims.commit([moved(claim)])
        case "later":
            await store.claims.commit([settlement(claim, "scheduled")])
        case "release":
            await store.claims.release([(claim.id, claim.epoch)])
        case _:
            await store.leases.reclaim(10, 5)
    assert await given.status(claim.id) == "scheduled"
    world.advance(61)
    await promote(given)

    assert await held(given, claim.id)
    assert await is_index_empty(given)
    await resume(given, claim.id)
    (claimed,) = await given.taken()
    assert (claimed.id, claimed.step) == (claim.id, "other" if how == "next" else "run")


async def test_a_park_whose_signal_is_there_is_held(given: Given, store: Store, post: Post) -> None:
    claim = await given.claim()
    await pause(given, claim.id)
    await post.send(claim.id)

    await store.claims.commit([parked(claim, "go")])
    await promote(given)

    assert await held(given, claim.id)


async def test_a_spawn_of_nobody_is_held(given: Given, store: Store) -> None:
    claim = await given.claim()
    await pause(given, claim.id)

    await store.claims.commit([spawned(claim, [])])
    await promote(given)

    assert await held(given, claim.id)


def kept(claim: Claim, **columns: Any) -> Settlement:
    """An outcome after which the claim goes on."""
    return Settlement(claim.id, claim.epoch, "running", 0, commits=claim.commits, **columns)


@pytest.mark.parametrize("what", ["a row", "a row and entries", "entries"])
async def test_an_outcome_that_keeps_its_claim_is_written_and_told_that_it_is_paused(
    given: Given, store: Store, what: str
) -> None:
    paused, free = await given.claimed(2)
    other = await given.claim()
    await pause(given, paused.id)
    entries = None if what == "a row" else [Entry("a#1", "step", "done", 1, value="1")]
    row = {} if what == "entries" else {"step": "b", "state": '{"n":1}'}
    batch = [kept(paused, entries=entries, **row), kept(free, entries=entries, **row), settlement(other)]

    first = await store.claims.commit(batch)
    repeated = await store.claims.commit(batch)  # its reply was lost.

    assert (first.stale, first.paused) == (repeated.stale, repeated.paused) == ([], (paused.id,))
    for claim in (paused, free):
        found = await given.read(claim.id)
        assert (found.status, found.step) == ("running", row.get("step", "run"))
        assert given.database.peek(claim.id, "commits") == 1
        assert [note.key for note in await store.journal.notes([claim.id])] == (["a#1"] if entries else [])
    assert await given.status(other.id) == "done"


@pytest.mark.parametrize("row", [{"step": "b"}, {"entries": [Entry("a#1", "step", "done", 1, value="1")]}])
async def test_a_stale_outcome_beside_a_paused_one_stays_stale(given: Given, store: Store, row: dict[str, Any]) -> None:
    paused, lost = await given.claimed(2)
    await pause(given, paused.id)
    await store.instances.cancel(lost.id, "{}", None)

    committed = await store.claims.commit([kept(paused, **row), kept(lost, **row)])

    assert (committed.stale, committed.paused) == ([lost.id], (paused.id,))
    assert await given.status(lost.id) == "cancelled"
    assert {note.instance for note in await store.journal.notes([paused.id, lost.id])} <= {paused.id}


async def test_a_node_is_told_which_of_its_claims_are_paused(given: Given, store: Store) -> None:
    first, second = await given.claimed(2)
    await pause(given, first.id)

    assert sorted(await store.claims.owned(NODE)) == sorted([(first.id, 1, True), (second.id, 1, False)])


async def test_what_is_quarantined_stays_so_and_is_held_when_it_is_retried(given: Given, store: Store) -> None:
    id = await given.standing("quarantined")
    await pause(given, id)
    assert await given.status(id) == "quarantined"

    await store.acts.retry(id, Redo())
    await promote(given)

    assert await held(given, id)
    await resume(given, id)
    assert ids(await given.taken()) == [id]


@pytest.mark.parametrize("status", FINAL)
async def test_what_has_ended_is_neither_paused_nor_resumed(given: Given, status: str) -> None:
    id = await given.standing(status)

    assert await pause(given, id) == Stopped(status, [], [], [])
    assert await resume(given, id) == Stopped(status, [], [], [])
    assert (await given.read(id)).paused_at is None
    assert await given.store.acts.list(id) == []


@pytest.mark.parametrize("status", LIVE)
async def test_doing_it_twice_changes_nothing(given: Given, status: str) -> None:
    id = await given.standing(status)
    before = await given.read(id)

    assert (await pause(given, id)).ids == [id]
    paused = await given.read(id)
    assert (await pause(given, id)).ids == []
    assert await given.read(id) == paused
    assert (await resume(given, id)).ids == [id]
    assert (await resume(given, id)).ids == []

    assert await given.read(id) == (before._replace(status="ready") if status == "blocked" else before)
    assert [row.act for row in await given.store.acts.list(id)] == ["paused", "resumed"]


@pytest.mark.parametrize("status", LIVE)
async def test_what_is_paused_can_be_cancelled(given: Given, status: str) -> None:
    id = await given.standing(status)
    await pause(given, id)

    await given.store.instances.cancel(id, "{}", None)

    row = await given.read(id)
    assert (row.status, row.paused_at) == ("cancelled", None)
    await given.store.acts.retry(id, Redo())
    assert ids(await given.taken()) == [id]


@pytest.mark.parametrize("status", ["ready", "scheduled", "waiting", "blocked"])
async def test_a_pause_outlives_the_store_and_holds_for_all(
    given: Given, open_store: OpenStore, world: PinnedWorld, status: str
) -> None:
    world.pin()
    id = await given.standing(status)
    await pause(given, id)
    await given.store.close()

    other = await open_store()
    world.advance(3_601)
    await other.timers.promote(10)

    assert list(await take_as(other, "bob")) == []
    row = await other.instances.get(id)
    assert row is not None
    assert row.paused_at is not None


async def test_nobody_is_paused_resumed_or_retried(given: Given) -> None:
    for id in (UNKNOWN, "nonsense"):
        assert await given.store.acts.pause(id, deed(given)) is None
        assert await given.store.acts.resume(id, deed(given)) is None
        assert await given.store.acts.retry(id, Redo(), deed(given)) is None
        assert await given.store.acts.list(id) == []


async def test_a_tree_is_paused_and_resumed_with_its_live_descendants(given: Given, store: Store) -> None:
    parent, (first, second) = await family(given, 2)
    await store.claims.commit([ended(second), spawned(first, [given.new(), given.new()])])
    grandchildren = [row[0] for row in given.database.query("SELECT id FROM {instances} WHERE parent = ?", first.id)]

    alone = await pause(given, first.id)
    paused = await pause(given, parent, tree=True)

    assert alone.ids == [first.id]
    assert sorted(map(str, paused.ids)) == sorted(map(str, [parent, *grandchildren]))
    assert await given.taken() == []
    resumed = await resume(given, parent, tree=True)
    assert sorted(map(str, resumed.ids)) == sorted(map(str, [parent, first.id, *grandchildren]))
    assert sorted(ids(await given.taken())) == sorted(map(str, grandchildren))


async def test_the_list_and_the_counts_know_what_is_paused(given: Given, store: Store) -> None:
    paused, blocked, free = await given.one(), await given.one(concurrency_key="k"), await given.one()
    given.database.poke(blocked, status="blocked", blocked_on="k:k")
    await pause(given, paused)

    from_list = {
        wanted: [row.id for row in await store.instances.list(Filter(paused=wanted))] for wanted in (True, False, None)
    }

    assert from_list == {True: [paused], False: [free, blocked], None: [free, blocked, paused]}
    (counts,) = await store.queues.counts()
    assert (counts.ready, counts.blocked) == (1, 2)


async def test_pauses_that_race_claims_commits_and_promotions_are_always_seen(
    given: Given, open_store: OpenStore
) -> None:
    """Whoever wins: what is paused is held in the end, or was claimed before, and then its next commit is told."""
    other = await open_store()
    rows = await given.added(120)
    await given.node()

    async def work() -> list[Claim]:
        claims: list[Claim] = []
        for _ in range(6):
            claims += await given.taken(20)
            await asyncio.sleep(0)
        return claims

    paused = [other.acts.pause(id, deed(given)) for id in rows[::2]]
    claims, *_ = await asyncio.gather(work(), *paused)

    committed = await given.store.claims.commit([kept(claim, step="b") for claim in claims])
    claimed = set(ids(claims))
    assert set(committed.paused) == claimed & set(rows[::2])
    assert committed.stale == []
    for id in rows[::2]:
        assert id in claimed or (await given.status(id)) == "blocked"
    assert await given.taken() == []


# Retries.


async def recorded(given: Given, *entries: Entry) -> Claim:
    """A failed workflow that has recorded these."""
    claim = await given.claim(step="workflow")
    await given.store.claims.commit([settlement(claim, "failed", entries=list(entries))])
    return claim


async def test_a_retry_changes_all_it_is_told_to_in_one_go(given: Given, store: Store, post: Post) -> None:
    claim = await recorded(
        given,
        Entry("a#1", "step", "done", 1, value="1"),
        Entry("b#1", "step", "failed", 2, 1, error="{}"),
        Entry("c#1", "step", "done", 3, value="3"),
    )
    await store.signals.send([post.signal(claim.id, "new")])  # refused: it has ended.
    letters = [(given.world.new_id(), "go", "1"), (given.world.new_id(), "go", "2")]
    redo = Redo(1, state='{"name":"Bob"}', forget=["c#1"], results=[("b#1", "2")], letters=letters, fresh=True)
    act = deed(given, "retried", who="ann", reason="why", detail="{}")

    retried = await store.acts.retry(claim.id, redo, act)

    assert retried is not None
    assert retried[:3] == ("failed", "default", 1)
    assert (await given.read(claim.id)).state == '{"name":"Bob"}'
    notes = [(note.key, note.status, note.value, note.error) for note in await store.journal.notes([claim.id])]
    assert notes == [("a#1", "done", "1", None), ("b#1", "done", "2", None)]
    assert [letter.payload for letter in await store.signals.inbox([claim.id])] == ["1", "2"]
    (noted,) = await store.acts.list(claim.id)
    assert (noted.instance, noted.id, noted.act, noted.who, noted.reason) == (claim.id, act.id, "retried", "ann", "why")
    (claimed,) = await given.taken()
    assert (claimed.epoch, claimed.round) == (2, 1)


async def test_a_retry_that_was_planned_from_another_row_does_nothing(given: Given, store: Store) -> None:
    claim = await recorded(given, Entry("a#1", "step", "done", 1, value="1"))

    stale = await store.acts.retry(claim.id, Redo(epoch=7, forget=["a#1"], state="{}"), deed(given))

    assert stale is not None
    assert stale[:3] == ("failed", "default", 1)
    assert await given.status(claim.id) == "failed"
    assert len(await store.journal.notes([claim.id])) == 1
    assert await store.acts.list(claim.id) == []


@pytest.mark.parametrize("status", ["ready", "scheduled", "blocked", "running", "waiting", "done"])
async def test_a_retry_of_what_has_not_ended_badly_does_nothing(given: Given, store: Store, status: str) -> None:
    id = await given.standing(status)
    before = await given.read(id)

    found = await store.acts.retry(id, Redo(state="{}", step="x"), deed(given))

    assert found is not None
    assert not isinstance(found, Held)
    assert found.former == status
    assert await given.read(id) == before
    assert await store.acts.list(id) == []


async def test_a_retry_that_is_repeated_acts_once(given: Given, store: Store) -> None:
    id = await given.ended("failed")
    act = deed(given, "retried")
    await store.acts.retry(id, Redo(), act)
    (claim,) = await given.taken()
    await store.claims.commit([settlement(claim, "failed")])

    repeated = await store.acts.retry(id, Redo(), act)

    assert repeated is not None
    assert not isinstance(repeated, Held)
    assert repeated.again
    assert await given.status(id) == "failed"


async def test_a_late_outcome_is_refused_after_a_retry(given: Given, store: Store) -> None:
    old = await given.claim()
    await store.instances.cancel(old.id, "{}", None)
    await store.acts.retry(old.id, Redo(state='{"name":"Bob"}'))

    assert (await store.claims.commit([settlement(old)])).stale == [old.id]
    (new,) = await given.taken()
    assert (await store.claims.commit([settlement(old)])).stale == [old.id]
    assert (await store.claims.commit([settlement(new)])).stale == []
    assert (await given.read(old.id)).state == '{"name":"Bob"}'


async def test_another_step_does_not_inherit_a_rate_limit_or_what_was_waited_for(given: Given, store: Store) -> None:
    id = await given.ended("failed", rate_limit=None)
    given.database.poke(id, rate_limit="r", awaits='["go"]')

    await store.acts.retry(id, Redo(step="other", version=2, state="{}"))

    row = await given.read(id)
    assert (row.step, row.version, row.rate_limit, row.awaits) == ("other", 2, None, None)


async def test_what_is_put_back_comes_before_what_is_unread(given: Given, store: Store, post: Post) -> None:
    claim = await given.claim(step="workflow")
    await store.signals.send([post.signal(claim.id, "go", payload='"unread"')])
    await store.claims.commit([settlement(claim, "failed")])
    letters = [(given.world.new_id(), "go", f'"{n}"') for n in (1, 2)]

    await store.acts.retry(claim.id, Redo(letters=letters))

    assert [letter.payload for letter in await store.signals.inbox([claim.id])] == ['"1"', '"2"', '"unread"']


@pytest.mark.parametrize("how", ["delete", "prune"])
async def test_acts_go_with_their_instance(given: Given, store: Store, how: str) -> None:
    id = await given.ended("failed")
    await store.acts.retry(id, Redo(), deed(given))
    (claim,) = await given.taken()
    await store.claims.commit([settlement(claim)])

    if how == "delete":
        await store.instances.delete(id)
    else:
        await store.upkeep.prune(10, given.world.wall_us() + 10**9)

    assert await store.instances.get(id) is None
    assert await store.acts.list(id) == []
