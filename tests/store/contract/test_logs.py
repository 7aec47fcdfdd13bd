"""What steps have said: kept in its order, bounded, and gone with its instance."""

import logging
from typing import Any

import pytest

from outlast._model import Line, line_number
from tests.store.given import NOON_US, Given

UNKNOWN = "0190a2b3-0000-7000-8000-000000000000"
MANY = 1_000


def line(instance: str, count: int, *, epoch: int = 1, **columns: Any) -> Line:
    plain: dict[str, Any] = {
        "at_us": NOON_US + count,
        "level": logging.INFO,
        "message": f"line {count}",
        "source": "logging",
        "step": "run",
        "attempt": 0,
    }
    return Line(instance, line_number(epoch, count), **plain | columns)


async def read(given: Given, id: str, **asked: Any) -> list[Line]:
    plain: dict[str, Any] = {"after": 0, "limit": MANY, "level": 0, "step": None}
    return await given.store.logs.read(id, **plain | asked)


async def messages(given: Given, id: str, **asked: Any) -> list[str]:
    return [found.message for found in await read(given, id, **asked)]


async def test_a_line_comes_back_as_it_was_written(given: Given) -> None:
    id = await given.one()
    said = line(id, 7, level=logging.ERROR, source="print", step="pay#1", attempt=2, message="a\nb", fields='{"k":1}')

    await given.store.logs.write([said], MANY)

    assert await read(given, id) == [said]
    assert await read(given, UNKNOWN) == await read(given, "no id") == []


async def test_lines_come_in_their_order_whoever_wrote_them(given: Given) -> None:
    id, other = await given.added(2)

    await given.store.logs.write([line(id, 2, epoch=2, message="c"), line(id, 2, message="b")], MANY)
    await given.store.logs.write([line(other, 1), line(id, 1, message="a")], MANY)

    assert await messages(given, id) == ["a", "b", "c"]


async def test_writing_again_changes_nothing(given: Given) -> None:
    id = await given.one()
    batch = [line(id, 1), line(id, 2)]

    await given.store.logs.write(batch, MANY)
    await given.store.logs.write([*batch, line(id, 3)], MANY)

    assert await messages(given, id) == ["line 1", "line 2", "line 3"]


async def test_nothing_to_write_is_no_harm(given: Given) -> None:
    await given.store.logs.write([], MANY)


async def test_a_reader_goes_on_where_it_was(given: Given) -> None:
    id = await given.one()
    await given.store.logs.write([line(id, count) for count in range(1, 6)], MANY)

    first = await read(given, id, limit=2)

    assert [said.message for said in first] == ["line 1", "line 2"]
    assert await messages(given, id, after=first[-1].number, limit=2) == ["line 3", "line 4"]
    assert await messages(given, id, after=line_number(1, 5)) == []


async def test_a_level_lets_through_itself_and_above(given: Given) -> None:
    id = await given.one()
    levels = [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR]
    await given.store.logs.write([line(id, at + 1, level=level) for at, level in enumerate(levels)], MANY)

    assert await messages(given, id, level=logging.WARNING) == ["line 3", "line 4"]


@pytest.mark.parametrize(
    ("step", "found"),
    [
        ("pay#1", ["pay#1"]),
        ("pay", ["pay", "pay#1", "pay#2"]),
        ("one#1", ["one#1/pay#1"]),
        ("p_y", []),
        ("pa", []),
        ("pay#", []),
    ],
)
async def test_a_step_is_asked_for_by_key_by_name_or_by_branch(given: Given, step: str, found: list[str]) -> None:
    id = await given.one()
    steps = ["pay", "pay#1", "pay#2", "payment#1", "one#1/pay#1"]
    await given.store.logs.write([line(id, at + 1, step=key, message=key) for at, key in enumerate(steps)], MANY)

    assert await messages(given, id, step=step) == found


async def test_the_oldest_lines_beyond_the_bound_are_dropped(given: Given) -> None:
    id, other = await given.added(2)
    await given.store.logs.write([line(other, count) for count in range(1, 4)], 3)

    await given.store.logs.write([line(id, count) for count in range(1, 6)], 3)
    assert await messages(given, id) == ["line 3", "line 4", "line 5"]
    await given.store.logs.write([line(id, 1, epoch=2, message="newest"), line(other, 4)], 3)

    assert await messages(given, id) == ["line 4", "line 5", "newest"]
    assert await messages(given, other) == ["line 2", "line 3", "line 4"]


async def test_what_was_said_is_kept_when_the_attempt_failed_or_was_lost(given: Given) -> None:
    """Not fenced: the very lines that explain a loss come from the one who lost."""
    claim = await given.claim()
    await given.store.claims.release([(claim.id, claim.epoch)])
    (again,) = await given.taken(node="bob")
    await given.store.logs.write([line(claim.id, 1, epoch=again.epoch, message="again")], MANY)

    await given.store.logs.write([line(claim.id, 1, epoch=claim.epoch, message="lost")], MANY)

    assert await messages(given, claim.id) == ["lost", "again"]


async def test_lines_of_what_is_gone_are_left_out(given: Given) -> None:
    id = await given.one()

    await given.store.logs.write([line(UNKNOWN, 1), line(id, 1)], MANY)

    assert await read(given, UNKNOWN) == []
    assert await messages(given, id) == ["line 1"]


async def test_lines_go_with_their_instance(given: Given) -> None:
    pruned, deleted, kept = await given.ended(), await given.one(), await given.one()
    await given.store.logs.write([line(id, 1) for id in (deleted, pruned, kept)], MANY)

    assert await given.store.instances.delete(deleted) == "ready"
    assert await given.store.upkeep.prune(10, given.world.wall_us() + 10**9) == 1

    assert given.database.query("SELECT count(*) FROM {logs}") == [(1,)]
    assert await messages(given, kept) == ["line 1"]


async def test_a_large_batch_is_written_whole(given: Given) -> None:
    ids = await given.added(20)

    await given.store.logs.write([line(id, count, message="x" * 1_000) for id in ids for count in range(1, 51)], MANY)

    assert [len(await read(given, id)) for id in ids] == [50] * 20
