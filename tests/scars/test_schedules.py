"""Peers' bugs with schedules and leaders: ticks twice, ticks never, and two who lead or nobody."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from outlast._runtime.events import Events
from outlast._runtime.schedules import Scheduler
from outlast._runtime.upkeep import Reaper, Timekeeper
from outlast._store.contract import Store
from outlast._world import instant
from outlast.cli.diagnosis import of_schedules
from outlast.config import make_config
from outlast.engine.reading import read_schedule
from outlast.errors import ConfigError
from tests.objects.given import Gate
from tests.runtime.stage import Clock, Heard, Rings
from tests.store.contract.test_schedules import a_schedule
from tests.store.given import NOON_US, Given

NOON = instant(NOON_US)
MINUTE = timedelta(minutes=1)
LEASE_S = 10.0

Make = Callable[[Store], Scheduler]


@pytest.fixture
def make(clock: Clock, rings: Rings, events: Events) -> Make:
    """Makes schedulers of processes that share a clock, which stands at noon."""
    clock.pin()
    return lambda store: Scheduler(store.schedules, rings, poll_s=30.0, events=events, world=clock)


async def every_minute(given: Given, **columns: Any) -> None:
    """A schedule that fires every minute, for the first time in 20 seconds."""
    plain: dict[str, Any] = {"cron": "* * * * *", "zone": "UTC", "overlap": "allow", "jitter_s": 0.0, "catch_up": "all"}
    times: dict[str, Any] = {"decided": NOON, "next_tick": NOON + timedelta(seconds=20)}
    assert await given.store.schedules.add(a_schedule("s", **plain | times | columns))


def fired(heard: Heard) -> list[str]:
    """The ticks that had runs, in seconds after noon."""
    return [f"{said['tick'][11:19]}" for said in heard.of("schedule.fired")]


async def test_cron_backward_step(given: Given, clock: Clock, make: Make, heard: Heard) -> None:
    """oban-py 0.6.2: the clock was set back by a minute, and the jobs of that minute were inserted a second time.

    Here a tick that was decided is behind the schedule for good, whatever the clock says, and its run has its key.
    """
    await every_minute(given)
    scheduler = make(given.store)
    clock.advance(20)
    await scheduler.beat()
    for seconds in (-60, 30, 31):
        clock.advance(seconds)
        await scheduler.beat()
    assert len(fired(heard)) == 1

    clock.advance(59)
    await scheduler.beat()
    assert len(fired(heard)) == len(set(fired(heard))) == 2


async def test_cron_loop_overshoots_minute(given: Given, clock: Clock, make: Make, heard: Heard) -> None:
    """oban-py's scheduler slept until the next minute and asked what is due in it: a sleep that was too long left
    the minute out.

    Here the schedule says up to which tick all is decided: each tick since then is there, however late somebody
    looks.
    """
    await every_minute(given)
    scheduler = make(given.store)
    for seconds in (21, 90, 185):
        clock.advance(seconds)
        await scheduler.beat()

    ticks = [NOON + timedelta(seconds=20) + number * MINUTE for number in range(5)]
    assert fired(heard) == [f"{tick:%H:%M:%S}" for tick in ticks]


async def test_schedule_without_timer_row(given: Given, clock: Clock, make: Make, heard: Heard) -> None:
    """Temporal #11869: a schedule's logical timer had lost the physical row that fires it. Nothing failed; it just
    never ran again.

    Here the row of the schedule is its timer: each firing writes the next one. What has none is told by `doctor`.
    """
    await every_minute(given)
    scheduler = make(given.store)
    for _ in range(5):
        clock.advance(60)
        await scheduler.beat()
        row = await given.store.schedules.get("s")
        assert row is not None
        assert row.next_tick is not None
        assert row.next_tick > instant(clock.now_us or 0)
    assert len(fired(heard)) == 5

    column = "next_us" if given.store.dialect == "sqlite" else "next_at"
    given.database.query(f"UPDATE {{schedules}} SET {column} = NULL")
    row = await given.store.schedules.get("s")
    assert row is not None
    ((level, _, sentence),) = of_schedules([read_schedule(row)], await given.store.upkeep.standing(), [])
    assert level == "warning"
    assert "'s' is enabled and will never fire again" in sentence


async def test_leader_reelects_itself_after_resign(
    given: Given, other: Store, clock: Clock, rings: Rings, events: Events, make: Make, heard: Heard
) -> None:
    """River #286: a leader that had resigned elected itself again at once, and went on to lead while it was shut
    down.

    Here nobody leads: all who maintain do the same, at any time, and what one has done the other finds done. So
    nothing stops when one leaves.
    """
    await every_minute(given)
    await given.store.instances.add([given.new(delay_s=20.0)])
    staying, leaving = make(other), make(given.store)
    clock.advance(20)

    fire = Gate(given.store.schedules, "fire")
    fire.hold(before=True)
    late = asyncio.ensure_future(leaving.beat())
    await fire.reached()
    await staying.beat()
    fire.open()
    await late
    assert len(fired(heard)) == 1

    clock.advance(60)  # the other one left, and told nobody.
    await staying.beat()
    await Timekeeper(other.timers, rings, poll_s=60.0, events=events).beat()
    assert len(fired(heard)) == 2
    assert await given.store.instances.totals() == {"ready": 3}


async def test_leader_ttl_equals_interval(given: Given, clock: Clock, make_reaper: Callable[..., Reaper]) -> None:
    """River #217: a leader renewed its term just as often as the term was long; whoever looked a moment too early
    became a second leader.

    Here a renewal every third of the lease is the least that is allowed, and even one each whole lease is life.
    """
    with pytest.raises(ConfigError, match="at most a third of lease"):
        make_config(None, {"lease": LEASE_S, "renew_interval": LEASE_S})
    await given.node("slow", lease_s=LEASE_S)
    claim = await given.claim(node="slow")
    renewer = given.store.leases.renewer()
    reaper = make_reaper()
    await reaper.beat()
    for _ in range(4):
        for _ in range(round(LEASE_S)):
            clock.now += 1.0
            await reaper.beat()
        assert await asyncio.to_thread(renewer.renew, "slow")
        await reaper.beat()
    await asyncio.to_thread(renewer.close)

    assert await given.status(claim.id) == "running"
