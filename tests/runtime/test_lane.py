"""A lane: how much it claims, what it starts, and what it gives back."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast._model import Claim, Denied, Taken
from outlast._runtime import lane as module
from outlast._runtime.committer import Committer
from outlast._runtime.events import Events
from outlast._runtime.lane import Lane
from outlast._runtime.suspects import ALONE_S, QUIET_S, SUSPECT_LEFT, Suspects
from outlast._runtime.waiters import Waiters
from outlast._world import SystemWorld
from outlast.config import Queue
from outlast.errors import StoreUnavailable
from tests.runtime.stage import Heard, Rings, ids_of, soon, turns
from tests.store.given import KNOWN, NODE, Given, settlement

MAX_CRASHES = 5
SUSPECT_CRASHES = MAX_CRASHES - SUSPECT_LEFT
PAYLOAD_BYTES_MAX = 262_144


class Run:
    """What a lane is told of a run that is over."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim


class Clock(SystemWorld):
    """A world whose monotonic clock stands still until it is moved."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


class Executor:
    """Starts nothing: notes what it was given.

    Attributes:
        started: Claims, in order.
        refuses: Ids that it does not know after all.
    """

    def __init__(self) -> None:
        self.started: list[Claim] = []
        self.refuses: set[str] = set()
        self.kit = SimpleNamespace(residents=())
        self.news = asyncio.Event()

    @property
    def running(self) -> set[str]:
        return ids_of(self.started)

    def start(self, claim: Claim, slot: Lane) -> bool:
        if claim.id in self.refuses:
            return False
        self.started.append(claim)
        self.news.set()
        return True

    async def has_started(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.started) < count:
                self.news.clear()
                await self.news.wait()


class Stage:
    """A lane and what is around it.

    Attributes:
        limits: How many were asked for, claim by claim.
        node: Under which id it claims.
        doubts, clears: Times that it called `on_doubt` and `on_clear`.
    """

    def __init__(self, given: Given, rings: Rings, events: Events) -> None:
        self.given = given
        self.executor = Executor()
        self.limits: list[int] = []
        self.node = NODE
        self.doubts = 0
        self.clears = 0
        self.tasks: list[asyncio.Task[None]] = []
        self._events = events
        self._world = SystemWorld()
        self.clock = Clock()
        self.suspects = Suspects(MAX_CRASHES, self.clock)
        self.real_take = given.store.claims.take
        given.store.claims.take = self._take  # type: ignore[method-assign]
        self.committer = Committer(
            given.store.claims,
            given.store.limits,
            batch_max=100,
            waiters=Waiters(given.store.instances),
            doorbell=rings,
            events=events,
            world=self._world,
        )

    async def _take(self, queue: str, node: str, known: Any, limit: int, *more: Any) -> list[Claim]:
        self.limits.append(limit)
        return await self.real_take(queue, node, known, limit, *more)

    def open(self, how: Queue, *, poll_s: float = 60.0, payload_bytes_max: int = PAYLOAD_BYTES_MAX) -> Lane:
        """A running lane; it polls once a minute: what it does without a ring shows in the test's time."""
        lane = Lane(
            "default",
            how,
            claims=self.given.store.claims,
            signals=self.given.store.signals,
            journal=self.given.store.journal,
            executor=self.executor,  # type: ignore[arg-type]
            committer=self.committer,
            node=lambda: self.node,
            known=lambda: KNOWN,
            on_doubt=self._doubt,
            on_clear=self._clear,
            on_denied=lambda: None,
            grace_s=5.0,
            suspects=self.suspects,
            payload_bytes_max=payload_bytes_max,
            poll_s=poll_s,
            poll_s_max=60.0,
            events=self._events,
            world=self._world,
        )
        self.lane = lane
        self.tasks.append(asyncio.create_task(lane.run()))
        return lane

    def _doubt(self) -> None:
        self.doubts += 1

    def _clear(self) -> None:
        self.clears += 1
        self.lane.ring()

    async def ends(self, count: int = 1) -> None:
        """The oldest runs are over and committed."""
        over, self.executor.started = self.executor.started[:count], self.executor.started[count:]
        for claim in over:
            self.committer.put(settlement(claim), "default")
        await soon(self.committer.settled())
        for claim in over:
            self.lane.freed(Run(claim))  # type: ignore[arg-type]


