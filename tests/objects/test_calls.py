"""Calls: one at a time, answered after the commit, wherever the object lives."""

import asyncio
from typing import Any

import pytest

from outlast import Engine, Object, errors, handler
from tests.engine.given import Engines


class Counter(Object, name="calls.Counter"):
    count: int = 0
    seen: list[int] = []

    @handler
    async def add(self, amount: int = 1) -> int:
        before = self.count
        await asyncio.sleep(0)
        self.count = before + amount
        self.seen.append(amount)
        return self.count

    @handler(read_only=True)
    async def get(self) -> int:
        return self.count

    @handler
    async def history(self) -> list[int]:
        return self.seen

    @handler
    def add_on_a_thread(self, amount: int) -> int:
        self.count += amount
        return self.count

    @handler
    async def fail(self) -> None:
        self.count = 1_000
        self.seen.append(1_000)
        raise LookupError("nothing there")

    @handler(read_only=True)
    async def cheat(self) -> None:
        self.count = 1_000

    @handler
    async def keep(self, value: Any) -> None:
        self.count = value

    @handler
    async def pass_on(self, id: str) -> int:
        return await self.object(Counter, id).add(1)


async def test_a_first_call_makes_the_object_and_later_ones_go_on_from_there(engine: Engine) -> None:
    counter = engine.object(Counter, "a")

    assert await counter.add(5) == 5
    assert await counter.add() == 6
    assert await counter.get() == 6
    assert await engine.get_state(counter) == {"count": 6, "seen": [5, 1]}
    assert await engine.object(Counter, "b").get() == 0


async def test_calls_of_one_object_run_one_at_a_time(engine: Engine) -> None:
    counter = engine.object(Counter, "a")

    answers = await asyncio.gather(*(counter.add(1) for _ in range(50)))

    assert sorted(answers) == list(range(1, 51))


async def test_an_exception_reaches_the_caller_and_leaves_the_state_as_it_was(engine: Engine) -> None:
    counter = engine.object(Counter, "a")
    await counter.add(1)

    with pytest.raises(LookupError, match="nothing there"):
        await counter.fail()

    assert (await counter.get(), await counter.history()) == (1, [1])
    assert await engine.get_state(counter) == {"count": 1, "seen": [1]}


async def test_a_plain_def_runs_on_a_thread(engine: Engine) -> None:
    assert await engine.object(Counter, "a").add_on_a_thread(3) == 3


async def test_a_read_only_handler_that_changes_the_state_fails(engine: Engine) -> None:
    counter = engine.object(Counter, "a")

    with pytest.raises(errors.CallError, match="read_only"):
        await counter.cheat()

    assert await counter.get() == 0


async def test_an_answer_shares_nothing_with_the_state(engine: Engine) -> None:
    counter = engine.object(Counter, "a")
    await counter.add(1)

    (await counter.history()).append(99)

    assert await counter.history() == [1]


async def test_a_value_of_another_type_than_its_field_is_refused(engine: Engine) -> None:
    counter = engine.object(Counter, "a")

    with pytest.raises(errors.EncodingError, match=r"count"):
        await counter.keep("seven")

    assert await counter.get() == 0


async def test_a_circle_of_calls_is_an_error(engine: Engine) -> None:
    counter = engine.object(Counter, "a")

    assert await counter.pass_on("b") == 1
    with pytest.raises(errors.CallCycle) as caught:
        await counter.pass_on("a")

    assert caught.value.happened is False


async def test_a_call_from_another_process_reaches_the_owner(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    await one.object(Counter, "a").add(1)

    assert await two.object(Counter, "a").add(1) == 2
    assert await one.object(Counter, "a").add(1) == 3
    with pytest.raises(LookupError, match="nothing there") as caught:
        await two.object(Counter, "a").fail()
    assert isinstance(caught.value, errors.HandlerFailed)
    assert await one.whereis(one.object(Counter, "a")) == await two.whereis(two.object(Counter, "a"))


async def test_a_process_that_only_submits_can_call(engines: Engines) -> None:
    submitter, _ = await engines.open(queues={}), await engines.open(programs=[Counter])

    assert await submitter.object(Counter, "a").add(4) == 4


async def test_a_call_with_a_key_happens_once(engine: Engine) -> None:
    counter = engine.object(Counter, "a")
    add = counter.add.with_options(idempotency_key="payment 7")

    assert [await add(5), await add(5)] == [5, 5]
    assert await counter.get() == 5


async def test_a_closed_engine_hands_its_objects_over(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    await one.object(Counter, "a").add(1)
    await one.close()

    assert await two.object(Counter, "a").add(1) == 2
