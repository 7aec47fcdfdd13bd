"""What instances are found by, and what is counted and deleted by filters."""

from typing import Any

import pytest

from outlast._model import Deed, Entry, Filter, Settlement
from tests.store.contract.test_schedules import a_schedule
from tests.store.given import Given, settlement
from tests.store.outcomes import Post, ended, family, parked, spawned, waiting

EU = '{"region":"eu"}'
EU_42 = '{"customer":"42","region":"eu"}'


def tagged(*tags: tuple[str, str], **columns: Any) -> Filter:
    return Filter(tags=tags, **columns)


async def found(given: Given, wanted: Filter) -> list[str]:
    return [row.id for row in await given.store.instances.list(wanted)]


async def kept(given: Given) -> list[tuple[str, str, str]]:
    """All that is in the table of tags."""
    rows = given.database.query("SELECT name, value, instance FROM {tags} ORDER BY name, value, instance")
    return [(name, value, str(id)) for name, value, id in rows]


async def test_what_is_tagged_is_found_the_newest_first(given: Given) -> None:
    first, second, third = await given.added(3, tags=EU)
    other = await given.one(tags='{"region":"us"}')
    await given.one()

    assert await found(given, tagged(("region", "eu"))) == [third, second, first]
    assert await found(given, tagged(("region", "us"))) == [other]
    assert await found(given, tagged(("region", "eu"), before=third, limit=1)) == [second]
    assert await found(given, tagged(("region", "EU"))) == []
    assert (await given.read(first)).tags == EU


async def test_all_tags_must_fit_and_all_other_filters_too(given: Given) -> None:
    both = await given.one(tags=EU_42, queue="side")
    await given.added(3, tags=EU)
    await given.one(tags='{"customer":"42","region":"us"}')

    assert await found(given, tagged(("region", "eu"), ("customer", "42"))) == [both]
    assert await found(given, tagged(("customer", "42"), ("region", "eu"), queue="side", status=("ready",))) == [both]
    assert await found(given, tagged(("region", "eu"), queue="side")) == [both]
    assert await found(given, tagged(("region", "eu"), program="other")) == []
    assert await found(given, tagged(("region", "eu"), ("customer", "43"))) == []


async def test_the_rarest_tag_leads_whatever_the_order(given: Given) -> None:
    """Several tags give the same, whichever of them most instances have."""
    await given.added(30, tags=EU)
    rare = await given.one(tags=EU_42)
    tags = (("region", "eu"), ("customer", "42"))

    assert await found(given, tagged(*tags)) == await found(given, tagged(*reversed(tags))) == [rare]


async def test_names_and_values_are_taken_as_they_are(given: Given) -> None:
    text = '{"a.b[\\"$\\"]":"x\\\\y","ü ö":"%_\'"}'
    id = await given.one(tags=text)

    assert await found(given, tagged(('a.b["$"]', "x\\y"))) == [id]
    assert await found(given, tagged(("ü ö", "%_'"), ('a.b["$"]', "x\\y"))) == [id]
    assert await found(given, tagged(("ü ö", "%_x"))) == []


async def test_what_was_not_inserted_is_not_found(given: Given) -> None:
    holder = await given.one(key="k", tags=EU)
    late = given.new(key="k", tags='{"region":"us"}')

    assert [held.holder for held in await given.store.instances.add([late, given.new(tags=EU_42)])] == [holder]

    assert await found(given, tagged(("region", "us"))) == []
    assert len(await found(given, tagged(("region", "eu")))) == 2


async def test_inserting_again_leaves_the_tags_that_it_has_by_now(given: Given) -> None:
    row = given.new(tags=EU)
    await given.store.instances.add([row])
    await given.store.instances.retag(row.id, {"region": "us"})

    await given.store.instances.add([row])

    assert await kept(given) == [("region", "us", row.id)]


async def test_tags_change_by_name(given: Given) -> None:
    id, other = await given.added(2, tags=EU_42)
    retag = given.store.instances.retag

    assert await retag(id, {"region": None, "tier": "gold"}) == {"customer": "42", "tier": "gold"}
    assert await retag(id, {}) == {"customer": "42", "tier": "gold"}

    assert await found(given, tagged(("region", "eu"))) == [other]
    assert await found(given, tagged(("tier", "gold"), ("customer", "42"))) == [id]
    assert await retag(id, {"tier": None, "customer": None}) == {}
    assert (await given.read(id)).tags is None
    assert await retag(given.world.new_id(), {"a": "b"}) is None
    assert await retag("no id", {"a": "b"}) is None
    assert {instance for _, _, instance in await kept(given)} == {other}


