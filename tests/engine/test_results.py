"""What a job returns, and what becomes of it."""

import math
from dataclasses import dataclass
from typing import Any

import pytest

from outlast import Cancel, Engine, InstanceCancelled, InstanceFailed, job
from tests.engine.given import SOON_S, Engines, Table, Tally


@dataclass
class Receipt:
    order: int
    paid: bool


LOOP: list[Any] = []
LOOP.append(LOOP)


async def test_a_result_comes_back_as_it_was_returned(engine: Engine) -> None:
    @job
    async def describe(name: str) -> dict[str, Any]:
        return {"name": name, "tags": ["a", "b"], "price": 1.5, "more": None}

    handle = await engine.start(describe.new(name="ann"))

    assert await handle.result(SOON_S) == {"name": "ann", "tags": ["a", "b"], "price": 1.5, "more": None}
    instance = await handle.get()
    assert (instance.status, instance.attempt, instance.crashes, instance.error) == ("done", 0, 0, None)
    assert instance.result == {"name": "ann", "tags": ["a", "b"], "price": 1.5, "more": None}


async def test_a_def_gives_its_result_too(engine: Engine) -> None:
    @job
    def double(number: int) -> int:
        return 2 * number

    handle = await engine.start(double.new(number=21))

    assert await handle.result(SOON_S) == 42


async def test_a_def_that_returns_an_awaitable_is_awaited(engine: Engine) -> None:
    async def later() -> str:
        return "later"

    @job
    def begin() -> Any:
        return later()

    handle = await engine.start(begin.new())

    assert await handle.result(SOON_S) == "later"


async def test_a_dataclass_comes_back_as_one(engine: Engine) -> None:
    @job
    async def pay(order: int) -> Receipt:
        return Receipt(order, paid=True)

    handle = await engine.start(pay.new(order=7))

    assert await handle.result(SOON_S) == Receipt(7, True)
    assert await engine.handle(handle.id).result(SOON_S) == {"order": 7, "paid": True}


@pytest.mark.parametrize("value", [None, 0, "", [], {}, False, "null"])
async def test_an_empty_result_is_a_result(engine: Engine, value: Any) -> None:
    @job
    async def give(value: Any) -> Any:
        return value

    handle = await engine.start(give.new(value=value))

    result = await handle.result(SOON_S)
    assert result == value
    assert type(result) is type(value)


async def test_a_result_that_is_not_what_was_announced_comes_back_as_plain_data(engine: Engine) -> None:
    @job
    async def announce() -> int:
        return {"not": "an int"}  # type: ignore[return-value]

    handle = await engine.start(announce.new())

    assert await handle.result(SOON_S) == {"not": "an int"}


async def test_cancel_ends_the_job_without_another_attempt(engine: Engine) -> None:
    runs = Tally()

    @job
    async def send() -> str | Cancel:
        runs.add()
        return Cancel("mailbox closed")

    handle = await engine.start(send.new())

    with pytest.raises(InstanceCancelled, match="mailbox closed") as caught:
        await handle.result(SOON_S)
    assert (caught.value.id, caught.value.reason) == (handle.id, "mailbox closed")
    instance = await handle.get()
    assert (instance.status, instance.attempt, instance.result) == ("cancelled", 0, None)
    assert runs.count == 1


@pytest.mark.parametrize(
    ("value", "path"),
    [
        pytest.param({"rows": [1, object()]}, "$.rows[1]", id="an object"),
        pytest.param({"rates": {"eur": math.nan}}, "$.rates.eur", id="nan"),
        pytest.param([1.0, -math.inf], "$[1]", id="infinity"),
        pytest.param({"name": "\ud800"}, "$.name", id="half a character"),
        pytest.param(LOOP, "nested too deeply", id="a circle"),
    ],
)
async def test_a_result_that_cannot_be_stored_fails_at_once_and_says_where(
    engine: Engine, value: Any, path: str
) -> None:
    runs = Tally()

    @job
    async def give() -> Any:
        runs.add()
        return value

    handle = await engine.start(give.new())

    with pytest.raises(InstanceFailed) as caught:
        await handle.result(SOON_S)
    assert path in caught.value.reason
    assert "the result of job 'give'" in caught.value.reason
    assert caught.value.error is not None
    assert caught.value.error["type"] == "outlast.errors.EncodingError"
    assert runs.count == 1
    assert (await handle.get()).attempt == 1


async def test_a_result_above_the_limit_fails_at_once(engines: Engines) -> None:
    engine = await engines.open(payload_bytes_max=2_000)
    runs = Tally()

    @job
    async def fill(count: int) -> str:
        runs.add()
        return "é" * count

    fits = await engine.start(fill.new(count=999))  # two bytes each, and two quotes.
    assert await fits.result(SOON_S) == "é" * 999

    handle = await engine.start(fill.new(count=1_000))

    with pytest.raises(InstanceFailed, match="payload_bytes_max") as caught:
        await handle.result(SOON_S)
    assert "2,002 bytes" in caught.value.reason
    assert caught.value.error is not None
    assert caught.value.error["type"] == "outlast.errors.ValueTooLarge"
    assert runs.count == 2


async def test_each_outcome_is_written_once(engine: Engine, table: Table) -> None:
    @job
    async def noop() -> None: ...

    handles = await engine.start_many(noop.new() for _ in range(50))
    for handle in handles:
        await handle.result(SOON_S)

    assert table.query("SELECT DISTINCT commits, epoch, status FROM {instances}") == [(1, 1, "done")]
