"""Group commit: who shares a transaction, what is told afterwards, and what a refusal costs."""

import asyncio
from typing import Any

import pytest

from outlast._kernel.outcomes import Recorded
from outlast._kernel.settle import recorded
from outlast._model import Claim, Entry
from outlast._runtime.committer import SPLIT_MIN, UNFLUSHED_BATCHES, Committer
from outlast._runtime.events import Events
from outlast._runtime.waiters import Waiters
from outlast.errors import StoreError, StoreUnavailable
from tests.runtime.stage import Clock, Heard, Rings, ids_of, soon, turns
from tests.store.given import Given, settlement

BATCH_MAX = 10


class Held:
    """Holds the database's answers back, and notes what was asked."""

    def __init__(self, given: Given) -> None:
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._real = given.store.claims.commit
        given.store.claims.commit = self._commit  # type: ignore[method-assign]

    async def _commit(self, batch: Any) -> Any:
        self.batches.append([item.id for item in batch])
        await self.gate.wait()
        return await self._real(batch)


@pytest.fixture
async def held(given: Given) -> Held:
    return Held(given)


@pytest.fixture
def committer(given: Given, held: Held, clock: Clock, rings: Rings, events: Events) -> Committer:
    return Committer(
        given.store.claims,
        given.store.limits,
        batch_max=BATCH_MAX,
        waiters=Waiters(given.store.instances),
        doorbell=rings,
        events=events,
        world=clock,
    )


async def test_one_outcome_is_committed_at_once(given: Given, committer: Committer, rings: Rings) -> None:
    claim = await given.claim()

    committer.put(settlement(claim), "default")
    await soon(committer.settled())

    assert await given.status(claim.id) == "done"
    assert rings.bell.rung == [f"f:{claim.id}"]
    assert committer.unflushed == 0


async def test_those_of_one_turn_share_a_commit_and_the_next_gathers_meanwhile(
    given: Given, held: Held, committer: Committer
) -> None:
    claims = await given.claimed(8)
    held.gate.clear()
    for claim in claims[:3]:
        committer.put(settlement(claim), "default")
    await turns()
    for claim in claims[3:]:
        committer.put(settlement(claim), "default")
    await turns()
    assert (len(held.batches), committer.unflushed) == (1, 8)

    held.gate.set()
    await soon(committer.settled())

    assert held.batches == [[claim.id for claim in claims[:3]], [claim.id for claim in claims[3:]]]
    assert await given.store.instances.totals() == {"done": 8}


async def test_a_batch_has_its_limit(given: Given, held: Held, committer: Committer) -> None:
    for claim in await given.claimed(2 * BATCH_MAX + 3):
        committer.put(settlement(claim), "default")

    await soon(committer.settled())

    assert [len(batch) for batch in held.batches] == [BATCH_MAX, BATCH_MAX, 3]


async def test_what_is_not_durable_is_held_and_bounded(given: Given, held: Held, committer: Committer) -> None:
    claims = await given.claimed(UNFLUSHED_BATCHES * BATCH_MAX)
    room: list[bool] = []
    committer.on_room(lambda: room.append(committer.has_room))
    held.gate.clear()

    for claim in claims[:-1]:
        committer.put(settlement(claim), "default")
    await turns()
    assert committer.has_room
    committer.put(settlement(claims[-1]), "default")

    assert not committer.has_room
    assert committer.holds() == ids_of(claims)
    held.gate.set()
    await soon(committer.settled())
    assert room == [True] * UNFLUSHED_BATCHES
    assert committer.holds() == set()


async def test_a_stale_outcome_is_told_and_answers_nobody(
    given: Given, committer: Committer, rings: Rings, heard: Heard
) -> None:
    stale, mine = await given.claimed(2)
    await given.store.claims.release([(stale.id, stale.epoch)])

    committer.put(settlement(stale), "default")
    committer.put(settlement(mine), "default")
    await soon(committer.settled())

    assert [said["id"] for said in heard.of("claim.stale")] == [stale.id]
    assert rings.bell.rung == [f"f:{mine.id}"]
    assert heard.of("commit.stop")[0]["stale"] == 1
    assert await given.status(stale.id) == "ready"


