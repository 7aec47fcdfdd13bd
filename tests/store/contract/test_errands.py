"""Errands: steps of a workflow that run as instances of their own, and go with it."""

import json

import pytest

from outlast._kernel.program import ERRAND, WORKFLOW
from outlast._model import Deed, Entry, NewInstance
from outlast._store.contract import Store
from tests.store.given import Given, PinnedWorld, settlement
from tests.store.outcomes import ended, parked


async def sent(given: Given, count: int = 1, *, called: int = 0) -> tuple[str, list[str], list[str]]:
    """A workflow that waits for errands, and for children that it has called: its id, theirs, and the children's."""
    claim = await given.claim(step=WORKFLOW)

    def row(step: str, round: int, number: int) -> NewInstance:
        return given.new(queue="gpu", step=step, parent=claim.id, round=round, child=number)

    errands = [row(ERRAND, claim.epoch + 1, n) for n in range(count)]
    children = [row("run", 1, n) for n in range(called)]
    park = parked(claim, *(f"~child:{each.id}" for each in (*errands, *children)), started=[*errands, *children])
    park.step = None
    park.entries = [Entry(f"s#{n}", "step", "waiting", n, value="{}") for n in range(count)]
    assert (await given.store.claims.commit([park])).stale == []
    return claim.id, [each.id for each in errands], [each.id for each in children]


@pytest.mark.parametrize("tree", [False, True])
async def test_they_are_cancelled_with_their_workflow_and_its_children_are_not(
    given: Given, store: Store, tree: bool
) -> None:
    await given.node()
    id, errands, (child,) = await sent(given, 3, called=1)
    (running,) = await given.taken(1, queue="gpu")

    stopped = await store.instances.cancel(id, "{}", 60.0, tree=tree)

    assert stopped is not None
    assert {*errands, id} <= set(stopped.ids)
    assert [await given.status(each) for each in (id, *errands)] == ["cancelled"] * 4
    assert await given.status(child) == ("cancelled" if tree else "ready")
    assert running.id in {*errands, child}


async def test_only_their_own_workflow_takes_them_along(given: Given, store: Store) -> None:
    await given.node()
    one, (mine,), _ = await sent(given)
    _, (other,), _ = await sent(given)

    await store.instances.cancel(one, "{}", None)

    assert [await given.status(each) for each in (mine, other)] == ["cancelled", "ready"]


async def test_a_workflow_is_deleted_with_its_errands_even_running_ones(given: Given, store: Store) -> None:
    await given.node()
    id, errands, (child,) = await sent(given, 2, called=1)
    claims = await given.taken(2, queue="gpu")

    assert await store.instances.delete(id) == "waiting"

    assert [await store.instances.get(each) for each in (id, *errands)] == [None] * 3
    assert await store.instances.get(child) is not None
    mine = [claim for claim in claims if claim.id in errands]
    assert (await store.claims.commit([settlement(claim) for claim in mine])).stale == [claim.id for claim in mine]


async def test_an_errand_that_runs_is_not_deleted_by_itself(given: Given, store: Store) -> None:
    await given.node()
    _, (errand,), _ = await sent(given)
    await given.taken(1, queue="gpu")

    assert await store.instances.delete(errand) == "running"

    assert await given.status(errand) == "running"


async def test_pruning_spares_them_while_their_workflow_is_kept_and_takes_them_with_it(
    given: Given, store: Store, world: PinnedWorld
) -> None:
    world.pin()
    await given.node()
    id, errands, _ = await sent(given, 2)
    claims = await given.taken(2, queue="gpu")
    await store.claims.commit([ended(claims[0], retention_s=10.0), ended(claims[1], retention_s=1_000.0)])
    (workflow,) = await given.taken(1)
    world.advance(100.0)
    assert await store.upkeep.prune(10) == 0, "the workflow lives"
    await store.claims.commit([settlement(workflow, retention_s=50.0)])
    assert await store.upkeep.prune(10) == 0, "the workflow is kept"

    world.advance(60.0)

    assert await store.upkeep.prune(10) == 3, "the one that would have been kept for longer, too"
    assert [await store.instances.get(each) for each in (id, *errands)] == [None] * 3


async def test_an_errand_whose_workflow_is_gone_is_pruned(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    await given.node()
    _, (errand,), _ = await sent(given)
    (claim,) = await given.taken(1, queue="gpu")
    given.database.poke(errand, parent=None)
    await store.claims.commit([settlement(claim, retention_s=10.0)])

    world.advance(20.0)

    assert await store.upkeep.prune(10) == 1


async def test_the_news_of_an_end_say_how_many_attempts_there_were_and_how_long_the_last_one_took(
    given: Given, store: Store, world: PinnedWorld
) -> None:
    world.pin()
    await given.node()
    id, (errand,), _ = await sent(given)
    (claim,) = await given.taken(1, queue="gpu")
    world.advance(2.5)

    await store.claims.commit([ended(claim, attempt=3)])

    (letter,) = await store.signals.inbox([id])
    assert letter.name == f"~child:{errand}"
    assert json.loads(letter.payload) == {
        "status": "done",
        "result": "hello",
        "error": None,
        "attempt": 3,
        "duration_s": 2.5,
    }
    assert await given.status(id) == "ready"


@pytest.mark.parametrize("tree", [False, True])
async def test_they_are_paused_and_resumed_with_their_workflow_and_its_children_are_not(
    given: Given, store: Store, tree: bool
) -> None:
    await given.node()
    id, errands, (child,) = await sent(given, 2, called=1)

    paused = await store.acts.pause(id, Deed(given.world.new_id(), "paused"), tree=tree)

    assert paused is not None
    held = {id, *errands, child} if tree else {id, *errands}
    assert set(paused.ids) == held
    assert [claim.id for claim in await given.taken(queue="gpu")] == ([] if tree else [child])
    resumed = await store.acts.resume(id, Deed(given.world.new_id(), "resumed"), tree=tree)
    assert resumed is not None
    assert set(resumed.ids) == held
    assert {*errands} <= {claim.id for claim in await given.taken(queue="gpu")}


async def test_what_was_done_with_them_goes_with_them(given: Given, store: Store) -> None:
    id, (errand,), _ = await sent(given)
    await store.acts.pause(id, Deed(given.world.new_id(), "paused"))
    assert len(await store.acts.list(errand)) == 1

    await store.instances.delete(id)

    assert await store.acts.list(errand) == await store.acts.list(id) == []


async def test_acts_are_pruned_with_errands(given: Given, store: Store, world: PinnedWorld) -> None:
    world.pin()
    id, (errand,), _ = await sent(given)
    await store.acts.pause(id, Deed(given.world.new_id(), "paused"))
    await store.instances.cancel(id, "{}", 10.0)

    world.advance(20.0)

    assert await store.upkeep.prune(10) == 2
    assert await store.acts.list(errand) == await store.acts.list(id) == []
