"""Schedules from a caller's view: made, changed, fired by engines that work, once per tick."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harness.waiting import eventually
from outlast import Cron, Engine, Machine, days, job, minutes, sleep, step, workflow
from outlast._kernel.outcomes import Done
from outlast.errors import ArgumentError, ConfigError, DefinitionError, EngineStateError, InstanceFailed, NotFound
from outlast.testing import Clock
from tests.engine.given import Ear, Engines, Spoilt, Table, Tally, soon
from tests.engine.workers import process

NEW_YEAR = datetime(2040, 1, 1, tzinfo=UTC)
BUSY: dict[str, Any] = {"max_poll_interval": 0.02, "poll_interval": 0.02}


@job(name="schedules.greet", queue="mail")
async def greet(name: str = "ann") -> str:
    return f"hello {name}"


@job(name="schedules.fail", max_attempts=1)
async def fail() -> None:
    raise ValueError("no")


class Report(Machine, name="schedules.report"):
    title: str = "all"

    @step
    async def start(self, ctx: Any) -> Any:
        return Done(self.title)


@workflow(name="schedules.tidy")
async def tidy(what: str = "desk") -> str:
    await sleep(0)
    return f"tidy {what}"


async def clocked(engines: Engines, clock: Clock, **options: Any) -> Engine:
    """An open engine that works by this clock."""
    engine = clock.rule(engines.new(**{"queues": {"default": 10, "mail": 10}} | options))
    await engine.open()
    return engine


# What is stored.


async def test_a_schedule_is_made_and_read(engine: Engine) -> None:
    before = datetime.now(UTC)

    made = await engine.schedule(
        greet.new(name="bob"),
        "30 2 * * MON-FRI",
        name="mornings",
        zone="Europe/Berlin",
        overlap="queue",
        catch_up="all",
        window=days(2),
        jitter=90,
        priority=3,
    )

    assert await engine.get_schedule("mornings") == made
    assert (made.program, made.version, made.state, made.queue, made.priority) == (
        "schedules.greet",
        1,
        {"name": "bob"},
        "mail",
        3,
    )
    assert (made.cron, made.zone, made.dst, made.enabled) == ("30 2 * * MON-FRI", "Europe/Berlin", "auto", True)
    assert (made.catch_up, made.window_s, made.overlap, made.jitter_s) == ("all", 172_800.0, "queue", 90.0)
    assert made.explanation.endswith("by the clocks of Europe/Berlin")
    assert made.next_run_at is not None
    assert before < made.next_run_at < before + days(4)
    assert (made.last_run_at, made.last_instance, made.running, made.auto_disabled_at) == (None, None, (), None)


async def test_its_name_is_the_program_s_unless_it_has_one(engine: Engine) -> None:
    for what in (greet.new(), Report(), tidy.new()):
        await engine.schedule(what, "@daily")

    assert [each.name for each in await engine.schedules()] == ["schedules.greet", "schedules.report", "schedules.tidy"]


async def test_pages_and_filters(engine: Engine) -> None:
    for name in "abc":
        await engine.schedule(greet.new(), "@daily", name=name, queue="q" if name == "b" else None)
    await engine.disable_schedule("c")
    await engine.schedule(Report(), "@daily", name="d")

    async def names(**wanted: Any) -> str:
        return "".join(each.name for each in await engine.schedules(**wanted))

    assert await names() == "abcd"
    assert await names(limit=2) + await names(limit=2, after="b") == "abcd"
    assert await names(enabled=False) == "c"
    assert await names(queue="q") == "b"
    assert await names(program="schedules.report") == "d"


async def test_the_same_again_changes_nothing(engine: Engine) -> None:
    first = await engine.schedule(greet.new(), "@daily")

    assert await engine.schedule(greet.new(), "@daily") == first


async def test_made_again_it_goes_on_from_where_it_stands(engine: Engine) -> None:
    await engine.schedule(greet.new(), "@daily")
    await engine.disable_schedule("schedules.greet")

    again = await engine.schedule(greet.new(name="bob"), "@hourly", enabled=True)

    assert (again.state, again.cron, again.enabled, again.next_run_at) == ({"name": "bob"}, "@hourly", False, None)


async def test_changes(engine: Engine) -> None:
    made = await engine.schedule(greet.new(), "0 0 1 1 *", name="s")

    changed = await engine.update_schedule("s", zone="Asia/Tokyo")
    assert (changed.cron, changed.zone) == ("0 0 1 1 *", "Asia/Tokyo")
    assert changed.next_run_at == (made.next_run_at or NEW_YEAR) - timedelta(hours=9)
    changed = await engine.update_schedule("s", cron=Cron("@hourly", dst="skip"), priority=4, queue="other")
    assert (changed.cron, changed.zone, changed.dst, changed.priority) == ("@hourly", "UTC", "skip", 4)
    changed = await engine.update_schedule("s", what=tidy.new(what="room"), overlap="skip", jitter=minutes(1))
    assert (changed.program, changed.state, changed.queue) == ("schedules.tidy", {"what": "room"}, "other")
    assert (changed.cron, changed.overlap, changed.jitter_s) == ("@hourly", "skip", 60.0)
    assert (await engine.update_schedule("s", enabled=False)).next_run_at is None
    assert (await engine.update_schedule("s", enabled=True)).next_run_at is not None
    assert await engine.update_schedule("s") == await engine.get_schedule("s")


async def test_what_is_gone_is_told(engine: Engine) -> None:
    await engine.schedule(greet.new(), "@daily", name="s")
    await engine.delete_schedule("s")

    for call in (
        engine.get_schedule("s"),
        engine.update_schedule("s", priority=1),
        engine.enable_schedule("s"),
        engine.disable_schedule("s"),
        engine.trigger_schedule("s"),
        engine.delete_schedule("s"),
    ):
        with pytest.raises(NotFound, match="no schedule is called 's'"):
            await call


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"cron": "every day"}, "five fields"),
        ({"cron": 5}, "must be text"),
        ({"zone": "Europe/Berln"}, "Europe/Berlin"),
        ({"dst": "twice"}, "dst must be"),
        ({"catch_up": "some"}, "catch_up must be"),
        ({"overlap": "no"}, "overlap must be"),
        ({"window": -1}, "window must be"),
        ({"jitter": "soon"}, "jitter must be"),
        ({"queue": " "}, "queue must be"),
        ({"priority": "high"}, "priority must be"),
        ({"enabled": 1}, "enabled must be"),
        ({"name": "n" * 151}, "150 characters"),
        ({"cron": Cron("@daily", "Asia/Tokyo"), "zone": "Europe/Berlin"}, "own zone"),
        ({"what": greet}, "what .new"),
    ],
)
async def test_what_is_wrong_is_refused_and_nothing_is_stored(engine: Engine, wrong: Any, told: str) -> None:
    await engine.schedule(greet.new(), "@daily", name="old")
    before = await engine.get_schedule("old")

    with pytest.raises(ConfigError, match=told):
        await engine.schedule(**{"what": greet.new(), "cron": "@daily", "name": "new"} | wrong)
    if "name" not in wrong:
        with pytest.raises(ConfigError, match=told):
            await engine.update_schedule("old", **wrong)

    assert await engine.schedules() == [before]


async def test_an_unknown_change_is_refused(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="did you mean 'cron'"):
        await engine.update_schedule("s", chron="@daily")  # type: ignore[call-arg]


async def test_a_closed_engine_says_so(engines: Engines) -> None:
    with pytest.raises(EngineStateError):
        await engines.new().schedules()


# Triggered.


async def test_a_trigger_starts_a_run_and_leaves_the_next_tick(engines: Engines) -> None:
    engine = await engines.open(queues={"default": 5, "mail": 5})
    made = await engine.schedule(greet.new(), "@daily", name="s", priority=7)
    await engine.disable_schedule("s")
    await engine.enable_schedule("s")

    handle = await engine.trigger_schedule("s")
    other = await engine.trigger_schedule("s", greet.new(name="bob"))

    assert await soon(handle.result()) == "hello ann"
    assert await soon(other.result()) == "hello bob"
    run = await handle.get()
    assert (run.priority, run.queue, run.correlation_key) == (7, "mail", None)
    after = await engine.get_schedule("s")
    assert after.next_run_at == made.next_run_at
    assert after.last_instance == other.id
    assert after.last_run_at is not None


async def test_what_is_done_by_hand_is_told(engine: Engine) -> None:
    ear = Ear(engine)
    await engine.schedule(greet.new(), "@daily", name="s")

    await engine.enable_schedule("s")
    assert ear.all("schedule.switched") == []
    await engine.disable_schedule("s")
    await engine.update_schedule("s", enabled=True)
    handle = await engine.trigger_schedule("s")

    assert [(said["schedule"], said["enabled"]) for said in ear.all("schedule.switched")] == [("s", False), ("s", True)]
    assert len(ear.all("schedule.triggered", schedule="s", id=handle.id, queue="mail")) == 1


async def test_a_trigger_with_another_program_is_refused(engine: Engine) -> None:
    await engine.schedule(greet.new(), "@daily", name="s")

    with pytest.raises(ConfigError, match=r"starts 'schedules.greet', not 'schedules.tidy'"):
        await engine.trigger_schedule("s", tidy.new())


async def test_a_trigger_whose_reply_is_lost_starts_one_run(engine: Engine) -> None:
    await engine.schedule(greet.new(), "@daily", name="s")
    Spoilt(engine._store.schedules, "fire").lose_replies()

    handle = await engine.trigger_schedule("s")

    assert [each.id for each in await engine.list()] == [handle.id]


async def test_operations_survive_lost_replies(engine: Engine) -> None:
    Spoilt(engine._store.schedules, "add").lose_replies()
    await engine.schedule(greet.new(), "@daily", name="s")
    Spoilt(engine._store.schedules, "change").lose_replies()
    assert (await engine.update_schedule("s", priority=4)).priority == 4
    Spoilt(engine._store.schedules, "delete").lose_replies()
    await engine.delete_schedule("s")

    assert await engine.schedules() == []


# Fired.


async def test_engines_that_work_fire_each_tick_once(engines: Engines, table: Table) -> None:
    """Three processes on one database; each tick of nine is fired by whoever is first."""
    clock = Clock()
    clock.jump_to(NEW_YEAR - timedelta(seconds=30))
    ran = Tally()

    @job(name="schedules.note")
    async def note() -> None:
        ran.add()

    workers = [await clocked(engines, clock, programs=[note], **BUSY) for _ in range(3)]
    try:
        await workers[0].schedule(note.new(), "* * * * *", name="s")
        for number in range(1, 10):
            clock.jump(60)
            await ran.reaches(number)
    finally:
        for worker in workers:
            await worker.close()

    keys = [key for (key,) in table.query("SELECT correlation_key FROM {instances} ORDER BY correlation_key")]
    assert keys == [f"s@2040-01-01T00:0{minute}:00Z" for minute in range(9)]
    assert ran.count == 9


async def test_a_jump_of_the_clock_wakes_the_scheduler(engines: Engines) -> None:
    """It polls once a minute."""
    clock = Clock()
    engine = await clocked(engines, clock)
    ear = Ear(engine)
    try:
        made = await engine.schedule(Report(), "0 0 * * *", name="s")
        clock.jump_to((made.next_run_at or NEW_YEAR) + timedelta(seconds=1))
        fired = await ear.hears("schedule.fired", schedule="s")
        assert await soon(engine.handle(fired["id"]).result()) == "all"
    finally:
        await engine.close()

    assert fired["tick"] == (made.next_run_at or NEW_YEAR).isoformat()


async def test_a_schedule_made_elsewhere_is_noticed(engines: Engines) -> None:
    clock = Clock()
    engine = await clocked(engines, clock, programs=[tidy], max_poll_interval=1.0, poll_interval=1.0)
    ear = Ear(engine)
    try:
        async with clock.rule(engines.new(queues={})) as other:
            await other.schedule(tidy.new(), "* * * * * *", name="s")
        fired = await ear.hears("schedule.fired", schedule="s")
        assert await soon(engine.handle(fired["id"]).result()) == "tidy desk"
    finally:
        await engine.close()


async def test_what_keeps_failing_is_switched_off(engines: Engines) -> None:
    clock = Clock()
    engine = await clocked(engines, clock, **BUSY)
    ear = Ear(engine)
    try:
        await engine.schedule(fail.new(), "0 * * * *", name="s")
        for number in range(1, 6):
            at = (await engine.get_schedule("s")).next_run_at
            clock.jump_to((at or NEW_YEAR) + timedelta(seconds=1))
            fired = await ear.hears("schedule.fired", count=number)
            with pytest.raises(InstanceFailed):
                await soon(engine.handle(fired["id"]).result())
        clock.jump(3600)
        told = await ear.hears("schedule.disabled", schedule="s")
        found = await engine.get_schedule("s")
        again = await engine.enable_schedule("s")
    finally:
        await engine.close()

    assert told["failures"] == found.consecutive_failures == 5
    assert (found.enabled, found.next_run_at) == (False, None)
    assert found.auto_disabled_at is not None
    assert found.last_error is not None
    assert (found.last_error["type"], found.last_error["message"]) == ("ValueError", "no")
    assert (again.enabled, again.consecutive_failures, again.auto_disabled_at) == (True, 0, None)
    assert len(ear.all("schedule.fired")) == 5


async def test_a_database_that_goes_away_costs_no_tick(engines: Engines) -> None:
    clock, ran = Clock(), Tally()

    @job(name="schedules.note")
    async def note() -> None:
        ran.add()

    engine = await clocked(engines, clock, programs=[note], **BUSY)
    try:
        made = await engine.schedule(note.new(), "0 0 * * *", name="s")
        spoilt = Spoilt(engine._store.schedules, "fire")
        spoilt.refuse(2)
        clock.jump_to((made.next_run_at or NEW_YEAR) + timedelta(seconds=1))
        await ran.reaches(1)
        spoilt.lose_replies()
        clock.jump(86_400)
        await soon(spoilt.spoilt.wait())
        await ran.reaches(2)
    finally:
        await engine.close()


WORKER = """
@job(name="tick")
async def tick(ctx: Context) -> None:
    say("ran", ctx.key)

