"""The reaper: who is dead, and what comes back. One round at a time, on a clock of our own."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from outlast._runtime import upkeep
from outlast._runtime.events import Events
from outlast._runtime.upkeep import Reaper
from tests.runtime.stage import Clock, Heard, Rings
from tests.store.given import Given, settlement

LEASE_S = 10.0

MakeReaper = Callable[..., Reaper]


@pytest.fixture
def make_reaper(given: Given, clock: Clock, rings: Rings, events: Events) -> MakeReaper:
    """A reaper of the node "own", whose own renewals never failed."""

    def make(**options: Any) -> Reaper:
        plain: dict[str, Any] = {
            "interval_s": 1.0,
            "max_crashes": 5,
            "own_node": lambda: "own",
            "steady_since": lambda: float("-inf"),
        }
        return Reaper(given.store.leases, rings, events=events, world=clock, **plain | options)

    return make


async def _watch(reaper: Reaper, clock: Clock, seconds: float) -> None:
    """Rounds, a second apart."""
    for _ in range(round(seconds)):
        clock.now += 1.0
        await reaper.beat()


async def _nodes(given: Given) -> list[str]:
    return sorted(beat.node for beat in await given.store.leases.beats())


async def test_a_silent_node_is_buried_after_a_whole_lease_of_its_own_watching(
    given: Given, clock: Clock, make_reaper: MakeReaper, rings: Rings, heard: Heard
) -> None:
    await given.node("gone", lease_s=LEASE_S)
    (claim,) = await given.claimed(node="gone")
    clock.now += 1_000  # however long it was silent before: nobody watched.
    reaper = make_reaper()

    await reaper.beat()
    await _watch(reaper, clock, LEASE_S)
    assert await _nodes(given) == ["gone"]
    assert await given.status(claim.id) == "running"

    await _watch(reaper, clock, 1)
    assert await _nodes(given) == []
    row = await given.read(claim.id)
    assert (row.status, row.crashes, row.attempt, row.node) == ("ready", 1, 0, None)
    assert rings.woken == ["queue", "timer"]
    assert rings.bell.rung == ["q:default", "t"]
    assert [said["node"] for said in heard.of("node.died")] == ["gone"]
    assert (await given.store.claims.commit([settlement(claim)])).stale == [claim.id]


async def test_a_node_that_renews_lives_for_ever(given: Given, clock: Clock, make_reaper: MakeReaper) -> None:
    await given.node("lively", lease_s=LEASE_S)
    renewer = given.store.leases.renewer()
    reaper = make_reaper()
    for _ in range(4):
        await _watch(reaper, clock, LEASE_S - 1)
        assert await asyncio.to_thread(renewer.renew, "lively")

    assert await _nodes(given) == ["lively"]
    await asyncio.to_thread(renewer.close)


async def test_its_own_node_is_never_buried_by_itself(given: Given, clock: Clock, make_reaper: MakeReaper) -> None:
    await given.node("own", lease_s=LEASE_S)
    await given.node("other", lease_s=LEASE_S)

    await _watch(make_reaper(), clock, 3 * LEASE_S)

    assert await _nodes(given) == ["own"]


async def test_after_a_gap_it_begins_to_watch_anew(given: Given, clock: Clock, make_reaper: MakeReaper) -> None:
    await given.node("quiet", lease_s=LEASE_S)
    reaper = make_reaper()
    await _watch(reaper, clock, LEASE_S - 1)

    clock.now += 3 * LEASE_S  # the database was away, or this process was frozen: so might the other be.
    await reaper.beat()
    await _watch(reaper, clock, LEASE_S)
    assert await _nodes(given) == ["quiet"]

    await _watch(reaper, clock, 1)
    assert await _nodes(given) == []


async def test_an_answer_that_took_half_a_lease_proves_nothing(
    given: Given, clock: Clock, make_reaper: MakeReaper
) -> None:
    await given.node("quiet", lease_s=LEASE_S)
    reaper = make_reaper()
    await _watch(reaper, clock, LEASE_S)
    real = given.store.leases.beats

    async def slow() -> Any:
        found = await real()
        clock.now += LEASE_S / 2 + 0.5
        return found

    given.store.leases.beats = slow  # type: ignore[method-assign]
    await reaper.beat()
    given.store.leases.beats = real  # type: ignore[method-assign]

    assert await _nodes(given) == ["quiet"]


async def test_an_instance_of_an_unknown_node_comes_back_at_the_first_round(
    given: Given, make_reaper: MakeReaper, rings: Rings
) -> None:
    (claim,) = await given.claimed(node="unheard")

    await make_reaper().beat()

    row = await given.read(claim.id)
    assert (row.status, row.crashes) == ("ready", 1)
    assert rings.woken == ["queue", "timer"]


async def test_a_step_past_its_deadline_comes_back_once_the_reaper_has_watched_a_lease(
    given: Given, clock: Clock, make_reaper: MakeReaper
) -> None:
    clock.pin()
    await given.node("own", lease_s=LEASE_S)
    await given.added(timeout_s=5.0)
    (claim,) = await given.taken(node="own", grace_s=LEASE_S)
    clock.advance(5.0 + LEASE_S + 1.0)
    reaper = make_reaper()

    await reaper.beat()
    await _watch(reaper, clock, LEASE_S - 1)
    assert await given.status(claim.id) == "running"

    await _watch(reaper, clock, 2)
    row = await given.read(claim.id)
    assert (row.status, row.crashes) == ("ready", 1)


async def test_a_step_before_its_deadline_is_left_alone(given: Given, clock: Clock, make_reaper: MakeReaper) -> None:
    clock.pin()
    await given.node("own", lease_s=LEASE_S)
    await given.added(timeout_s=5.0)
    (claim,) = await given.taken(node="own", grace_s=LEASE_S)
    clock.advance(5.0 + LEASE_S - 1.0)

    await _watch(make_reaper(), clock, 3 * LEASE_S)

    assert await given.status(claim.id) == "running"


async def test_it_goes_on_until_nothing_is_lost(
    given: Given, make_reaper: MakeReaper, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    monkeypatch.setattr(upkeep, "RECLAIM_MAX", 2)
    claims = await given.claimed(5, node="unheard")

    await make_reaper().beat()

    assert [await given.status(claim.id) for claim in claims] == ["ready"] * 5
    assert [said["returned"] for said in heard.of("claims.reclaimed")] == [2, 2, 1]


async def test_what_died_too_often_is_quarantined(given: Given, make_reaper: MakeReaper, heard: Heard) -> None:
    (claim,) = await given.claimed(node="unheard")

    await make_reaper(max_crashes=1).beat()

    row = await given.read(claim.id)
    assert (row.status, row.crashes) == ("quarantined", 1)
    assert heard.of("claims.reclaimed")[0]["quarantined"] == 1


@pytest.mark.parametrize(
    ("lease_s", "interval_s", "wait_s"), [(8.0, 5.0, 2.0), (60.0, 5.0, 5.0), (None, 5.0, 5.0)], ids=str
)
async def test_it_looks_four_times_in_the_shortest_lease(
    given: Given, make_reaper: MakeReaper, lease_s: float | None, interval_s: float, wait_s: float
) -> None:
    if lease_s is not None:
        await given.node("one", lease_s=lease_s)
        await given.node("two", lease_s=100.0)

    assert await make_reaper(interval_s=interval_s).beat() == wait_s


async def test_two_reapers_bury_and_reclaim_once(given: Given, clock: Clock, make_reaper: MakeReaper) -> None:
    await given.node("gone", lease_s=LEASE_S)
    (claim,) = await given.claimed(node="gone")
    one, two = make_reaper(), make_reaper()

    for _ in range(round(LEASE_S) + 3):
        clock.now += 1.0
        await one.beat()
        await two.beat()

    assert await _nodes(given) == []
    assert (await given.read(claim.id)).crashes == 1
