"""What an engine reports of itself: each event with its fields, through `on`, and in the log."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from outlast import Await, Done, Engine, InstanceFailed, Machine, Next, Spawn, backoff, job, step
from outlast.errors import ConfigError
from outlast.logs import StepLogFilter
from tests.engine.given import SOON_S, Ear, Engines, Table, soon


@job(name="test_events.greet", max_attempts=2, backoff=backoff.constant(0.001))
async def greet(name: str) -> str:
    logging.getLogger("shop").warning("greeting %s", name)
    if name == "nobody":
        raise ValueError("nobody there")
    return f"hello {name}"


@job(name="test_events.in_thread")
def in_thread() -> None:
    logging.getLogger("shop").warning("from a thread")


class Walk(Machine, name="test_events.walk"):
    inline: bool = True

    @step
    async def start(self, ctx: Any) -> Any:
        return Next(self.middle, inline=self.inline)

    @step
    async def middle(self, ctx: Any) -> Any:
        return Next(self.end, concurrency_key="walk")

    @step
    async def end(self, ctx: Any) -> Any:
        return Await("over", then=self.over, timeout=0.01)

    @step
    async def over(self, ctx: Any) -> Any:
        return Spawn([greet.new(name="ann")], then=self.last)

    @step
    async def last(self, ctx: Any) -> Any:
        return Done(None)


async def test_a_step_is_told_from_claim_to_commit(engine: Engine) -> None:
    ear = Ear(engine)

    handle = await engine.start(greet.new(name="ann"))
    await handle.result(SOON_S)
    await ear.hears("instance.ended")

    of_step = {
        "id": handle.id,
        "program": "test_events.greet",
        "version": 1,
        "step": "run",
        "attempt": 0,
        "queue": "default",
        "engine": "outlast",
    }
    (started,) = ear.all("instance.started")
    assert started == {"id": handle.id, "program": "test_events.greet", "queue": "default", "engine": "outlast"}
    (claimed,) = [said for said in ear.all("claim.stop") if said["count"]]
    assert (claimed["queue"], claimed["count"], claimed["demand"] >= 1) == ("default", 1, True)
    assert 0 < claimed["duration_s"] < SOON_S
    assert ear.all("step.start") == [of_step]
    (stopped,) = ear.all("step.stop")
    assert stopped.items() >= (of_step | {"kind": "done"}).items()
    assert 0 < stopped["duration_s"] < SOON_S
    (committed,) = ear.all("commit.stop")
    assert (committed["count"], committed["stale"], committed["settled"]) == (1, 0, [(handle.id, 1, "done")])
    assert 0 < committed["duration_s"] < SOON_S
    assert ear.all("instance.ended", id=handle.id, program="test_events.greet", queue="default", status="done")


async def test_every_failed_attempt_is_told_and_the_last_one_ends_it(engine: Engine) -> None:
    ear = Ear(engine)

    handle = await engine.start(greet.new(name="nobody"))
    await ear.hears("instance.ended", id=handle.id, status="failed")

    assert [said["kind"] for said in ear.all("step.stop")] == ["retry", "failed"]
    assert [(said["attempt"], said["error"]) for said in ear.all("step.failed")] == [
        (0, "ValueError: nobody there"),
        (1, "ValueError: nobody there"),
    ]


async def test_run_ahead_limits_timeouts_and_children_are_told(engine: Engine) -> None:
    ear = Ear(engine)

    handle = await engine.start(Walk())
    await handle.result(SOON_S)
    await ear.hears("instance.ended", id=handle.id)

    ahead = ear.all("run_ahead.continued")
    assert [(said["step"], said["steps"], said["program"]) for said in ahead] == [("middle", 1, "test_events.walk")]
    assert [(said["step"], said["reason"]) for said in ear.all("run_ahead.yielded")] == [("end", "limited")]
    assert [said["count"] for said in ear.all("awaits.timed_out")] == [1]
    assert sum(said["count"] for said in ear.all("timers.promoted")) >= 2
    child = ear.all("instance.started", parent=handle.id)
    assert [(said["program"], said["queue"]) for said in child] == [("test_events.greet", "default")]
    kinds = [said["kind"] for said in ear.all("step.stop", id=handle.id)]
    assert kinds == ["next", "next", "await", "spawn", "done"]


async def test_run_ahead_that_is_off_says_so(engine: Engine) -> None:
    ear = Ear(engine)

    await (await engine.start(Walk(inline=False))).result(SOON_S)

    assert ear.all("run_ahead.yielded", step="middle", reason="off")


async def test_signals_are_told_with_what_became_of_them(engine: Engine) -> None:
    ear = Ear(engine)
    handle = await engine.start(Walk(), schedule_in=3600)

    await engine.signal(handle, "over", dedup_key="1")
    await engine.signal(handle, "over", dedup_key="1")
    await engine.signal("nobody", "over")
    await engine.signal_or_start(Walk(), "over", correlation_key="walk")

    said = [(each["id"] == handle.id, each["signal"], each["result"]) for each in ear.all("signal.sent")]
    assert said == [
        (True, "over", "delivered"),
        (True, "over", "duplicate"),
        (False, "over", "no_target"),
        (False, "over", "delivered"),
    ]
    assert len(ear.all("instance.started")) == 2


async def test_what_limits_hold_back_is_told(engines: Engines) -> None:
    engine = await engines.open(rate_limits={"api": "1/h"}, concurrency_limits={}, poll_interval=0.05)
    ear = Ear(engine)

    await engine.start_many([greet.new(name="ann") for _ in range(3)], rate_limit="api", priority=1)
    await ear.hears("instance.ended")
    await engine.start(greet.new(name="ann"), rate_limit="api", queue="default")
    await engine.start_many([Walk() for _ in range(4)], concurrency_key="one")
    while sum(said["count"] for said in ear.all("timers.promoted")) < 8:
        await ear.hears("timers.promoted", count=len(ear.all("timers.promoted")) + 1)

    for said in ear.all("rate.denied"):
        assert (said["queue"], said["limit"], said["count"] >= 1) == ("default", "api", True)
    for said in ear.all("concurrency.denied"):
        assert (said["queue"], said["limit"]) == ("default", "one")


async def test_a_rate_that_nobody_declares_any_more_is_told_once(engines: Engines, table: Table) -> None:
    web = await engines.open(queues={}, maintenance=False, rate_limits={"api": "1/h"}, programs=[greet])
    table.query("INSERT INTO {rates} (name, allowed, period_s, burst) VALUES ('api', 1, 3600, 1)")
    await web.start(greet.new(name="ann"), rate_limit="api")
    table.query("DELETE FROM {rates}")
    keeper = engines.new(queues={}, maintenance=True)
    ear = Ear(keeper)

    async with keeper:
        await ear.hears("timers.promoted")
        keeper._running().sweep()
        assert (await ear.hears("rate.unknown"))["limit"] == "api"
        assert ("problem", "rate limit", "instances wait for 'api', which no worker has declared") in (
            await keeper.findings()
        )


async def test_a_full_lane_is_told(engines: Engines) -> None:
    engine = await engines.open(queues={"default": 1}, poll_interval=0.05)
    ear, gate = Ear(engine), asyncio.Event()

    @job(name="test_events.hold")
    async def hold() -> None:
        await gate.wait()

    await engine.start_many([hold.new() for _ in range(9)])
    said = await ear.hears("lane.saturated")
    gate.set()

    assert (said["queue"], said["running"], said["concurrency"]) == ("default", 1, 1)
    assert said.keys() >= {"buffered", "prefetch", "unflushed"}


async def test_an_engine_tells_of_its_life_and_what_it_gives_back(engines: Engines) -> None:
    engine = engines.new(queues={"default": 1}, drain_timeout=0)
    ear, began = Ear(engine), asyncio.Event()

    @job(name="test_events.endless")
    async def endless() -> None:
        began.set()
        await asyncio.Event().wait()

    async with engine:
        await engine.start(endless.new())
        await soon(began.wait())

    assert ear.all("engine.started")[0]["queues"] == "default"
    assert ear.all("engine.draining")[0].items() >= {"running": 1, "released": 0}.items()
    assert ear.all("engine.stopped")


async def test_callbacks_as_function_and_as_decorator(engine: Engine) -> None:
    heard: list[str] = []

    @engine.on("instance.*")
    def note(name: str, fields: dict[str, Any]) -> None:
        heard.append(name)

    ended = asyncio.Event()
    off = engine.on("instance.ended", lambda name, fields: ended.set())
    await engine.start(greet.new(name="ann"))
    await soon(ended.wait())
    off()
    ended.clear()

    note("by hand", {})
    await (await engine.start(greet.new(name="ann"))).result(SOON_S)

    assert heard[:3] == ["instance.started", "instance.ended", "by hand"]
    assert not ended.is_set()
    with pytest.raises(ConfigError, match=r"no event is called 'instance.finished'"):
        engine.on("instance.finished", note)


async def test_records_of_steps_say_where_they_come_from(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(StepLogFilter())
    handle = await engine.start(greet.new(name="ann"))
    await handle.result(SOON_S)
    threaded = await engine.start(in_thread.new())
    await threaded.result(SOON_S)
    logging.getLogger("shop").warning("outside")

    inside, thread, outside = (record for record in caplog.records if record.name == "shop")
    told = vars(inside)
    assert (told["outlast_id"], told["outlast_program"], told["outlast_step"]) == (
        handle.id,
        "test_events.greet",
        "run",
    )
    assert (told["outlast_attempt"], told["outlast_version"], told["outlast_queue"]) == (0, 1, "default")
    assert vars(thread)["outlast_id"] == threaded.id
    assert vars(outside)["outlast_id"] is None


async def test_the_engine_s_own_records_carry_their_fields(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(StepLogFilter())
    caplog.set_level(logging.WARNING, logger="outlast")
    heard = Ear(engine)

    handle = await engine.start(greet.new(name="nobody"))
    await heard.hears("instance.ended", id=handle.id)

    last = [vars(record) for record in caplog.records if record.getMessage().startswith("step.failed")][-1]
    assert (last["outlast_id"], last["outlast_step"], last["outlast_attempt"]) == (handle.id, "run", 1)


@pytest.fixture
def broken_log() -> Iterator[None]:
    """A program whose log raises at every record: a disk that is full, a filter with a bug."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no space left on device")

    logger, handler = logging.getLogger("outlast"), Broken()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield
    logger.removeHandler(handler)
    logger.setLevel(level)


async def test_a_log_that_raises_costs_no_step_and_no_slot(broken_log: None, engines: Engines) -> None:
    @job(name="test_events.loud", max_attempts=1)
    async def loud(number: int) -> int:
        if number == 1:
            raise ValueError("told to the log, too")
        return number

    def raises(name: str, fields: dict[str, Any]) -> None:
        raise ZeroDivisionError

    engine = await engines.open(queues={"default": 1}, lease=2.0, reap_interval=0.05)
    engine.events.listen(raises)
    handles = [await engine.start(loud.new(number=number)) for number in range(3)]

    assert await handles[0].result(SOON_S) == 0
    with pytest.raises(InstanceFailed):
        await handles[1].result(SOON_S)
    assert await handles[2].result(SOON_S) == 2
    assert {(await handle.get()).crashes for handle in handles} == {0}
