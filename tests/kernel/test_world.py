"""The one door to clocks and dice."""

import os
import re
import time
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

from outlast import _world
from outlast._world import SystemWorld, instant, instant_us, uuid7_text


def test_a_hundred_thousand_ids_are_unique_and_sorted() -> None:
    world = SystemWorld()

    made = [world.new_id() for _ in range(100_000)]

    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_an_id_is_a_uuid_of_version_7() -> None:
    made = uuid.UUID(text := SystemWorld().new_id())

    assert str(made) == text
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert abs((made.int >> 80) / 1000 - datetime.now(UTC).timestamp()) < 60


@pytest.mark.parametrize("unix_ms", [0, 1, 2**48 - 1])
@pytest.mark.parametrize("serial", [0, 0xFFF])
@pytest.mark.parametrize("noise", [0, 2**62 - 1])
def test_the_bits_of_an_id_stand_where_they_belong(unix_ms: int, serial: int, noise: int) -> None:
    made = uuid.UUID(uuid7_text(unix_ms, serial, noise))

    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == unix_ms
    assert (made.int >> 64) & 0xFFF == serial
    assert made.int & (2**62 - 1) == noise


def test_ids_stay_sorted_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world, times_ms = SystemWorld(), iter([1_000_000, 999_999, 5, 1_000_001])
    monkeypatch.setattr(time, "time_ns", lambda: next(times_ms) * 1_000_000)

    made = [world.new_id() for _ in range(4)]

    assert made == sorted(made)


def test_ids_stay_sorted_beyond_4096_within_one_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    world = SystemWorld()
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)

    made = [world.new_id() for _ in range(10_000)]

    assert made == sorted(made)
    assert len(set(made)) == 10_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Of forking a process with threads: this child only writes.
def test_a_forked_child_makes_other_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    world = SystemWorld()
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    reading, writing = os.pipe()

    if (child := os.fork()) == 0:
        os.write(writing, world.new_id().encode())
        os._exit(0)
    theirs = os.read(reading, 36).decode()
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)

    assert theirs != world.new_id()
    assert re.fullmatch(r"[0-9a-f-]{36}", theirs)


def test_node_ids_are_never_reused() -> None:
    world = SystemWorld()

    assert len({world.new_node_id() for _ in range(100)}) == 100


def test_the_real_world_pins_nothing_and_its_clocks_run() -> None:
    world = SystemWorld()

    assert world.pinned_us() is None
    assert abs(world.wall_us() / 1_000_000 - datetime.now(UTC).timestamp()) < 60
    assert world.monotonic() <= world.monotonic()


@pytest.mark.parametrize("us", [0, 1, 1_900_000_000_123_456, 253_402_300_799_999_999])
def test_instants_keep_every_microsecond(us: int) -> None:
    assert instant_us(instant(us)) == us
    assert instant(us).tzinfo is UTC


def test_an_instant_of_another_zone_is_the_same_moment() -> None:
    moment = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    assert instant(instant_us(moment)) == moment


def test_people_can_read_where_a_node_runs() -> None:
    assert 0 < len(_world.host_name()) <= 200
    assert _world.process_id() == os.getpid()
