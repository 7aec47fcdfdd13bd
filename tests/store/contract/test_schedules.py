"""Schedules as the store keeps them: each tick has one run, whoever fires it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from outlast._kernel.identity import scope_text
from outlast._kernel.schedules import tick_key
from outlast._model import NewInstance, ScheduleRow
from outlast._store.contract import Store
from tests.store.conftest import OpenStore
from tests.store.given import Database, Given, PinnedWorld

T0 = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_schedule(name: str = "nightly", **columns: Any) -> ScheduleRow:
    """A row to add."""
    plain: dict[str, Any] = {
        "program": "greet",
        "version": 1,
        "step": "run",
        "state": '{"name":"Ann"}',
        "timeout_s": 2.5,
        "queue": "default",
        "priority": -3,
        "cron": "0 * * * *",
        "zone": "Europe/Berlin",
        "dst": "auto",
        "catch_up": "last",
        "window_s": 86_400.0,
        "overlap": "queue",
        "queued_max": 100,
        "jitter_s": 1.5,
        "grace_s": 60.0,
        "enabled": True,
        "decided": T0,
        "next_tick": T0 + HOUR,
    }
    return ScheduleRow(name, **plain | columns)


async def stored(store: Store, name: str = "nightly") -> ScheduleRow:
    """One schedule that must be there."""
    row = await store.schedules.get(name)
    assert row is not None
    return row


def a_run(given: Given, tick: datetime, name: str = "nightly") -> NewInstance:
    """The run of a tick."""
    return given.new(correlation_key=tick_key(name, tick), correlation_scope=scope_text("always"))


def moved(row: ScheduleRow, *runs: str, to: datetime) -> ScheduleRow:
    """The row after its ticks up to `to` were decided."""
    made = msgspec.json.encode(runs).decode()
    return msgspec.structs.replace(row, decided=to, next_tick=to + HOUR, runs=made, last_instance=runs[-1])


async def test_what_is_added_is_read_again(store: Store, world: PinnedWorld) -> None:
    world.pin()
    row = a_schedule("Ünïcode:*'\"", runs='["a"]', queued="[1]", last_error='{"type":"x"}', last_error_at=T0)

    assert await store.schedules.add(row)

    read = await stored(store, row.name)
    assert read.created_at == read.updated_at
    assert read.created_at is not None
    assert msgspec.structs.replace(read, created_at=None, updated_at=None) == a_copy(row, revision=1)


def a_copy(row: ScheduleRow, **columns: Any) -> ScheduleRow:
    """The row with other columns."""
    return msgspec.structs.replace(row, **columns)


async def test_a_name_is_had_once(store: Store) -> None:
    assert await store.schedules.add(a_schedule())
    assert not await store.schedules.add(a_schedule(cron="1 * * * *"))

    assert (await stored(store)).cron == "0 * * * *"


async def test_what_is_not_there_is_told(store: Store) -> None:
    assert await store.schedules.get("nobody") is None
    assert not await store.schedules.change(a_schedule(revision=1))
    assert not await store.schedules.fire(a_schedule(revision=1), [])
    assert not await store.schedules.delete("nobody")
    assert await store.schedules.stands([]) == []
    assert await store.schedules.stands(["nothing like an id"]) == []


async def test_a_change_from_an_older_row_changes_nothing(store: Store, world: PinnedWorld) -> None:
    world.pin()
    await store.schedules.add(a_schedule())
    row = await stored(store)
    world.advance(5)
    assert await store.schedules.change(a_copy(row, zone="UTC", enabled=False, next_tick=None))

    assert not await store.schedules.change(a_copy(row, zone="Asia/Tokyo"))

    read = await stored(store)
    assert (read.zone, read.enabled, read.next_tick, read.revision) == ("UTC", False, None, 2)
    assert read.updated_at == (read.created_at or T0) + timedelta(seconds=5)


async def test_a_glance_tells_whether_there_is_anything_to_do(store: Store, world: PinnedWorld) -> None:
    now_us = world.pin()
    assert (await store.schedules.glance())[1:] == (None, False, False)
    await store.schedules.add(a_schedule("off", enabled=False))
    await store.schedules.add(a_schedule("never", next_tick=None))
    assert (await store.schedules.glance())[1:] == (None, False, False)

    await store.schedules.add(a_schedule("later", next_tick=T0 + 5 * HOUR))
    await store.schedules.add(a_schedule("sooner", runs='["a"]'))
    glance = await store.schedules.glance()
    assert glance[1:] == (T0 + HOUR, True, False)
    assert glance.now.timestamp() * 1_000_000 == now_us

    await store.schedules.add(a_schedule("waits", runs='["a"]', queued="[1]"))
    assert (await store.schedules.glance())[2:] == (True, True)


async def test_those_that_are_due_come_first(store: Store) -> None:
    for name, hours in (("b", 2), ("a", 1), ("c", 3)):
        await store.schedules.add(a_schedule(name, next_tick=T0 + hours * HOUR))
    await store.schedules.add(a_schedule("off", enabled=False, next_tick=None, runs='["a"]'))

    async def names(hours: float, limit: int = 10, *, watch: bool = False) -> list[str]:
        return [row.name for row in await store.schedules.due(T0 + hours * HOUR, limit, watch=watch)]

    assert await names(0.5) == []
    assert await names(2) == ["a", "b"]
    assert await names(3, 2) == ["a", "b"]
    assert await names(2, watch=True) == ["a", "b", "off"]


async def test_pages_and_filters(store: Store) -> None:
    await store.schedules.add(a_schedule("a", queue="mail"))
    await store.schedules.add(a_schedule("b", program="other"))
    await store.schedules.add(a_schedule("c", enabled=False))

    async def names(**wanted: Any) -> list[str]:
        plain: dict[str, Any] = {"enabled": None, "program": None, "queue": None, "after": "", "limit": 100}
        return [row.name for row in await store.schedules.list(**plain | wanted)]

    assert await names() == ["a", "b", "c"]
    assert await names(limit=2) == ["a", "b"]
    assert await names(after="b") == ["c"]
    assert await names(enabled=True) == ["a", "b"]
    assert await names(enabled=False) == ["c"]
    assert await names(program="other") == ["b"]
    assert await names(queue="mail") == ["a"]


async def test_how_runs_stand(given: Given, store: Store) -> None:
    await given.node()
    failed, waits = await given.ended("failed"), await given.one()

    found = {stand.id: stand for stand in await store.schedules.stands([failed, waits, given.world.new_id()])}

    assert found.keys() == {failed, waits}
    assert (found[failed].status, found[failed].error) == ("failed", '{"type":"ValueError"}')
    assert found[failed].finished_at == (await given.read(failed)).finished_at
    assert found[waits][1:] == ("ready", None, None)


async def test_firing_stores_the_runs_and_moves_the_schedule(given: Given, store: Store) -> None:
    await store.schedules.add(a_schedule())
    run = a_run(given, T0 + HOUR)

    assert await store.schedules.fire(moved(await stored(store), run.id, to=T0 + HOUR), [run])

    assert (await given.read(run.id)).correlation_key == "nightly@2030-01-01T01:00:00Z"
    row = await stored(store)
    assert (row.decided, row.next_tick, row.last_instance) == (T0 + HOUR, T0 + 2 * HOUR, run.id)
    assert row.runs == f'["{run.id}"]'


async def test_firing_from_an_older_row_does_nothing(given: Given, store: Store) -> None:
    await store.schedules.add(a_schedule())
    row = await stored(store)
    await store.schedules.change(a_copy(row, enabled=False))
    run = a_run(given, T0 + HOUR)

    assert not await store.schedules.fire(moved(row, run.id, to=T0 + HOUR), [run])

    assert await store.instances.get(run.id) is None
    assert (await stored(store)).decided == T0


async def test_a_tick_of_a_schedule_that_was_made_again_has_no_second_run(given: Given, store: Store) -> None:
    """Its run has ended; it holds its key as long as it is kept."""
    await given.node()
    for _ in range(2):
        await store.schedules.add(a_schedule())
        run = a_run(given, T0 + HOUR)
        assert await store.schedules.fire(moved(await stored(store), run.id, to=T0 + HOUR), [run])
        assert await store.schedules.delete("nightly")

    assert await store.instances.totals() == {"ready": 1}


@pytest.mark.parametrize("ticks", [1, 3])
async def test_stores_that_race_fire_each_tick_once(
    given: Given, store: Store, open_store: OpenStore, database: Database, ticks: int
) -> None:
    """Five processes look at the same rows at the same time, again and again."""
    stores = [store, *[await open_store() for _ in range(4)]]
    for name in ("a", "b"):
        await store.schedules.add(a_schedule(name))

    async def fire(one: Store, name: str) -> int:
        row = await stored(one, name)
        due = [row.decided + number * HOUR for number in range(1, ticks + 1)]
        runs = [a_run(given, tick, name) for tick in due]
        return int(await one.schedules.fire(moved(row, *[run.id for run in runs], to=due[-1]), runs))

    won = 0
    for _ in range(6):
        won += sum(await asyncio.gather(*(fire(one, name) for one in stores for name in ("a", "b"))))

    assert won >= 12  # those that did not race each other may both win, with one tick each.
    rows = database.query("SELECT correlation_key FROM {instances}")
    keys = sorted(key for (key,) in rows)
    assert len(keys) == len(set(keys)) == won * ticks
    for name in ("a", "b"):
        row = await stored(store, name)
        mine = [key for key in keys if key.startswith(f"{name}@")]
        assert mine == [tick_key(name, T0 + number * HOUR) for number in range(1, len(mine) + 1)]
        assert row.decided == T0 + len(mine) * HOUR
        assert row.revision == 1 + len(mine) // ticks


async def test_a_schedule_goes_and_its_runs_stay(given: Given, store: Store) -> None:
    await store.schedules.add(a_schedule())
    run = a_run(given, T0 + HOUR)
    await store.schedules.fire(moved(await stored(store), run.id, to=T0 + HOUR), [run])

    assert await store.schedules.delete("nightly")

    assert await store.schedules.get("nightly") is None
    assert await given.status(run.id) == "ready"
