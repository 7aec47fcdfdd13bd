"""Lists, pages and short ids."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from outlast import Cancel, Engine, Instance, job
from outlast.errors import ConfigError, NotFound
from tests.engine.given import SOON_S, Engines


@job(name="test_listing.one", max_attempts=1)
async def one(number: int) -> Any:
    if number % 3 == 0:
        raise ValueError
    return Cancel() if number % 3 == 1 else number


@job(name="test_listing.two")
async def two(number: int) -> int:
    return number


@pytest.fixture
async def full(engines: Engines) -> Engine:
    """An engine whose database holds 120 instances, oldest first: 60 of each program, half of them in a side queue."""
    engine = await engines.open(queues={})
    for first in range(0, 120, 30):
        program, queue = (one, two)[first // 30 % 2], ("default", "side")[first // 60]
        await engine.start_many((program.new(number=first + turn) for turn in range(30)), queue=queue)
    return engine


def _numbers(found: Any) -> list[int]:
    return [item.state["number"] for item in found]


async def test_the_newest_come_first(full: Engine) -> None:
    assert _numbers(await full.list()) == list(range(119, 69, -1))
    assert _numbers(await full.list(limit=3)) == [119, 118, 117]
    assert len(await full.list(limit=1_000)) == 120


async def test_pages_follow_each_other_without_gap_or_repetition(full: Engine) -> None:
    seen: list[Instance] = []
    before: str | None = None
    while page := await full.list(limit=37, before=before):
        seen += page
        before = page[-1].id

    assert _numbers(seen) == list(range(119, -1, -1))


@pytest.mark.parametrize("page", [1, 40, 120, 121])
async def test_list_all_reads_page_by_page(full: Engine, page: int) -> None:
    found = [item async for item in full.list_all(page=page, program="test_listing.two", queue="side")]

    assert _numbers(found) == list(range(119, 89, -1))


async def test_filters_are_anded(full: Engine) -> None:
    assert _numbers(await full.list(program="test_listing.one", queue="side", limit=99)) == list(range(89, 59, -1))
    assert _numbers(await full.list(queue="default", limit=2)) == [59, 58]
    assert await full.list(program="unheard") == []
    assert await full.list(queue="unheard") == []
    assert await full.list(status="done") == []
    assert len(await full.list(status=["done", "ready"], limit=200)) == 120


async def test_statuses_are_told_apart(engine: Engine) -> None:
    handles = await engine.start_many(one.new(number=number) for number in range(9))
    await asyncio.gather(*(handle.result(SOON_S) for handle in handles), return_exceptions=True)

    assert sorted(_numbers(await engine.list(status="failed"))) == [0, 3, 6]
    assert sorted(_numbers(await engine.list(status="cancelled"))) == [1, 4, 7]
    assert sorted(_numbers(await engine.list(status=("done", "failed")))) == [0, 2, 3, 5, 6, 8]


async def test_times_and_keys_narrow_a_list(engines: Engines) -> None:
    engine = await engines.open(queues={})
    first = await engine.start(two.new(number=1), correlation_key="a")
    second = await engine.start(two.new(number=2), correlation_key="b")
    made = (await second.get()).created_at

    assert _numbers(await engine.list(correlation_key="a")) == [1]
    assert _numbers(await engine.list(created_after=made)) == [2]
    assert _numbers(await engine.list(created_before=made)) == [1]
    hour = timedelta(hours=1)
    assert await engine.list(created_after=datetime.now(UTC) + hour) == []
    assert len(await engine.list(created_after=made - hour, created_before=made + hour)) == 2
    assert (await first.get()).created_at < made


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"status": "finished"}, "no status is called 'finished'"),
        ({"status": ["done", "dnoe"]}, "did you mean 'done'"),
        ({"limit": 0}, "limit must be a whole number from 1 to 1,000"),
        ({"limit": 1_001}, "limit must be"),
        ({"limit": True}, "limit must be"),
        ({"limit": "10"}, "limit must be"),
        ({"before": "abc"}, "an instance id looks like"),
        ({"created_after": datetime(2030, 1, 1)}, "a time zone"),  # noqa: DTZ001
        ({"created_before": 7}, "created_before must be a datetime"),
    ],
    ids=str,
)
async def test_a_wrong_filter_is_refused(engine: Engine, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        await engine.list(**options)


async def test_a_short_id_is_expanded_when_it_is_clear(engines: Engines) -> None:
    engine = await engines.open(queues={})
    first, second = await engine.start_many(two.new(number=number) for number in range(2))

    assert await engine.expand_id(first.id) == first.id
    assert await engine.expand_id(f" {first.id.upper()[:-1]} ") == first.id
    with pytest.raises(ConfigError, match="several instances"):
        await engine.expand_id(first.id[:8])
    with pytest.raises(NotFound, match="begins with 'ffff'"):
        await engine.expand_id("ffff")
    for bad in ("", "01", "xyzxyz", "%%%%", "____"):
        with pytest.raises(ConfigError, match="at least 4 characters"):
            await engine.expand_id(bad)
    assert second != first