@pytest.fixture
async def stage(given: Given, rings: Rings, events: Events) -> AsyncIterator[Stage]:
    stage = Stage(given, rings, events)
    await given.node()
    yield stage
    for task in stage.tasks:
        task.cancel()
    await asyncio.gather(*stage.tasks, return_exceptions=True)
    await stage.committer.close()


async def _counts(given: Given) -> dict[str, int]:
    return await given.store.instances.totals()


async def test_it_claims_as_many_as_it_can_start_in_order(given: Given, stage: Stage) -> None:
    late = await given.added(3, priority=5)
    soonest = await given.added(2)

    stage.open(Queue(4, prefetch=0))
    await stage.executor.has_started(4)

    assert [claim.id for claim in stage.executor.started] == [*soonest, *late[:2]]
    assert await _counts(given) == {"running": 4, "ready": 1}
    assert stage.limits[0] == 4


async def test_a_free_slot_is_filled(given: Given, stage: Stage) -> None:
    await given.added(3)
    stage.open(Queue(1, prefetch=0))
    await stage.executor.has_started(1)
    first = stage.executor.started[0]

    await stage.ends()

    await stage.executor.has_started(1)
    assert stage.executor.started[0].id != first.id
    assert await _counts(given) == {"done": 1, "running": 1, "ready": 1}


async def test_a_full_lane_claims_nothing(given: Given, stage: Stage) -> None:
    await given.added(5)
    lane = stage.open(Queue(2, prefetch=0))
    await stage.executor.has_started(2)
    claims = len(stage.limits)

    for _ in range(5):
        lane.ring()
        await turns()

    assert len(stage.limits) == claims


async def test_a_ring_is_heard_and_silence_is_kept(given: Given, stage: Stage) -> None:
    lane = stage.open(Queue(2, prefetch=0))
    await eventually_async(lambda: stage.limits)
    await turns()
    await given.added(1)
    assert stage.executor.started == []

    lane.ring()

    await stage.executor.has_started(1)


async def test_a_ring_during_a_claim_makes_another(given: Given, stage: Stage) -> None:
    taking, go_on = asyncio.Event(), asyncio.Event()
    real = stage.real_take

    async def slow(*args: Any) -> Any:
        found = await real(*args)
        taking.set()
        await go_on.wait()
        return found

    stage.real_take = slow
    lane = stage.open(Queue(2, prefetch=0))
    await soon(taking.wait())
    await given.added(1)  # after the look, before its answer.
    lane.ring()
    go_on.set()

    await stage.executor.has_started(1)


async def test_polling_finds_what_nobody_rang_for(given: Given, stage: Stage) -> None:
    stage.open(Queue(2, prefetch=0), poll_s=0.02)
    await eventually_async(lambda: stage.limits)

    await given.added(1)

    await stage.executor.has_started(1)


async def test_prefetched_claims_wait_and_start_without_a_claim(given: Given, stage: Stage) -> None:
    await given.added(10)
    lane = stage.open(Queue(1, prefetch=4))
    await stage.executor.has_started(1)

    assert await _counts(given) == {"running": 5, "ready": 5}
    assert len(lane.holds()) == 4
    assert lane.waiting().keys() == lane.holds()
    claims = len(stage.limits)
    lane.freed(Run(stage.executor.started[0]))  # type: ignore[arg-type]

    assert len(stage.executor.started) == 2
    assert len(stage.limits) == claims