@pytest.mark.parametrize(
    ("status", "woken", "rung"),
    [
        ("done", [], "f:"),
        ("failed", [], "f:"),
        ("cancelled", [], "f:"),
        ("quarantined", [], "f:"),
        ("ready", ["queue"], "q:default"),
        ("scheduled", ["timer"], "t"),
    ],
)
async def test_each_outcome_wakes_whom_it_concerns(
    given: Given, committer: Committer, rings: Rings, status: str, woken: list[str], rung: str
) -> None:
    claim = await given.claim()

    committer.put(settlement(claim, status), "default")
    await soon(committer.settled())

    assert await given.status(claim.id) == status
    assert rings.woken == woken
    assert rings.bell.rung == [rung + (claim.id if rung == "f:" else "")]


async def test_what_frees_a_slot_lets_the_next_in_at_once(given: Given, committer: Committer, rings: Rings) -> None:
    rows = [given.new(concurrency_key="a") for _ in range(2)]
    await given.store.instances.add(rows)
    while (await given.store.timers.promote(10)).promoted:
        pass
    (claim,) = await given.taken()
    assert await given.taken() == []
    outcome = settlement(claim)
    outcome.frees = claim.concurrency_key

    committer.put(outcome, "default")
    await soon(committer.settled())

    assert await given.store.instances.totals() == {"done": 1, "ready": 1}
    assert "queue" in rings.woken


async def test_what_was_not_run_goes_back_and_others_are_told(given: Given, committer: Committer, rings: Rings) -> None:
    claims = await given.claimed(3)

    committer.release([(claim.id, claim.epoch) for claim in claims], "default")
    assert committer.holds() == ids_of(claims)
    await soon(committer.settled())

    assert await given.store.instances.totals() == {"ready": 3}
    # What has a limit went back to the timekeeper.
    assert (rings.woken, rings.bell.rung) == (["timer"], ["q:default"])
    assert committer.holds() == set()


async def test_one_refused_row_is_found_by_halving(
    given: Given, held: Held, committer: Committer, heard: Heard
) -> None:
    claims = await given.claimed(8)
    poison = claims[5].id
    real = given.store.claims.commit

    async def picky(batch: Any) -> Any:
        if any(item.id == poison and item.status == "done" for item in batch):
            held.batches.append([item.id for item in batch])
            raise StoreError("value out of range")
        return await real(batch)

    given.store.claims.commit = picky  # type: ignore[method-assign]
    for claim in claims:
        committer.put(settlement(claim), "default")
    await soon(committer.settled())

    assert [len(batch) for batch in held.batches] == [8, 4, 4, 2, 1, 1, 1, 2]
    assert await given.store.instances.totals() == {"done": 7, "failed": 1}
    row = await given.read(poison)
    assert row.error is not None
    assert "the database refused the outcome: value out of range" in row.error
    assert [said["id"] for said in heard.of("outcome.refused")] == [poison]


async def test_a_row_whose_plain_record_is_refused_costs_the_others_nothing(
    given: Given, committer: Committer, heard: Heard
) -> None:
    poison, good = await given.claimed(2)
    real = given.store.claims.commit

    async def picky(batch: Any) -> Any:
        if any(item.id == poison.id for item in batch):
            raise StoreError("no")
        return await real(batch)

    given.store.claims.commit = picky  # type: ignore[method-assign]
    committer.put(settlement(poison), "default")
    committer.put(settlement(good), "default")
    await soon(committer.settled())

    assert await given.status(good.id) == "done"
    assert await given.status(poison.id) == "running"  # the reconciler will find it.
    assert len(heard.of("outcome.refused")) == 2


