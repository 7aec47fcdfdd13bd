"""The scheduler: what is due has its run, somebody is told, and it sleeps until there is more."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from outlast._model import ScheduleRow
from outlast._runtime.events import Events
from outlast._runtime.schedules import BROKEN_S, WATCH_S, WATCH_SOON_S, Scheduler
from outlast._world import instant
from tests.runtime.stage import Clock, Heard, Rings
from tests.store.contract.test_schedules import a_schedule
from tests.store.given import NOON_US, Given, settlement

POLL_S = 30.0
NOON = instant(NOON_US)


@pytest.fixture
def scheduler(given: Given, clock: Clock, rings: Rings, events: Events) -> Scheduler:
    clock.pin()
    return Scheduler(given.store.schedules, rings, poll_s=POLL_S, events=events, world=clock)


async def stored(given: Given, name: str = "s", **columns: Any) -> None:
    """A schedule that fires every minute, and has its next tick in 20 seconds."""
    plain: dict[str, Any] = {"cron": "* * * * *", "zone": "UTC", "overlap": "allow", "jitter_s": 0.0}
    times: dict[str, Any] = {"decided": NOON, "next_tick": NOON + timedelta(seconds=20)}
    assert await given.store.schedules.add(a_schedule(name, **plain | times | columns))


async def read(given: Given, name: str = "s") -> ScheduleRow:
    """The schedule as it stands."""
    row = await given.store.schedules.get(name)
    assert row is not None
    return row


async def test_with_no_schedules_it_sleeps_as_long_as_it_may(scheduler: Scheduler, rings: Rings) -> None:
    assert await scheduler.beat() == POLL_S
    assert rings.woken == []


async def test_it_sleeps_until_the_next_tick(given: Given, scheduler: Scheduler) -> None:
    await stored(given)
    await stored(given, "later", next_tick=NOON + timedelta(seconds=25))
    await stored(given, "off", enabled=False, next_tick=None)

    assert await scheduler.beat() == pytest.approx(20.0)


async def test_what_is_due_has_its_run_and_its_queue_is_told(
    given: Given, clock: Clock, scheduler: Scheduler, rings: Rings, heard: Heard
) -> None:
    await stored(given)
    clock.advance(20)

    wait_s = await scheduler.beat()

    (said,) = heard.of("schedule.fired")
    run = await given.read(said["id"])
    assert (run.status, run.program, run.state, run.priority) == ("ready", "greet", '{"name":"Ann"}', -3)
    assert run.correlation_key == f"s@{NOON + timedelta(seconds=20):%Y-%m-%dT%H:%M:%SZ}"
    assert rings.woken == ["queue", "timer"]
    assert rings.bell.rung == ["q:default", "t"]
    assert wait_s == WATCH_S  # and then looks whether the run has ended.
    assert (await read(given)).next_tick == NOON + timedelta(seconds=80)


async def test_another_was_first(given: Given, clock: Clock, scheduler: Scheduler, heard: Heard) -> None:
    """Between its look and its write another process has fired the tick."""
    await stored(given)
    clock.advance(20)
    fire = given.store.schedules.fire

    async def late(row: ScheduleRow, runs: Any) -> bool:
        assert await fire(row, runs)
        return await fire(row, runs)

    given.store.schedules.fire = late  # type: ignore[method-assign]

    await scheduler.beat()

    assert heard.of("schedule.fired") == []
    assert await given.store.instances.totals() == {"ready": 1}


async def test_runs_are_watched_now_and_then(given: Given, clock: Clock, scheduler: Scheduler) -> None:
    await given.node()
    claim = await given.claim()
    await stored(given, runs=f'["{claim.id}"]', next_tick=NOON + timedelta(hours=1))
    assert await scheduler.beat() == WATCH_S
    await given.store.claims.commit([settlement(claim, "failed")])

    await scheduler.beat()
    assert (await read(given)).consecutive_failures == 0
    clock.now += WATCH_S
    assert await scheduler.beat() == POLL_S

    row = await read(given)
    assert (row.runs, row.consecutive_failures, row.last_error) == ("[]", 1, '{"type":"ValueError"}')
    assert row.last_error_at == NOON


@pytest.mark.parametrize(
    ("status", "failures"),
    [("done", 0), ("failed", 5), ("compensated", 5), ("compensation_failed", 5), ("cancelled", 4)],
)
async def test_how_ends_are_counted(
    given: Given, scheduler: Scheduler, heard: Heard, status: str, failures: int
) -> None:
    await given.node()
    await stored(given, runs=f'["{await given.ended(status)}"]', consecutive_failures=4)

    await scheduler.beat()
    await scheduler.beat()

    row = await read(given)
    assert row.consecutive_failures == failures
    assert row.enabled == (failures < 5)
    assert len(heard.of("schedule.disabled")) == int(failures == 5)


async def test_a_run_that_was_deleted_has_ended(given: Given, clock: Clock, scheduler: Scheduler) -> None:
    await stored(given, runs=f'["{clock.new_id()}"]', overlap="skip", consecutive_failures=2)
    clock.advance(20)

    await scheduler.beat()

    row = await read(given)
    assert row.last_instance is not None
    assert row.runs == f'["{row.last_instance}"]'
    assert row.consecutive_failures == 2


async def test_a_quarantined_run_has_not_ended(given: Given, clock: Clock, scheduler: Scheduler, heard: Heard) -> None:
    await given.node()
    claim = await given.claim()
    await given.store.claims.commit([settlement(claim, "quarantined")])
    await stored(given, runs=f'["{claim.id}"]', overlap="skip")
    clock.advance(20)

    await scheduler.beat()

    assert [said["reason"] for said in heard.of("schedule.missed")] == ["overlap"]


async def test_while_a_tick_waits_it_looks_soon(given: Given, clock: Clock, scheduler: Scheduler) -> None:
    await given.node()
    claim = await given.claim()
    await stored(given, runs=f'["{claim.id}"]', overlap="queue", next_tick=NOON + timedelta(seconds=20))
    clock.advance(20)
    assert await scheduler.beat() == WATCH_SOON_S
    await given.store.claims.commit([settlement(claim)])

    assert await scheduler.beat() == WATCH_S

    row = await read(given)
    assert row.queued == "[]"
    assert row.runs == f'["{row.last_instance}"]'


async def test_what_cannot_be_read_is_told_once_and_does_not_spin(
    given: Given, clock: Clock, scheduler: Scheduler, heard: Heard
) -> None:
    await stored(given, "broken", zone="Mars/Base")
    await stored(given)
    clock.advance(20)

    assert await scheduler.beat() == 0.0  # it has written the other one.
    assert await scheduler.beat() == BROKEN_S
    assert len(heard.of("schedule.broken")) == 1
    await given.store.schedules.change(replace(await read(given, "broken"), zone="Mars/Moon"))
    await scheduler.beat()

    assert len(heard.of("schedule.broken")) == 2
    assert len(heard.of("schedule.fired")) == 1


async def test_more_ticks_than_one_look_decides(given: Given, clock: Clock, scheduler: Scheduler) -> None:
    await stored(given, catch_up="all", window_s=86_400.0)
    clock.advance(250 * 60)

    waits_s = [await scheduler.beat() for _ in range(3)]

    assert waits_s[:2] == [0.0, 0.0]
    assert waits_s[2] > 0
    assert await given.store.instances.totals() == {"ready": 250}