async def test_min_demand_waits_for_several_slots_unless_idle(given: Given, stage: Stage) -> None:
    await given.added(2)
    stage.open(Queue(4, prefetch=0, min_demand=3))
    await stage.executor.has_started(2)  # idle: it took what there was.
    await turns()
    claims = len(stage.limits)
    await given.added(5)

    stage.lane.ring()
    await turns(20)
    assert len(stage.limits) == claims  # two slots are free, and three are asked for.
    await stage.ends()

    await stage.executor.has_started(4)


async def test_a_lane_that_measures_prefetches_for_short_steps(given: Given, stage: Stage) -> None:
    await given.added(200)
    stage.open(Queue(4))
    for _ in range(30):
        await stage.executor.has_started(1)
        await stage.ends(len(stage.executor.started))
        await turns(10)

    assert max(stage.limits) > 4


async def test_stopping_gives_back_what_was_not_started_and_ends_the_loop(given: Given, stage: Stage) -> None:
    await given.added(6)
    lane = stage.open(Queue(2, prefetch=4))
    await stage.executor.has_started(2)

    lane.stop()
    await soon(asyncio.gather(*stage.tasks))
    await soon(stage.committer.settled())

    assert await _counts(given) == {"running": 2, "ready": 4}
    assert lane.holds() == set()
    lane.freed(Run(stage.executor.started[0]))  # type: ignore[arg-type]
    assert len(stage.executor.started) == 2


async def test_a_claim_whose_answer_comes_after_the_stop_goes_back(given: Given, stage: Stage) -> None:
    await given.added(2)
    taken, go_on = asyncio.Event(), asyncio.Event()
    real = stage.real_take

    async def slow(*args: Any) -> Any:
        found = await real(*args)
        taken.set()
        await go_on.wait()
        return found

    stage.real_take = slow
    lane = stage.open(Queue(2, prefetch=0))
    await soon(taken.wait())
    lane.stop()
    go_on.set()
    await soon(asyncio.gather(*stage.tasks))
    await soon(stage.committer.settled())

    assert stage.executor.started == []
    assert await _counts(given) == {"ready": 2}


async def test_waiting_for_the_database_ends_when_it_is_stopped(given: Given, stage: Stage) -> None:
    async def away(*_: Any) -> Any:
        raise StoreUnavailable("away")

    stage.real_take = away  # type: ignore[assignment]
    lane = stage.open(Queue(2))
    await eventually_async(lambda: stage.doubts >= 3)

    lane.stop()

    async with asyncio.timeout(0.2):
        await asyncio.gather(*stage.tasks)


async def test_what_is_dropped_is_neither_started_nor_given_back(given: Given, stage: Stage) -> None:
    await given.added(4)
    lane = stage.open(Queue(1, prefetch=3))
    await stage.executor.has_started(1)
    lost, *kept = sorted(lane.holds())

    lane.drop({lost, "somebody else's"})
    assert lane.holds() == set(kept)
    lane.drop()

    assert lane.holds() == set()
    await soon(stage.committer.settled())
    assert await _counts(given) == {"running": 4}


@pytest.mark.parametrize("is_rung", [False, True], ids=["left alone", "rung all the time"])
async def test_claims_that_wait_too_long_for_a_slot_go_back(
    given: Given, stage: Stage, monkeypatch: pytest.MonkeyPatch, is_rung: bool
) -> None:
    monkeypatch.setattr(module, "HOLD_S", 0.05)
    await given.added(6)
    lane = stage.open(Queue(2))
    lane._prefetch = 4  # as after a spell of short steps.
    await stage.executor.has_started(2)

    def holds_nothing() -> bool:
        if is_rung:
            lane.ring()
        return not lane.holds()

    await eventually_async(holds_nothing)
    await soon(stage.committer.settled())

    assert await _counts(given) == {"running": 2, "ready": 4}


