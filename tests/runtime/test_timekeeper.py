"""The timekeeper: what is due becomes ready, and somebody is told."""

import pytest

from outlast._runtime import upkeep
from outlast._runtime.events import Events
from outlast._runtime.upkeep import Timekeeper
from tests.runtime.stage import Clock, Heard, Rings
from tests.store.given import Given

POLL_S = 30.0


@pytest.fixture
def timekeeper(given: Given, clock: Clock, rings: Rings, events: Events) -> Timekeeper:
    clock.pin()
    return Timekeeper(given.store.timers, rings, poll_s=POLL_S, events=events)


async def test_with_nothing_scheduled_it_sleeps_as_long_as_it_may(timekeeper: Timekeeper, rings: Rings) -> None:
    assert await timekeeper.beat() == POLL_S
    assert rings.woken == []


async def test_it_sleeps_until_the_next_is_due(given: Given, timekeeper: Timekeeper, rings: Rings) -> None:
    await given.added(delay_s=20.0)
    await given.added(delay_s=7.5)

    assert await timekeeper.beat() == pytest.approx(7.5)
    assert rings.woken == []


async def test_what_is_far_ahead_does_not_lengthen_its_sleep(given: Given, timekeeper: Timekeeper) -> None:
    await given.added(delay_s=10_000.0)

    assert await timekeeper.beat() == POLL_S


async def test_what_is_due_is_ready_and_its_queue_is_told(
    given: Given, clock: Clock, timekeeper: Timekeeper, rings: Rings, heard: Heard
) -> None:
    due = await given.added(3, delay_s=5.0)
    later = await given.one(delay_s=6.0)
    clock.advance(5.0)

    wait_s = await timekeeper.beat()

    assert [await given.status(id) for id in due] == ["ready"] * 3
    assert await given.status(later) == "scheduled"
    assert wait_s == pytest.approx(1.0)
    assert rings.woken == ["queue"]
    assert rings.bell.rung == ["q:default"]
    assert [said["count"] for said in heard.of("timers.promoted")] == [3]


async def test_a_full_batch_is_followed_by_the_next_at_once(
    given: Given, clock: Clock, timekeeper: Timekeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PROMOTE_MAX", 2)
    due = await given.added(5, delay_s=5.0)
    clock.advance(5.0)

    assert [await timekeeper.beat() for _ in range(3)] == [0.0, 0.0, POLL_S]
    assert [await given.status(id) for id in due] == ["ready"] * 5
