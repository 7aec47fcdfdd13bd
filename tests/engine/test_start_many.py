"""Starting thousands."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from outlast import Engine, job
from outlast.errors import ArgumentError, ConfigError, EncodingError, StoreError
from tests.engine.given import SOON_S, Engines, Spoilt, Table, own_connection, soon


@job(name="test_start_many.echo")
async def echo(number: int) -> int:
    return number


@job(name="test_start_many.other")
def other(number: int) -> str:
    return str(number)


async def test_a_generator_of_twenty_thousand_gives_handles_in_order(engines: Engines, table: Table) -> None:
    engine = await engines.open(queues={})

    handles = await engine.start_many(echo.new(number=number) for number in range(20_000))

    assert len(handles) == 20_000
    assert await engine.totals() == {"ready": 20_000}
    for number in (0, 1, 999, 1_000, 1_001, 12_345, 19_999):
        assert (await handles[number].get()).state == {"number": number}
    ids = [handle.id for handle in handles]
    assert ids == sorted(ids)


async def test_a_generator_is_read_as_the_database_takes_its_rows(engines: Engines) -> None:
    engine = await engines.open(queues={})
    stored_at: list[int] = []
    add = Spoilt(engine._store.instances, "add")

    def many() -> Iterator[Any]:
        for number in range(10_000):
            if number % 1_000 == 0:
                stored_at.append(add.calls)
            yield echo.new(number=number)

    await engine.start_many(many())

    assert all(calls >= chunk - 2 for chunk, calls in enumerate(stored_at))


async def test_all_of_them_run(engine: Engine) -> None:
    handles = await engine.start_many(
        echo.new(number=number) if number % 2 else other.new(number=number) for number in range(60)
    )

    results = [await handle.result(SOON_S) for handle in handles]
    assert results == [number if number % 2 else str(number) for number in range(60)]


async def test_nothing_is_a_fine_number_to_start(engine: Engine) -> None:
    assert await engine.start_many([]) == []


async def test_options_hold_for_all(engines: Engines) -> None:
    engine = await engines.open(queues={})
    moment = datetime.now(UTC) + timedelta(hours=1)

    await engine.start_many([echo.new(number=1), echo.new(number=2)], schedule_at=moment, priority=-3, queue="side")
    await engine.start_many([echo.new(number=3)], schedule_in=3600)

    first, second = await engine.list(queue="side")
    assert {(item.due_at, item.priority, item.status) for item in (first, second)} == {(moment, -3, "scheduled")}
    assert await engine.totals() == {"scheduled": 3}


async def test_a_value_that_cannot_be_stored_keeps_the_chunks_before(engines: Engines) -> None:
    engine = await engines.open(queues={})

    @job
    async def take(value: Any) -> None: ...

    with pytest.raises(EncodingError) as caught:
        await engine.start_many(take.new(value=object() if number == 2_500 else number) for number in range(5_000))

    assert await engine.totals() == {"ready": 2_000}
    assert any("2,000" in note for note in caught.value.__notes__)


async def test_an_error_of_the_callers_own_generator_passes_through(engines: Engines) -> None:
    engine = await engines.open(queues={})

    def many() -> Iterator[Any]:
        for number in range(1_500):
            yield echo.new(number=number)
        raise ZeroDivisionError("in the generator")

    with pytest.raises(ZeroDivisionError, match="in the generator") as caught:
        await engine.start_many(many())

    assert await engine.totals() == {"ready": 1_000}
    assert any("1,000" in note for note in caught.value.__notes__)


async def test_something_else_in_the_middle_is_refused(engines: Engines) -> None:
    engine = await engines.open(queues={})

    with pytest.raises(ConfigError, match=r"what \.new"):
        await engine.start_many([echo.new(number=1), "echo"])  # type: ignore[list-item]

    assert await engine.totals() == {}


async def test_a_database_that_refuses_says_how_much_is_stored(engines: Engines) -> None:
    engine = await engines.open(queues={})
    add = Spoilt(engine._store.instances, "add")

    def many() -> Iterator[Any]:
        for number in range(4_000):
            if number == 2_000:
                add.refuse(9, lambda: StoreError("the row is too wide"))
            yield echo.new(number=number)

    with pytest.raises(StoreError, match="too wide") as caught:
        await engine.start_many(many())

    stored = (await engine.totals())["ready"]
    assert stored in (1_000, 2_000)
    assert any(f"{stored:,}" in note for note in caught.value.__notes__)


async def test_a_cancelled_call_leaves_nothing_running(engines: Engines) -> None:
    engine = await engines.open(queues={})
    begun = asyncio.Event()

    def many() -> Iterator[Any]:
        for number in range(100_000):
            if number == 3_000:
                begun.set()
            yield echo.new(number=number)

    task = asyncio.create_task(engine.start_many(many()))
    await soon(begun.wait())
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    stored = (await engine.totals())["ready"]
    assert stored % 1_000 == 0
    assert stored < 100_000


async def test_in_the_callers_transaction_it_is_all_or_nothing(engines: Engines) -> None:
    engine = await engines.open(queues={})

    with own_connection(engine.config.url) as connection:
        await engine.start_many((echo.new(number=number) for number in range(2_500)), connection=connection)
        connection.rollback()
        assert await engine.totals() == {}

        await engine.start_many((echo.new(number=number) for number in range(2_500)), connection=connection)
        connection.commit()

    assert await engine.totals() == {"ready": 2_500}


@pytest.mark.parametrize("option", [{"correlation_key": "k"}, {"correlation_scope": "always"}])
async def test_a_key_for_many_is_refused_and_nothing_is_stored(engine: Engine, option: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="a key belongs to one instance"):
        await engine.start_many([echo.new(number=1), echo.new(number=2)], **option)

    assert await engine.totals() == {}