async def test_a_chosen_prefetch_is_kept_however_long_it_waits(
    given: Given, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOLD_S", 0.01)
    await given.added(6)
    lane = stage.open(Queue(2, prefetch=4))
    await stage.executor.has_started(2)

    await asyncio.sleep(0.1)

    assert len(lane.holds()) == 4


async def test_an_unflushed_committer_stops_the_lane_until_there_is_room(given: Given, stage: Stage) -> None:
    stage.committer.unflushed_max = 0
    await given.added(2)
    lane = stage.open(Queue(2, prefetch=0))
    await turns(20)
    assert stage.limits == []

    stage.committer.unflushed_max = 10
    lane.room()
    lane.ring()

    await stage.executor.has_started(2)


async def test_an_unknown_program_leaves_its_slot(given: Given, stage: Stage) -> None:
    strange, known = await given.added(2)
    stage.executor.refuses = {strange}

    stage.open(Queue(1, prefetch=1))

    await stage.executor.has_started(1)
    assert ids_of(stage.executor.started) == {known}


async def test_one_claim_that_cannot_be_started_costs_the_others_nothing(
    given: Given, stage: Stage, heard: Heard
) -> None:
    bad, *good = await given.added(20)
    real = stage.executor.start

    def start(claim: Claim, slot: Lane) -> bool:
        if claim.id == bad:
            raise ZeroDivisionError("a bug of ours")
        return real(claim, slot)

    stage.executor.start = start  # type: ignore[method-assign]
    stage.open(Queue(20, prefetch=0))
    await stage.executor.has_started(19)
    await soon(stage.committer.settled())

    assert ids_of(stage.executor.started) == set(good)
    assert await given.status(bad) == "ready"
    assert "a bug of ours" in heard.of("loop.failed")[0]["error"]


async def test_an_error_that_nobody_expected_does_not_end_the_lane(given: Given, stage: Stage, heard: Heard) -> None:
    for id in await given.added(2):
        given.database.poke(id, crashes=SUSPECT_CRASHES)
    real = given.store.claims.release
    errors = [ZeroDivisionError("a bug of ours")]

    async def release(claims: Any) -> None:
        if errors:
            raise errors.pop()
        await real(claims)

    given.store.claims.release = release  # type: ignore[method-assign]
    lane = stage.open(Queue(10, prefetch=0))
    await eventually_async(lambda: heard.of("loop.failed"))
    good = await given.one()
    lane.ring()

    await eventually_async(lambda: good in ids_of(stage.executor.started))
    assert stage.doubts >= 1  # what was in hand is looked for.


async def test_without_a_name_it_neither_claims_nor_starts(given: Given, stage: Stage) -> None:
    await given.added(3)
    lane = stage.open(Queue(1, prefetch=2))
    await stage.executor.has_started(1)
    claims = len(stage.limits)

    stage.node = ""
    lane.freed(Run(stage.executor.started[0]))  # type: ignore[arg-type]
    lane.ring()
    await turns(20)
    assert (len(stage.limits), len(stage.executor.started)) == (claims, 1)

    stage.node = NODE
    lane.ring()
    lane.room()
    await stage.executor.has_started(2)


async def test_what_waited_while_it_had_no_name_begins_as_soon_as_it_has_one(given: Given, stage: Stage) -> None:
    await given.added(3)
    lane = stage.open(Queue(1, prefetch=2))
    await stage.executor.has_started(1)

    stage.node = ""
    lane.freed(Run(stage.executor.started[0]))  # type: ignore[arg-type]
    lane.ring()
    await turns(20)
    assert len(stage.executor.started) == 1
    stage.node = NODE
    lane.ring()  # all that it hears: nobody else frees a slot, and there is nothing to claim.

    await stage.executor.has_started(2)


async def test_what_was_claimed_under_a_name_that_is_gone_goes_back(given: Given, stage: Stage) -> None:
    await given.added(2)
    real = stage.real_take
    names = ["", "bob"]

    async def renamed(*args: Any) -> Any:
        found = await real(*args)
        if found and names:
            stage.node = names.pop()
        return found

    stage.real_take = renamed
    stage.open(Queue(2, prefetch=0))
    await eventually_async(lambda: stage.node == "bob")
    await soon(stage.committer.settled())

    assert stage.executor.started == []
    assert await _counts(given) == {"ready": 2}


async def test_of_suspects_one_runs_and_the_others_are_back_before_it_begins(given: Given, stage: Stage) -> None:
    ids = await given.added(4)
    for id in ids:
        given.database.poke(id, crashes=SUSPECT_CRASHES)
    good = await given.one()
    seen: list[dict[str, int]] = []
    real = given.store.claims.release

    async def release(claims: Any) -> None:
        assert ids_of(stage.executor.started) & set(ids) == set()
        await real(claims)
        seen.append(await _counts(given))

    given.store.claims.release = release  # type: ignore[method-assign]
    stage.open(Queue(10, prefetch=0))
    await stage.executor.has_started(2)

    assert {claim.id for claim in stage.executor.started} == {ids[0], good}
    assert seen == [{"running": 2, "ready": 3}]
    assert stage.suspects.id == ids[0]


async def test_the_next_suspect_begins_when_the_last_is_over(given: Given, stage: Stage) -> None:
    ids = await given.added(3)
    for id in ids:
        given.database.poke(id, crashes=SUSPECT_CRASHES)
    stage.open(Queue(10, prefetch=0))
    ran: list[str] = []

    for _ in range(3):
        await stage.executor.has_started(1)
        await turns(20)
        (claim,) = stage.executor.started
        ran.append(claim.id)
        await stage.ends()

    assert ran == ids
    assert (stage.suspects.id, stage.clears) == (None, 3)


@pytest.mark.parametrize("way", ["drop", "give back", "refuse"])
async def test_a_suspect_that_never_began_makes_room_for_the_next(given: Given, stage: Stage, way: str) -> None:
    blocker = await given.one(priority=-1)
    suspect = await given.one()
    given.database.poke(suspect, crashes=SUSPECT_CRASHES)
    if way == "refuse":
        stage.executor.refuses = {suspect}
    lane = stage.open(Queue(1, prefetch=1))
    await stage.executor.has_started(1)
    assert stage.executor.started[0].id == blocker
    assert stage.suspects.id == suspect

    if way == "drop":
        lane.drop({suspect})
    elif way == "give back":
        lane.give_back()
    else:
        lane.freed(Run(stage.executor.started[0]))  # type: ignore[arg-type]

    assert stage.suspects.id is None
    assert stage.clears == 1


async def _claims_last_chance(given: Given, stage: Stage, others: int) -> list[str]:
    """A lane that runs something has claimed what one more crash would quarantine, and others behind it. Their ids."""
    before = await given.one()
    lane = stage.open(Queue(10, prefetch=10))
    await stage.executor.has_started(1)
    ids = await given.added(1 + others)
    given.database.poke(ids[0], crashes=MAX_CRASHES - 1)
    lane.ring()
    await eventually_async(lambda: stage.suspects.id == ids[0])
    return [before, *ids]


async def test_nothing_begins_beside_a_suspect_with_one_chance_left(given: Given, stage: Stage) -> None:
    before, suspect, *others = await _claims_last_chance(given, stage, 3)

    stage.lane.ring()
    await turns(20)
    assert ids_of(stage.executor.started) == {before}, "the suspect waits until nothing else runs"
    asked = len(stage.limits)

    await stage.ends()
    await stage.executor.has_started(1)
    stage.lane.ring()
    await turns(20)
    assert ids_of(stage.executor.started) == {suspect}
    assert len(stage.limits) == asked, "nor is more claimed"

    await stage.ends()
    await stage.executor.has_started(3)
    assert ids_of(stage.executor.started) == set(others)


async def test_a_suspect_waits_for_what_runs_and_others_for_it_only_for_a_while(given: Given, stage: Stage) -> None:
    before, suspect, *others = await _claims_last_chance(given, stage, 2)

    stage.clock.now_s = QUIET_S
    stage.lane.ring()
    await stage.executor.has_started(2)
    await turns(20)
    assert ids_of(stage.executor.started) == {before, suspect}

    stage.clock.now_s = QUIET_S + ALONE_S
    stage.lane.ring()
    await stage.executor.has_started(4)
    assert ids_of(stage.executor.started) == {before, suspect, *others}


async def test_a_suspect_that_waited_for_a_slot_is_alone_no_less(given: Given, stage: Stage) -> None:
    before = await given.one()
    lane = stage.open(Queue(1, prefetch=2))
    await stage.executor.has_started(1)
    suspect, other = await given.added(2)
    given.database.poke(suspect, crashes=MAX_CRASHES - 1)
    lane.ring()
    await eventually_async(lambda: lane.holds() == {suspect, other})

    stage.clock.now_s = 2 * ALONE_S
    assert not stage.suspects.is_alone, "other lanes need not wait for this one's slots"
    assert ids_of(stage.executor.started) == {before}
    await stage.ends()
    await stage.executor.has_started(1)

    assert ids_of(stage.executor.started) == {suspect}
    assert stage.suspects.is_alone
    stage.clock.now_s = 3 * ALONE_S
    assert not stage.suspects.is_alone


async def test_who_runs_alone_in_another_lane_keeps_this_one_waiting(given: Given, stage: Stage) -> None:
    good = await given.one()
    assert stage.suspects.take(Claim("elsewhere", "p", 1, "s", "{}", 1, 0, MAX_CRASHES - 1, 0, None))

    lane = stage.open(Queue(10, prefetch=0))
    await turns(20)
    assert stage.limits == []

    assert stage.suspects.end({"elsewhere"})
    assert stage.suspects.clear(())
    lane.ring()
    await stage.executor.has_started(1)
    assert ids_of(stage.executor.started) == {good}


async def test_while_another_lane_may_get_a_suspect_this_one_asks_for_none(given: Given, stage: Stage) -> None:
    suspect, good = await given.added(2)
    given.database.poke(suspect, crashes=SUSPECT_CRASHES)
    stage.suspects.is_asked_for = True

    lane = stage.open(Queue(10, prefetch=0))
    await stage.executor.has_started(1)

    assert ids_of(stage.executor.started) == {good}
    assert await given.status(suspect) == "ready"
    stage.suspects.is_asked_for = False
    lane.ring()
    await stage.executor.has_started(2)
    assert stage.suspects.id == suspect


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ZeroDivisionError("a bug")], ids=["away", "bug"])
async def test_a_claim_that_failed_is_made_again_and_looked_for(
    given: Given, stage: Stage, heard: Heard, error: Exception
) -> None:
    await given.added(2)
    real = stage.real_take
    errors = [error]

    async def spoilt(*args: Any) -> Any:
        if errors:
            raise errors.pop()
        return await real(*args)

    stage.real_take = spoilt
    stage.open(Queue(2, prefetch=0))

    await stage.executor.has_started(2)
    assert stage.doubts == 1
    assert stage.suspects.is_asked_for is False
    assert [name for name, _ in heard.all if name.startswith("store.")] == ["store.away", "store.back"]


async def test_a_claim_is_bound_by_what_it_may_weigh(
    given: Given, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLAIM_BYTES_MAX", 3 * PAYLOAD_BYTES_MAX)
    await given.added(10)

    stage.open(Queue(10, prefetch=10))
    await stage.executor.has_started(10)

    assert max(stage.limits) == 3


async def test_claims_that_limits_hold_back_are_told(stage: Stage, heard: Heard) -> None:
    async def denied(*_: Any) -> Taken:
        return Taken([], seen=5, denied=[Denied("k:gpu[eu]", 3), Denied("r:api", 2)])

    stage.real_take = denied
    stage.open(Queue(2))
    await eventually_async(lambda: bool(heard.of("rate.denied")))

    told = {"engine": "test", "queue": "default"}
    assert heard.of("concurrency.denied")[0] == told | {"limit": "gpu[eu]", "count": 3}
    assert heard.of("rate.denied")[0] == told | {"limit": "api", "count": 2}