async def test_trouble_of_the_whole_database_is_waited_out(
    given: Given, held: Held, committer: Committer, heard: Heard
) -> None:
    claim = await given.claim()
    real = given.store.claims.commit
    errors = [StoreUnavailable("away")] * 2

    async def away(batch: Any) -> Any:
        if errors:
            raise errors.pop()
        return await real(batch)

    given.store.claims.commit = away  # type: ignore[method-assign]
    committer.put(settlement(claim), "default")
    await soon(committer.settled())

    assert await given.status(claim.id) == "done"
    assert [name for name, _ in heard.all if name.startswith("store.")] == ["store.away", "store.back"]


async def test_after_closing_nothing_is_taken(given: Given, held: Held, committer: Committer) -> None:
    waiting, late = await given.claimed(2)
    held.gate.clear()
    committer.put(settlement(waiting), "default")
    await turns()

    await soon(committer.close())
    committer.put(settlement(late), "default")
    committer.release([(late.id, late.epoch)], "default")
    await soon(committer.settled())

    assert held.batches == [[waiting.id]]
    assert await given.status(late.id) == "running"


async def test_runs_that_wait_take_turns_in_two_halves(given: Given, held: Held, committer: Committer) -> None:
    claims = await given.claimed(SPLIT_MIN)
    committer._batch_max = 10 * SPLIT_MIN
    waiting = [asyncio.ensure_future(_recorded(committer, claim)) for claim in claims]
    await turns()

    assert len(held.batches[0]) == SPLIT_MIN // 2  # the others are written while these go on.
    assert all(await soon(asyncio.gather(*waiting)))
    assert [len(batch) for batch in held.batches] == [SPLIT_MIN // 2] * 2


async def test_few_runs_that_wait_share_one_commit(given: Given, held: Held, committer: Committer) -> None:
    claims = await given.claimed(SPLIT_MIN - 1)
    committer._batch_max = 10 * SPLIT_MIN

    assert all(await soon(asyncio.gather(*(_recorded(committer, claim) for claim in claims))))
    assert [len(batch) for batch in held.batches] == [SPLIT_MIN - 1]


async def test_the_next_outcome_of_a_run_is_not_answered_for_the_last_one(given: Given, committer: Committer) -> None:
    """A run goes on as soon as its outcome is durable, while gates of the same batch are still being opened."""
    run, keyed = await given.claimed(2)
    opening, may_open = asyncio.Event(), asyncio.Event()
    open_gates = given.store.limits.open

    async def slowly(gates: Any) -> Any:
        opening.set()
        await may_open.wait()
        return await open_gates(gates)

    given.store.limits.open = slowly  # type: ignore[method-assign]
    first = asyncio.ensure_future(_recorded(committer, run))
    committer.put(settlement(keyed, frees="gate"), "default")
    await soon(opening.wait())
    assert await soon(first)
    run.commits += 1
    second = asyncio.ensure_future(_recorded(committer, run))
    await turns()

    may_open.set()

    assert await soon(second)


async def test_two_claims_of_one_instance_have_an_answer_each(given: Given, held: Held, committer: Committer) -> None:
    """An outcome was on its way while its claim was given back and made again, by the same process."""
    old = await given.claim()
    held.gate.clear()
    first = asyncio.ensure_future(_recorded(committer, old))
    await turns()
    await given.store.claims.release([(old.id, old.epoch)])
    (new,) = await given.taken(1)
    second = asyncio.ensure_future(_recorded(committer, new))
    await turns()

    held.gate.set()

    assert (await soon(first), await soon(second)) == (False, True)


async def test_two_claims_of_one_instance_share_no_batch(given: Given, held: Held, committer: Committer) -> None:
    """The store names stale outcomes by their instance."""
    old, other = await given.claimed(2)
    await given.store.claims.release([(old.id, old.epoch)])
    (new,) = await given.taken(1)
    for claim in (other, old, new):
        committer.put(settlement(claim), "default")

    await soon(committer.settled())

    assert held.batches == [[other.id, old.id], [new.id]]


async def _recorded(committer: Committer, claim: Claim) -> bool:
    entry = Entry("a#1", "step", "done", 1, value="1")
    return await committer.durable(recorded(claim, Recorded((entry,))), "default")