async def main():
    options = {"poll_interval": 0.05, "max_poll_interval": 0.05, "lease": 1.5, "reap_interval": 0.1}
    async with Engine(URL, programs=[tick], **options) as engine:
        await engine.schedule(tick.new(), "* * * * * *", name="s", catch_up="all")
        say("open")
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_workers_that_are_killed_lose_no_tick_and_double_none(url: str, table: Table) -> None:
    """Three fire every second; one after the other is killed in the middle of it, and the last one goes on."""
    with process(WORKER, url) as first, process(WORKER, url) as second, process(WORKER, url) as third:
        for worker in (first, second, third):
            await worker.says("open")
        for worker in (first, second, third):
            wanted = len(_ticks(table)) + 2
            await asyncio.to_thread(eventually, lambda wanted=wanted: len(_ticks(table)) >= wanted, what="2 ticks")
            worker.popen.kill()

    ticks = _ticks(table)
    assert len(ticks) >= 6
    assert len(set(ticks)) == len(ticks)
    assert [late - early for early, late in itertools.pairwise(ticks)] == [timedelta(seconds=1)] * (len(ticks) - 1)


def _ticks(table: Table) -> list[datetime]:
    keys = [key.removeprefix("s@") for (key,) in table.query("SELECT correlation_key FROM {instances}")]
    return sorted(map(datetime.fromisoformat, keys))