async def test_whoever_runs_it_commits_all_the_same(given: Given) -> None:
    claim = await given.claim(tags=EU)

    await given.store.instances.retag(claim.id, {"region": "us"})

    assert (await given.store.claims.commit([settlement(claim)])).stale == []
    assert await found(given, tagged(("region", "us"), status=("done",))) == [claim.id]


async def test_an_outcome_gives_tags_once_it_counts(given: Given) -> None:
    claim, stale = await given.claimed(2, tags=EU)
    entries = [
        Entry("tags#2", "tags", "done", 2, value='{"tier":"gold","region":null}'),
        Entry("tags#1", "tags", "done", 1, value='{"tier":"tin","customer":"42"}'),
    ]
    stale.epoch += 1

    committed = await given.store.claims.commit(
        [parked(claim, "go", entries=entries), parked(stale, "go", entries=entries)]
    )

    assert committed.stale == [stale.id]
    assert (await given.read(claim.id)).tags == '{"customer":"42","tier":"gold"}'
    assert await found(given, tagged(("tier", "gold"))) == [claim.id]
    assert await found(given, tagged(("region", "eu"))) == [stale.id]


async def test_children_and_runs_of_schedules_are_found(given: Given) -> None:
    parent = await given.claim()
    child = given.new(tags=EU)
    alone = given.new(tags=EU, parent=parent.id, round=2, child=1)
    committed = await given.store.claims.commit([spawned(parent, [child, given.new()], started=[alone])])
    assert committed.stale == []
    await given.store.schedules.add(a_schedule())
    row = await given.store.schedules.get("nightly")
    assert row is not None
    run = given.new(tags=EU)
    assert await given.store.schedules.fire(row, [run])

    assert sorted(await found(given, tagged(("region", "eu")))) == sorted([child.id, alone.id, run.id])


async def test_what_a_signal_starts_is_found(given: Given) -> None:
    row = given.new(key="k", tags=EU)
    again = given.new(key="k", tags='{"region":"us"}')

    await given.store.instances.add_and_send(row, Post(given).signal(key="k"))
    await given.store.instances.add_and_send(again, Post(given).signal(key="k"))

    assert await kept(given) == [("region", "eu", row.id)]


@pytest.mark.parametrize("way", ["delete", "prune", "remove"])
async def test_tags_go_with_their_instance(given: Given, way: str) -> None:
    id = await given.ended(tags=EU_42)
    other = await given.one(tags=EU_42)
    store = given.store

    match way:
        case "delete":
            await store.instances.delete(id)
        case "prune":
            assert await store.upkeep.prune(10, given.world.wall_us() + 10**9) == 1
        case _:
            assert await store.instances.remove([id]) == 1

    assert await store.instances.get(id) is None
    assert {instance for _, _, instance in await kept(given)} == {other}


# Lists and counts.


async def test_who_waits_for_a_signal_is_found_by_its_name(given: Given) -> None:
    (paid,) = await waiting(given, "paid", tags=EU)
    (both,) = await waiting(given, "paid", 'a"paid')
    await waiting(given, 'a"paid', "unpaid")
    woken, late = await waiting(given, "paid", count=2)
    await Post(given).send(woken, "paid")
    await given.store.instances.cancel(late, "{}", None)
    wanted = Filter(waiting_for="paid")

    assert await found(given, wanted) == [both, paid]
    assert await found(given, Filter(waiting_for="paid", before=both)) == [paid]
    assert await found(given, Filter(waiting_for="paid", tags=(("region", "eu"),))) == [paid]
    assert await found(given, Filter(waiting_for="paid", status=("done",))) == []
    assert await found(given, Filter(waiting_for="nobody")) == []
    assert await given.store.instances.count(wanted, "status") == {"waiting": 2}


async def test_roots_have_no_parent(given: Given) -> None:
    parent, children = await family(given, 2)
    alone = await given.one()

    assert await found(given, Filter(roots=True)) == [alone, parent]
    assert len(await found(given, Filter())) == 2 + len(children)


