"""Starting one instance: when, where, in which order, and what is refused."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from outlast import Engine, job, minutes
from outlast.errors import ConfigError, EngineStateError, ValueTooLarge
from tests.engine.given import SOON_S, Ear, Engines, Spoilt, Table, Tally, own_connection, soon


@job(name="test_start.noop")
async def noop() -> None: ...


async def test_a_start_wakes_the_worker_without_polling(engine: Engine) -> None:
    for _ in range(3):
        await (await engine.start(noop.new())).result(SOON_S)


@pytest.mark.parametrize("ahead", [0.2, timedelta(seconds=0.2)], ids=["seconds", "timedelta"])
async def test_schedule_in_runs_when_it_is_due_and_not_before(engine: Engine, ahead: Any) -> None:
    handle = await engine.start(noop.new(), schedule_in=ahead)
    assert (await handle.get()).status == "scheduled"

    await handle.result(SOON_S)

    instance = await handle.get()
    assert instance.claimed_at is not None
    assert instance.due_at - instance.created_at == timedelta(seconds=0.2)
    assert instance.claimed_at >= instance.due_at


async def test_schedule_at_runs_at_that_instant_and_not_before(engine: Engine) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=0.2)

    handle = await engine.start(noop.new(), schedule_at=moment)
    await handle.result(SOON_S)

    instance = await handle.get()
    assert instance.due_at == moment
    assert instance.claimed_at is not None
    assert instance.claimed_at >= moment


async def test_another_time_zone_means_the_same_instant(engine: Engine) -> None:
    moment = datetime(2050, 7, 1, 12, 0, tzinfo=ZoneInfo("America/New_York"))

    handle = await engine.start(noop.new(), schedule_at=moment)

    assert (await handle.get()).due_at == datetime(2050, 7, 1, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize("past", [timedelta(0), timedelta(days=400)], ids=["now", "long ago"])
async def test_a_past_instant_runs_at_once(engine: Engine, past: timedelta) -> None:
    handle = await engine.start(noop.new(), schedule_at=datetime.now(UTC) - past)

    await handle.result(SOON_S)


async def test_no_delay_runs_at_once(engine: Engine) -> None:
    await (await engine.start(noop.new(), schedule_in=0)).result(SOON_S)


async def test_a_start_in_the_future_makes_nobody_look_for_work(engine: Engine) -> None:
    await (await engine.start(noop.new())).result(SOON_S)
    take = Spoilt(engine._store.claims, "take")

    await engine.start(noop.new(), schedule_in=3_600)
    await engine.start(noop.new(), schedule_at=datetime(2050, 1, 1, tzinfo=UTC))
    await asyncio.sleep(0.05)

    assert take.calls == 0


async def test_an_earlier_due_time_is_not_slept_through(engine: Engine) -> None:
    late = await engine.start(noop.new(), schedule_in=minutes(10))
    await asyncio.sleep(0.05)  # the timekeeper sleeps until then.

    early = await engine.start(noop.new(), schedule_in=0.1)

    await early.result(SOON_S)
    assert (await late.get()).status == "scheduled"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"schedule_at": datetime(2030, 1, 1)}, "a time zone"),  # noqa: DTZ001
        ({"schedule_at": "tomorrow"}, "a time zone"),
        ({"schedule_in": 1, "schedule_at": datetime(2030, 1, 1, tzinfo=UTC)}, "not both"),
        ({"schedule_in": -1}, "schedule_in must be between 0"),
        ({"schedule_in": "soon"}, "schedule_in must be seconds"),
        ({"schedule_in": float("nan")}, "schedule_in"),
        ({"priority": 1.5}, "priority must be a whole number"),
        ({"priority": True}, "priority must be a whole number"),
        ({"priority": 2**40}, "priority must be a whole number"),
        ({"queue": ""}, "queue must be"),
        ({"queue": " x"}, "queue must be"),
        ({"queue": 7}, "queue must be text"),
        ({"correlation_key": ""}, "key"),
        ({"correlation_key": 7}, "key"),
        ({"correlation_key": "k", "correlation_scope": "sometimes"}, "sometimes"),
        ({"on_conflict": "ignore"}, "on_conflict must be one of raise, return"),
    ],
    ids=str,
)
async def test_a_wrong_option_is_refused_and_nothing_is_stored(
    engine: Engine, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        await engine.start(noop.new(), **options)

    assert await engine.totals() == {}


@pytest.mark.parametrize("what", [noop, "noop", None, noop.function])
async def test_only_a_description_can_be_started(engine: Engine, what: Any) -> None:
    with pytest.raises(ConfigError, match=r"what \.new\(\.\.\.\) returns"):
        await engine.start(what)


async def test_a_lower_priority_number_goes_first(engines: Engines) -> None:
    engine = await engines.open(queues={"default": 1})
    order: list[int] = []
    await engine.pause_queue("default")

    @job
    async def note(number: int) -> None:
        order.append(number)

    handles = [await engine.start(note.new(number=number), priority=number) for number in (3, -7, 0, 9, 0, 1)]
    await engine.resume_queue("default")
    for handle in handles:
        await handle.result(SOON_S)

    assert order == [-7, 0, 0, 1, 3, 9]


async def test_equals_go_in_the_order_of_their_start(engines: Engines) -> None:
    engine = await engines.open(queues={"default": 1})
    order: list[int] = []
    await engine.pause_queue("default")

    @job
    async def note(number: int) -> None:
        order.append(number)

    handles = await engine.start_many(note.new(number=number) for number in range(30))
    await engine.resume_queue("default")
    for handle in handles:
        await handle.result(SOON_S)

    assert order == list(range(30))


async def test_a_queue_that_nobody_serves_keeps_its_work(engine: Engine) -> None:
    handle = await engine.start(noop.new(), queue="elsewhere")
    await (await engine.start(noop.new())).result(SOON_S)

    instance = await handle.get()
    assert (instance.status, instance.queue) == ("ready", "elsewhere")


async def test_a_job_goes_to_its_own_queue_unless_told_otherwise(engines: Engines) -> None:
    engine = await engines.open(queues={"mail": 1, "side": 1})

    @job(queue="mail")
    async def send() -> None: ...

    own = await engine.start(send.new())
    other = await engine.start(send.new(), queue="side")

    for handle, queue in ((own, "mail"), (other, "side")):
        await handle.result(SOON_S)
        assert (await handle.get()).queue == queue


async def test_never_more_run_at_once_than_the_queue_allows(engines: Engines) -> None:
    engine = await engines.open(queues={"default": 3})
    running, most, gate = 0, 0, asyncio.Event()
    begun = Tally()

    @job
    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        begun.add()
        await gate.wait()
        running -= 1

    handles = await engine.start_many(work.new() for _ in range(20))
    await begun.reaches(3)
    gate.set()
    for handle in handles:
        await handle.result(SOON_S)

    assert most == 3


async def test_arguments_above_the_limit_are_refused(engines: Engines) -> None:
    engine = await engines.open(payload_bytes_max=2_000)

    @job
    async def take(text: str) -> int:
        return len(text)

    fits = 2_000 - len('{"text":""}')
    assert await (await engine.start(take.new(text="x" * fits))).result(SOON_S) == fits

    for text in ("x" * (fits + 1), "é" * (fits // 2 + 1)):
        with pytest.raises(ValueTooLarge, match="the arguments of 'take'") as caught:
            await engine.start(take.new(text=text))
        assert caught.value.bytes_max == 2_000
        assert caught.value.bytes_seen > 2_000
    assert await engine.totals() == {"done": 1}


async def test_a_start_in_the_callers_transaction_exists_when_it_commits(engine: Engine) -> None:
    with own_connection(engine.config.url) as connection:
        handle = await engine.start(noop.new(), connection=connection)
        assert await engine.totals() == {}

        connection.commit()

        # On Postgres the commit rings; across SQLite connections the change counter does.
        await handle.result(SOON_S)


async def test_an_earlier_due_time_in_the_callers_transaction_is_not_slept_through(engine: Engine) -> None:
    await engine.start(noop.new(), schedule_in=3_600)
    with own_connection(engine.config.url) as connection:
        handle = await engine.start(noop.new(), schedule_in=0.1, connection=connection)
        connection.commit()

    await handle.result(SOON_S)


async def test_a_start_in_a_transaction_that_is_rolled_back_never_was(engine: Engine) -> None:
    with own_connection(engine.config.url) as connection:
        handle = await engine.start(noop.new(), connection=connection)
        connection.rollback()

    assert await engine.totals() == {}
    assert await engine.list() == []
    assert handle.id


async def test_many_starts_at_once_share_commits_and_all_run(engine: Engine, table: Table) -> None:
    runs = Tally()

    @job
    async def work(number: int) -> int:
        runs.add(number)
        return number

    handles = await soon(asyncio.gather(*(engine.start(work.new(number=number)) for number in range(200))))

    assert [await handle.result(SOON_S) for handle in handles] == list(range(200))
    assert sorted(runs.notes) == list(range(200))


CALLS = {
    "start": lambda engine: engine.start(noop.new()),
    "start_many": lambda engine: engine.start_many([noop.new()]),
    "get": lambda engine: engine.get(_ID),
    "find": lambda engine: engine.find("key"),
    "list": lambda engine: engine.list(),
    "expand_id": lambda engine: engine.expand_id("0190a2b3"),
    "cancel": lambda engine: engine.cancel(_ID),
    "retry": lambda engine: engine.retry(_ID),
    "delete": lambda engine: engine.delete(_ID),
    "pause_queue": lambda engine: engine.pause_queue("default"),
    "resume_queue": lambda engine: engine.resume_queue("default"),
    "queues": lambda engine: engine.queues(),
    "totals": lambda engine: engine.totals(),
    "nodes": lambda engine: engine.nodes(),
    "findings": lambda engine: engine.findings(),
    "result": lambda engine: engine.handle(_ID).result(1),
}
_ID = "0190a2b3-0000-7000-8000-000000000000"


async def test_an_engine_that_is_not_open_says_so(engines: Engines) -> None:
    engine = engines.new()

    async def all_are_refused() -> None:
        for call in CALLS.values():
            with pytest.raises(EngineStateError, match="not open"):
                await call(engine)

    await all_are_refused()
    async with engine:
        pass
    await all_are_refused()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"quues": {}}, "unknown option 'quues'; did you mean 'queues'"),
        ({"lease_s": 3}, "unknown option 'lease_s'; did you mean 'lease'"),
        ({"lease": 0}, "lease must be between"),
        ({"renew_interval": 20}, "at most a third of lease"),
        ({"queues": {"default": 0}}, "queue 'default': concurrency"),
        ({"queues": ["default"]}, "queues must map"),
        ({"doorbell": "loud"}, "doorbell must be one of"),
    ],
    ids=str,
)
def test_a_wrong_engine_option_is_refused_before_anything_happens(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Engine("sqlite:///never.db", **options)


async def test_an_event_loop_hears_of_each_step(engine: Engine) -> None:
    ear = Ear(engine)

    handle = await engine.start(noop.new())
    await handle.result(SOON_S)

    assert (await ear.hears("step.stop", id=handle.id))["kind"] == "done"
    assert (await ear.hears("commit.stop"))["count"] == 1