# Declared with the program.


async def test_declared_schedules_are_there_when_a_worker_opens(engines: Engines) -> None:
    @workflow(name="schedules.weekly", schedule="0 9 * * MON")
    async def weekly() -> None: ...

    @job(name="schedules.monthly", schedule=Cron("@monthly", "Europe/Berlin"), queue="slow")
    def monthly(day: int = 1) -> None: ...

    options: dict[str, Any] = {"programs": [weekly, monthly, greet]}
    async with engines.new(**options, queues={}) as submitter:
        assert await submitter.schedules() == []
    async with engines.new(**options) as worker:
        found = await worker.schedules()
        assert [(each.name, each.cron, each.zone, each.queue, each.enabled) for each in found] == [
            ("schedules.monthly", "@monthly", "Europe/Berlin", "slow", True),
            ("schedules.weekly", "0 9 * * MON", "UTC", "default", True),
        ]
        await worker.disable_schedule("schedules.weekly")
        await worker.trigger_schedule("schedules.monthly")
        kept = await worker.schedules()

    async with engines.new(**options) as again:
        assert [each.enabled for each in await again.schedules()] == [True, False]
        assert [each.last_run_at for each in await again.schedules()] == [each.last_run_at for each in kept]


async def test_a_program_that_needs_arguments_cannot_declare_a_schedule() -> None:
    with pytest.raises(DefinitionError, match=r"no defaults for its arguments .*who"):

        @job(schedule="@daily")
        def hello(who: str) -> None: ...

    with pytest.raises(DefinitionError, match="no defaults"):

        @workflow(schedule="@daily")
        async def bye(who: str) -> None: ...


@pytest.mark.parametrize("wrong", ["@dayly", "61 * * * *", 5])
async def test_a_declared_schedule_that_cannot_be_read_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="cron expression"):
        job(schedule=wrong)
    with pytest.raises(ConfigError, match="cron expression"):
        workflow(schedule=wrong)


async def test_arguments_are_checked_when_it_is_made() -> None:
    with pytest.raises(ArgumentError):
        greet.new(nam="x")  # type: ignore[call-arg]
