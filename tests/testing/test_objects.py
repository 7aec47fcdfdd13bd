"""The test kit for objects: a handler alone, alarms by hand, what is stored, and engines that are run by hand."""

from datetime import timedelta
from typing import Any

import pytest

from outlast import Engine, Object, alarm, errors, handler, hours, job, seconds, workflow
from outlast.testing import (
    Clock,
    TooManySteps,
    assert_alarm_scheduled,
    assert_done,
    assert_eventually,
    assert_persisted,
    by_hand,
    clock_of,
    crash_before_commit,
    drain,
    drain_alarms,
    fire_alarm,
    perform_alarm,
    perform_handler,
    refute_alarm_scheduled,
    scheduled_alarms,
)
from tests.engine.given import soon


class Timer(Object, name="kit.Timer"):
    count: int = 0
    rang: list[str] = []

    @handler
    async def add(self, amount: int = 1, *, later: float | None = None) -> int:
        self.count += amount
        if later is not None:
            self.schedule_alarm("tick", later)
        return self.count

    @handler
    async def stop(self) -> None:
        self.cancel_alarm("tick")
        self.cancel_all_alarms()

    @handler
    def tell(self, id: str) -> None:
        self.object(Timer, id).add.send(5)

    @handler
    async def ask(self, id: str) -> int:
        return await self.object(Timer, id).add(5)

    @handler(read_only=True)
    async def cheat(self) -> None:
        self.count += 1

    @handler
    async def fail(self) -> None:
        raise LookupError("nothing there")

    @alarm
    async def tick(self) -> None:
        self.rang.append("tick")

    @alarm
    async def again(self) -> None:
        self.rang.append("again")
        self.schedule_alarm("again", 60)

    @alarm(max_attempts=3)
    async def never(self) -> None:
        raise LookupError("not today")

    @alarm
    def chain(self) -> None:
        self.object(Timer, "other").add.send(7)


async def test_a_handler_is_performed_alone() -> None:
    done = await perform_handler(Timer, "add", [5], {"count": 1})

    assert (done.result, done.state) == (6, {"count": 6, "rang": []})
    assert (done.alarms, done.cancelled, done.cancelled_all, done.sends) == ({}, frozenset(), False, [])
    assert (await perform_handler(Timer, Timer.add, {"amount": 2})).result == 2
    assert (await perform_handler(Timer, "tell", ["b"], id="a")).sends == [("kit.Timer", "b", "add", {"amount": 5})]


async def test_what_a_performed_handler_orders_is_told() -> None:
    ordered = await perform_handler(Timer, "add", {"later": 90})
    cancelled = await perform_handler(Timer, "stop")

    assert (ordered.alarms["tick"].name, ordered.alarms["tick"].every) == ("tick", None)
    assert timedelta(seconds=80) < ordered.alarms["tick"].due_at - Clock().now() <= timedelta(seconds=90)
    assert (cancelled.cancelled, cancelled.cancelled_all) == (frozenset(), True)


async def test_an_alarm_s_handler_is_performed_alone() -> None:
    assert (await perform_alarm(Timer, "tick", {"rang": ["x"]})).state == {"count": 0, "rang": ["x", "tick"]}
    assert set((await perform_alarm(Timer, "again")).alarms) == {"again"}