async def test_every_list_and_count_knows_what_is_paused(given: Given) -> None:
    parent, (child, sister) = await family(given, 2)
    waits, other = await waiting(given, "paid", count=2, tags=EU)
    for id in (waits, child.id):
        await given.store.acts.pause(id, Deed(given.world.new_id(), "paused"))
    count = given.store.instances.count

    for wanted, tagged_ids, children in ((True, [waits], [child.id]), (False, [other], [sister.id])):
        assert await found(given, tagged(("region", "eu"), paused=wanted)) == tagged_ids
        assert await found(given, Filter(waiting_for="paid", paused=wanted)) == tagged_ids
        assert await count(tagged(("region", "eu"), paused=wanted), "status") == {"waiting": 1}
        assert await count(Filter(parent=parent, paused=wanted), "status") == {"running": len(children)}
        assert await count(Filter(status=("running",), paused=wanted), "status") == {"running": 1}
    (row,) = await given.store.instances.list(tagged(("region", "eu"), paused=True))
    assert row == await given.read(waits)
    assert row.paused_at is not None


async def test_what_is_paused_gives_tags_by_what_it_records(given: Given) -> None:
    claim = await given.claim(tags=EU)
    await given.store.acts.pause(claim.id, Deed(given.world.new_id(), "paused"))
    entries = [Entry("tags#1", "tags", "done", 1, value='{"region":"us"}')]

    goes_on = Settlement(claim.id, claim.epoch, "running", 0, commits=claim.commits, entries=entries)
    committed = await given.store.claims.commit([goes_on])

    assert (committed.stale, committed.paused) == ([], (claim.id,))
    assert (await given.read(claim.id)).tags == '{"region":"us"}'
    assert await found(given, tagged(("region", "us"))) == [claim.id]


async def test_counts_are_by_status_program_or_queue_under_a_filter(given: Given) -> None:
    await given.added(3, queue="side", tags=EU)
    await given.added(2, program="other", tags=EU_42)
    await given.ended(tags=EU)
    count = given.store.instances.count

    assert await count(Filter(), "status") == {"ready": 5, "done": 1}
    assert await count(Filter(), "program") == {"greet": 4, "other": 2}
    assert await count(Filter(queue="side"), "queue") == {"side": 3}
    assert await count(tagged(("region", "eu"), status=("ready",)), "program") == {"greet": 3, "other": 2}
    assert await count(tagged(("region", "eu"), ("customer", "42")), "status") == {"ready": 2}
    assert await count(tagged(("region", "us")), "status") == {}


async def test_children_are_counted_by_status(given: Given) -> None:
    parent, (first, *_) = await family(given, 3)
    await family(given, 2)
    await given.store.claims.commit([ended(first)])
    count = given.store.instances.count

    assert await count(Filter(parent=parent), "status") == {"done": 1, "running": 2}
    assert await count(Filter(parent=parent, status=("done",)), "program") == {"greet": 1}
    assert await count(Filter(parent=parent, tags=(("a", "b"),)), "status") == {}
    assert await count(Filter(parent="no id"), "status") == {}


# Deleting.


async def test_only_what_has_ended_is_removed_and_no_child_of_a_live_parent(given: Given) -> None:
    done, failed = await given.ended(), await given.ended("failed")
    live = await given.standing("running")
    parent, (child, *_) = await family(given, 2)
    await given.store.claims.commit([ended(child)])
    ids = [done, failed, live, parent, child.id, given.world.new_id()]

    assert sorted(await given.store.instances.removable(ids)) == sorted([done, failed])
    assert await given.store.instances.remove(ids) == 2
    assert await given.store.instances.remove(ids) == 0

    assert await given.store.instances.get(done) is None
    assert await given.status(child.id) == "done"
    assert await given.status(live) == "running"


async def test_what_belongs_to_it_is_removed_with_it(given: Given) -> None:
    (claim,) = await given.claimed(1)
    await Post(given).send(claim.id)
    await given.store.acts.pause(claim.id, Deed(given.world.new_id(), "paused"))
    entries = [Entry("a#1", "step", "done", 1, value="1")]
    await given.store.claims.commit([settlement(claim, entries=entries)])

    await given.store.instances.remove([claim.id])

    assert await given.store.signals.list(claim.id) == []
    assert await given.store.journal.notes([claim.id]) == []
    assert await given.store.acts.list(claim.id) == []


async def test_the_time_of_the_end_narrows_a_list(given: Given) -> None:
    now_us = given.world.pin()
    first = await given.ended()
    given.world.advance(60)
    await given.ended()
    await given.one()

    assert await found(given, Filter(ended_before_us=now_us + 1)) == [first]
    assert await found(given, Filter(ended_before_us=now_us)) == []