@pytest.mark.parametrize(
    ("what", "kind", "told"),
    [
        (lambda: perform_handler(Timer, "ad"), errors.ConfigError, "did you mean 'add'"),
        (lambda: perform_handler(Timer, "add", ["x"]), errors.ArgumentError, "amount"),
        (lambda: perform_handler(Timer, "add", [1, 2, 3]), errors.ArgumentError, "add"),
        (lambda: perform_handler(Timer, "add", [], {"cuont": 1}), errors.ConfigError, "did you mean 'count'"),
        (lambda: perform_handler(Timer, "add", [], {"count": "x"}), errors.EncodingError, "count"),
        (lambda: perform_handler(Timer, "cheat"), errors.CallError, "read_only"),
        (lambda: perform_handler(Timer, "fail"), LookupError, "nothing there"),
        (lambda: perform_handler(Timer, "ask", ["b"]), AssertionError, "by_hand"),
        (lambda: perform_handler(int, "add"), errors.DefinitionError, "no handler"),
        (lambda: perform_alarm(Timer, "tock"), errors.ConfigError, "no alarm 'tock'"),
    ],
)
async def test_what_cannot_be_performed_says_why(what: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        await what()


async def test_calls_are_answered_by_an_engine_that_is_run_by_hand() -> None:
    async with by_hand() as engine:
        timer = engine.object(Timer, "a")

        assert await timer.add(2) == 2
        assert await timer.add.with_options(idempotency_key="k")(3) == 5
        assert await timer.add.with_options(idempotency_key="k")(3) == 5
        assert await timer.ask("b") == 5
        assert await assert_persisted(engine, timer, count=5) == {"count": 5, "rang": []}
        assert await engine.whereis(timer) is not None


async def test_one_way_calls_are_served_before_a_drain_ends() -> None:
    async with by_hand() as engine:
        await engine.object(Timer, "a").tell("b")
        await engine.object(Timer, "a").add.send(1)
        await drain(engine)

        await assert_persisted(engine, engine.object(Timer, "b"), count=5)
        await assert_persisted(engine, engine.object(Timer, "a"), count=1)


async def test_workflows_that_are_drained_call_objects() -> None:
    async with by_hand() as engine:

        @workflow(name="kit.buy")
        async def buy() -> int:
            first = await engine.object(Timer, "a").add(2)
            return first + await engine.object(Timer, "a").add(3)

        handle = await engine.start(buy.new())
        await soon(drain(engine))

        await assert_done(engine, handle, 7)


async def test_alarms_ring_only_when_they_are_told_to() -> None:
    async with by_hand() as engine:
        timer = engine.object(Timer, "a")
        await timer.add(later=30)
        clock_of(engine).jump(hours(1))
        await drain(engine)

        due = await assert_alarm_scheduled(engine, timer, "tick", within=1)
        assert (due.type, due.id, due.attempt) == ("kit.Timer", "a", 0)
        await assert_persisted(engine, timer, rang=[])
        await fire_alarm(engine, timer, "tick")
        await assert_persisted(engine, timer, rang=["tick"])
        await refute_alarm_scheduled(engine, timer)


async def test_firing_an_alarm_that_is_not_set_is_an_error() -> None:
    async with by_hand() as engine:
        timer = engine.object(Timer, "a")
        await engine.schedule_alarm(timer, "tick", 5)

        with pytest.raises(AssertionError, match=r"no alarm 'again' .* to fire; set: 'tick' of 'a'"):
            await fire_alarm(engine, timer, "again")


async def test_firing_keeps_an_alarm_that_its_handler_sets_again() -> None:
    async with by_hand() as engine:
        timer = engine.object(Timer, "a")
        await engine.schedule_alarm(timer, "again", 5)

        await fire_alarm(engine, timer, "again")

        await assert_alarm_scheduled(engine, timer, "again", within=60)
        with pytest.raises(AssertionError, match="to ring until"):
            await assert_alarm_scheduled(engine, timer, "again", within=seconds(50))
        with pytest.raises(AssertionError, match="expected no alarm"):
            await refute_alarm_scheduled(engine, timer, "again")


async def test_firing_raises_what_the_handler_raises_and_the_alarm_is_tried_again() -> None:
    async with by_hand() as engine:
        timer = engine.object(Timer, "a")
        await engine.schedule_alarm(timer, "never", 5)

        for attempt in (1, 2):
            with pytest.raises(LookupError, match="not today"):
                await fire_alarm(engine, timer, "never")
            assert (await assert_alarm_scheduled(engine, timer, "never")).attempt == attempt
        with pytest.raises(LookupError):
            await fire_alarm(engine, timer, "never")
        (left,) = await engine.list_alarms(timer)
        assert (left.failed, left.attempt) == (True, 3)
        await refute_alarm_scheduled(engine, timer, "never")


async def test_alarms_are_drained_in_the_order_of_their_times() -> None:
    async with by_hand() as engine:
        one, two = engine.object(Timer, "1"), engine.object(Timer, "2")
        await engine.schedule_alarm(one, "chain", hours(2))
        await engine.schedule_alarm(two, "tick", hours(1))
        await engine.schedule_alarm(two, "never", hours(3))
        assert [(each.id, each.name) for each in await scheduled_alarms(engine)] == [
            ("2", "tick"),
            ("1", "chain"),
            ("2", "never"),
        ]

        assert await drain_alarms(engine, with_scheduled=False) == 0
        assert await drain_alarms(engine, one) == 1
        await assert_persisted(engine, engine.object(Timer, "other"), count=7)
        clock_of(engine).jump(hours(1))
        assert await drain_alarms(engine, with_scheduled=False) == 1
        assert await drain_alarms(engine) == 3
        await assert_persisted(engine, two, rang=["tick"])


async def test_a_drain_of_alarms_without_an_end_is_an_error() -> None:
    async with by_hand() as engine:
        timer = engine.object(Timer, "a")
        await engine.schedule_alarm(timer, "again", 5)

        with pytest.raises(TooManySteps, match=r"rang 7 alarms, and set: 'again' of 'a'"):
            await drain_alarms(engine, max_iterations=7)

        assert len((await engine.get_state(timer))["rang"]) == 7


async def test_a_simulated_crash_loses_the_memory_and_no_answer() -> None:
    async with by_hand() as engine:
        timer = engine.object(Timer, "a")

        @job(name="kit.poke", max_attempts=5)
        async def poke() -> int:
            return await timer.add(1)

        await engine.start(poke.new())
        owner = await engine.ensure_started(timer)
        with crash_before_commit(engine, poke):
            await drain(engine)

        await assert_persisted(engine, timer, count=2)
        assert await engine.whereis(timer) not in (None, owner)


async def test_assertions_tell_what_they_found() -> None:
    async with by_hand() as engine:
        timer = engine.object(Timer, "a")
        with pytest.raises(AssertionError, match="never called"):
            await assert_persisted(engine, timer)
        await timer.add(3)

        with pytest.raises(AssertionError, match=r"stored as 4; it is 3"):
            await assert_persisted(engine, timer, count=4)
        with pytest.raises(AssertionError, match="did you mean 'count'"):
            await assert_persisted(engine, timer, cuont=4)
        with pytest.raises(AssertionError, match="none is set"):
            await assert_alarm_scheduled(engine, timer, "tick")


async def test_eventually_waits_for_truth_and_says_what_it_saw() -> None:
    seen: list[int] = []

    async def third() -> int:
        seen.append(1)
        assert len(seen) > 2, "too early"
        return len(seen)

    assert await assert_eventually(third, interval=0) == 3
    with pytest.raises(AssertionError, match=r"not within 0\.01 s: it returned \[\]"):
        await assert_eventually(list, timeout=0.01, interval=0.001)
    seen.clear()
    with pytest.raises(AssertionError, match=r"not within 0 s: too early"):
        await assert_eventually(third, timeout=0)


async def test_a_jump_of_the_clock_rings_due_alarms_of_an_ordinary_engine(store_url: str) -> None:
    clock = Clock()
    engine = clock.rule(Engine(store_url, programs=[Timer], poll_interval=60.0, max_poll_interval=60.0))
    await engine.migrate()
    async with engine:
        timer = engine.object(Timer, "a")
        await timer.add(later=3600)
        clock.jump(hours(2))

        await assert_eventually(lambda: assert_persisted(engine, timer, rang=["tick"]))
