"""Captured logs: what steps log and print is kept with their instance, whatever shape they have."""

import asyncio
import io
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast import Done, Engine, InstanceFailed, Machine, Next, backoff, job, parallel, step, wait_for_signal, workflow
from outlast._model import LogLine
from outlast._runtime import logbook, tap
from outlast.errors import ConfigError, NotFound
from tests.engine.given import SOON_S, Ear, Engines, Spoilt, soon

log = logging.getLogger("test_logs.shop")
UNKNOWN = "0190a2b3-0000-7000-8000-000000000000"


class Shown(logging.Handler):
    """What other handlers get."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record.getMessage())


@pytest.fixture(autouse=True)
def shown() -> Iterator[Shown]:
    """A program that has set up logging."""
    handler = Shown()
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _all_is_as_it_was() -> Iterator[None]:
    handed_on = logging.Logger.callHandlers
    yield
    assert logging.Logger.callHandlers is handed_on
    assert not isinstance(sys.stdout, tap.Tee)
    assert not tap._scribes


@step
async def charge(order: int) -> int:
    log.debug("not kept")
    log.info("charging %d", order, extra={"order": order})
    print("paid", order)
    return order


@step
def pack(order: int) -> int:
    log.warning("packing %d", order)
    print("packed")
    return order


@workflow(name="logs.order")
async def ordered(order: int) -> int:
    log.warning("this code runs again")
    print("and again")
    await charge(order)
    await pack(order)  # type: ignore[misc]  # a plain def, awaited as every step is.
    return order


@job(name="logs.mail")
async def mail(to: str) -> None:
    log.info("to %s", to)
    print("sent")


@job(name="logs.threaded")
def threaded() -> None:
    log.info("in a thread")
    print("printed there")


def brief(lines: Any) -> list[tuple[str, str, str, str]]:
    return [(line.step, line.level, line.source, line.message) for line in lines]


async def said(engine: Engine, target: Any, **asked: Any) -> list[str]:
    return [line.message for line in await engine.logs(target, **asked)]


async def test_the_steps_of_a_workflow_are_heard_and_its_own_code_is_not(engine: Engine) -> None:
    handle = await engine.start(ordered.new(7))
    await handle.result(SOON_S)

    lines = await engine.logs(handle)

    assert brief(lines) == [
        ("charge#1", "INFO", "logging", "charging 7"),
        ("charge#1", "INFO", "print", "paid 7"),
        ("pack#1", "WARNING", "logging", "packing 7"),
        ("pack#1", "INFO", "print", "packed"),
    ]
    assert [line.number for line in lines] == sorted({line.number for line in lines})
    assert lines[0].fields == {"logger": "test_logs.shop", "order": 7}
    assert lines[1].fields is None
    instance = await handle.get()
    assert instance.finished_at is not None
    assert all(abs((line.at - instance.finished_at).total_seconds()) < 60 for line in lines)


async def test_jobs_and_machines_are_heard_when_all_are_asked_for(engines: Engines) -> None:
    class Parcel(Machine, name="logs.parcel"):
        @step
        async def start(self, ctx: Any) -> Any:
            print("begun")
            return Next(self.end)

        @step
        def end(self, ctx: Any) -> Any:
            log.error("ended")
            return Done()

    engine = await engines.open(log_capture="all")
    handles: list[Any] = [await engine.start(what) for what in (mail.new(to="ann"), threaded.new(), Parcel())]
    for handle in handles:
        await handle.result(SOON_S)

    assert [brief(await engine.logs(handle)) for handle in handles] == [
        [("run", "INFO", "logging", "to ann"), ("run", "INFO", "print", "sent")],
        [("run", "INFO", "logging", "in a thread"), ("run", "INFO", "print", "printed there")],
        [("start", "INFO", "print", "begun"), ("end", "ERROR", "logging", "ended")],
    ]


@pytest.mark.parametrize(("capture", "kept"), [("auto", 4), ("off", 0)])
async def test_of_jobs_nothing_is_kept_unless_asked_for(engines: Engines, capture: str, kept: int) -> None:
    engine = await engines.open(log_capture=capture)
    one, two = await engine.start(mail.new(to="ann")), await engine.start(ordered.new(1))
    await one.result(SOON_S)
    await two.result(SOON_S)

    assert await engine.logs(one) == []
    assert len(await engine.logs(two)) == kept


async def test_an_engine_without_work_changes_nothing_in_its_process(engines: Engines) -> None:
    handed_on, out = logging.Logger.callHandlers, sys.stdout

    engine = await engines.open()
    await (await engine.start(mail.new(to="ann"))).result(SOON_S)

    assert logging.Logger.callHandlers is handed_on
    assert sys.stdout is out


async def test_what_is_heard_goes_on_to_where_it_went(engine: Engine, shown: Shown, capsys: Any) -> None:
    await (await engine.start(ordered.new(7))).result(SOON_S)
    log.info("outside")
    print("outside")

    printed = capsys.readouterr().out.splitlines()
    once = ["not kept", "charging 7", "packing 7", "outside"]
    assert [text for text in shown.records if text != "this code runs again"] == once
    assert [text for text in printed if text != "and again"] == ["paid 7", "packed", "outside"]


async def test_what_is_heard_can_be_kept_from_others(engines: Engines, shown: Shown, capsys: Any) -> None:
    engine = await engines.open(log_passthrough=False)
    handle = await engine.start(ordered.new(7))
    await handle.result(SOON_S)
    log.info("outside")
    print("outside")

    # What is below the level is not ours, nor what belongs to no step.
    assert {*shown.records} == {"not kept", "this code runs again", "outside"}
    assert {*capsys.readouterr().out.splitlines()} == {"and again", "outside"}
    assert len(await engine.logs(handle)) == 4


async def test_prints_may_be_left_alone(engines: Engines) -> None:
    engine = await engines.open(log_print=False, log_level="warning")
    handle = await engine.start(ordered.new(7))
    await handle.result(SOON_S)

    assert not isinstance(sys.stdout, tap.Tee)
    assert brief(await engine.logs(handle)) == [("pack#1", "WARNING", "logging", "packing 7")]


async def test_a_handler_that_prints_is_not_heard_twice(engine: Engine) -> None:
    @step
    async def talk() -> None:
        handler = logging.StreamHandler(sys.stdout)
        log.addHandler(handler)
        try:
            log.info("once")
        finally:
            log.removeHandler(handler)

    @workflow(name="logs.talks")
    async def talks() -> None:
        await talk()

    handle = await engine.start(talks.new())
    await handle.result(SOON_S)

    assert await said(engine, handle) == ["once"]


async def test_two_engines_hear_their_own_and_the_last_one_puts_all_back(engines: Engines, url: str) -> None:
    first, out = await engines.open(queues={"a": 1}), sys.stdout
    async with Engines.make(url, queues={"b": 1}, programs=[ordered]) as second:
        one, two = await first.start(ordered.new(1), queue="a"), await first.start(ordered.new(2), queue="b")
        await one.result(SOON_S)
        await two.result(SOON_S)
        assert await said(second, two, step="charge") == ["charging 2", "paid 2"]

        assert isinstance(sys.stdout, tap.Tee)
        assert sys.stdout.real is out
        await first.close()
        assert isinstance(sys.stdout, tap.Tee)
        three = await second.start(ordered.new(3), queue="b")
        await three.result(SOON_S)
        assert len(await second.logs(three)) == 4
    assert sys.stdout is out


async def test_standard_output_that_was_replaced_is_heard_at_the_next_run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await engine.start(ordered.new(1))).result(SOON_S)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out := io.StringIO())
        handle = await engine.start(ordered.new(2))
        await handle.result(SOON_S)
        assert out.getvalue().splitlines().count("paid 2") == 1

    assert len(await engine.logs(handle)) == 4


async def test_branches_are_told_apart_also_in_half_a_line(engine: Engine) -> None:
    one_there, two_there = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @step
    def one() -> None:
        print("o", end="")
        loop.call_soon_threadsafe(two_there.set)
        assert one_there.wait(SOON_S)
        print("ne\n\nthen", "more")

    @step
    async def two() -> None:
        await two_there.wait()
        print("t", end="")
        one_there.set()
        await asyncio.sleep(0)
        print("wo", end="")

    @workflow(name="logs.branches")
    async def branches() -> None:
        await parallel(one(), two())  # type: ignore[call-overload]  # a plain def is awaited, too.

    handle = await engine.start(branches.new())
    await handle.result(SOON_S)

    async def is_ended() -> bool:  # half a line is a line once nothing more has come for a while.
        return await said(engine, handle, step="two") == ["two"]

    await eventually_async(is_ended)
    assert await said(engine, handle, step="one#1") == ["one", "then more"]


async def test_failed_attempts_are_told_apart(engine: Engine) -> None:
    @step(max_attempts=2, backoff=backoff.constant(0))
    async def fail() -> None:
        try:
            raise ValueError("no stock")
        except ValueError:
            log.exception("it failed")
            raise

    @workflow(name="logs.fails")
    async def fails() -> None:
        await fail()

    handle = await engine.start(fails.new())
    with pytest.raises(InstanceFailed):
        await handle.result(SOON_S)

    lines = await engine.logs(handle)
    assert [(line.attempt, line.level, line.message) for line in lines] == [
        (0, "ERROR", "it failed"),
        (1, "ERROR", "it failed"),
    ]
    assert lines[0].fields is not None
    assert lines[0].fields["traceback"].rstrip().endswith("ValueError: no stock")


async def test_a_later_claim_goes_on_behind_the_one_before(engine: Engine) -> None:
    @workflow(name="logs.waits")
    async def waits() -> None:
        await charge(1)
        await wait_for_signal("go")
        await charge(2)

    handle = await engine.start(waits.new())
    assert await engine.signal(handle, "go") == "delivered"
    await handle.result(SOON_S)

    assert await said(engine, handle) == ["charging 1", "paid 1", "charging 2", "paid 2"]
    assert await said(engine, handle, step="charge#2") == ["charging 2", "paid 2"]


async def test_pages_and_filters(engine: Engine) -> None:
    handle = await engine.start(ordered.new(7))
    await handle.result(SOON_S)

    every = [line async for line in engine.all_logs(handle)]
    first = await engine.logs(handle, limit=3)
    rest = await engine.logs(handle.id, after=first[-1])

    assert [*first, *rest] == every == await engine.logs(handle, limit=1_000)
    assert await engine.logs(handle, after=first[-1].number) == rest
    assert await said(engine, handle, level="warning") == await said(engine, handle, level=30) == ["packing 7"]
    assert [line async for line in engine.all_logs(handle, step="nope")] == []
    for wrong in ({"level": "loud"}, {"level": True}, {"limit": 0}):
        with pytest.raises(ConfigError):
            await engine.logs(handle, **wrong)
    with pytest.raises(NotFound):
        await engine.logs("no such key")


async def test_what_is_too_much_is_cut(engines: Engines) -> None:
    @step
    async def chatter() -> None:
        log.info("x" * 100, extra={"big": "y" * 1_000})
        for number in range(5):
            print(number)

    @workflow(name="logs.chatters")
    async def chatters() -> None:
        await chatter()

    engine = await engines.open(log_lines_max=5, log_chars_max=20)
    handle = await engine.start(chatters.new())
    await handle.result(SOON_S)
    assert await said(engine, handle) == ["0", "1", "2", "3", "4"]

    engine = await engines.open(log_lines_max=6, log_chars_max=20, queues={"b": 1})
    handle = await engine.start(chatters.new(), queue="b")
    await handle.result(SOON_S)
    line: LogLine = (await engine.logs(handle))[0]
    assert line.message == "x" * 20 + "... [truncated]"
    assert line.fields == {"logger": "test_logs.shop", "left_out": "the fields were too large"}


async def test_no_record_can_harm_its_step(engine: Engine) -> None:
    class Hostile:
        def __str__(self) -> str:
            raise SystemExit

        __repr__ = __str__

    quiet = logging.Logger("test_logs.quiet", logging.INFO)  # no other handler has to stand this.
    quiet.addHandler(logging.NullHandler())

    @step
    async def harm() -> None:
        quiet.info(Hostile())
        quiet.info("%d", "no number")
        quiet.info("a\x00b\ud800", extra={"huge": 10**30, "odd": {1: object}, "text": "\ud800"})
        quiet.log(10**12, "high")
        print("\ud800\x00".encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")[1:])

    @workflow(name="logs.harms")
    async def harms() -> None:
        await harm()

    handle = await engine.start(harms.new())
    await handle.result(SOON_S)

    lines = await engine.logs(handle)
    assert lines[1].message == "%d ('no number',)"
    assert lines[2].message == "a\\0b?"
    assert lines[2].fields is not None
    assert lines[2].fields["huge"] in (10**30, str(10**30))
    assert lines[3].level == f"Level {2**31 - 1}"


async def test_lines_wait_while_the_database_is_away_and_steps_do_not(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logbook, "EVERY_S", 0.0)
    engine = await engines.open()
    spoilt = Spoilt(engine._store.logs, "write")
    spoilt.refuse(10**9)
    handle = await engine.start(ordered.new(1))

    assert await handle.result(SOON_S) == 1
    await soon(spoilt.spoilt.wait())
    spoilt.mend()

    assert len(await engine.logs(handle)) == 4


async def test_a_reply_that_was_lost_doubles_no_line(engine: Engine) -> None:
    spoilt = Spoilt(engine._store.logs, "write")
    spoilt.lose_replies()
    handle = await engine.start(ordered.new(1))
    await handle.result(SOON_S)

    await soon(spoilt.spoilt.wait())

    assert len(await engine.logs(handle)) == 4


async def test_what_does_not_fit_into_the_buffer_is_dropped_and_counted(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logbook, "BUFFER_MAX", 10)

    @step
    async def flood() -> None:
        for number in range(25):
            print(number)

    @workflow(name="logs.floods")
    async def floods() -> None:
        await flood()

    engine = engines.new()
    ear = Ear(engine)
    async with engine:
        handle = await engine.start(floods.new())
        await handle.result(SOON_S)
        assert await said(engine, handle) == [str(number) for number in range(15, 25)]
        assert (await ear.hears("logs.dropped"))["count"] == 15


async def test_lines_are_written_before_the_engine_is_closed(engines: Engines, url: str) -> None:
    @step
    async def last() -> None:
        print("the last", end=" ")
        print("words", end="")

    @workflow(name="logs.last")
    async def ends() -> None:
        await last()

    async with Engines.make(url) as worker:
        handle = await worker.start(ends.new())
        await handle.result(SOON_S)

    reader = await engines.open(queues={})
    assert await said(reader, handle) == ["the last words"]


async def test_others_read_what_was_said_while_the_step_still_runs(engines: Engines) -> None:
    go = asyncio.Event()

    @step
    async def long() -> None:
        print("begun")
        await go.wait()

    @workflow(name="logs.long")
    async def longs() -> None:
        await long()

    worker, reader = await engines.open(), await engines.open(queues={})
    handle = await worker.start(longs.new())

    async def is_read() -> bool:
        return await said(reader, handle) == ["begun"]

    await eventually_async(is_read)
    go.set()
    await handle.result(SOON_S)


async def test_lines_go_with_their_instance(engine: Engine) -> None:
    handle = await engine.start(ordered.new(1))
    await handle.result(SOON_S)
    assert len(await engine.logs(handle)) == 4

    await engine.delete(handle.id)

    with pytest.raises(NotFound):
        await engine.logs(handle.id)
    assert await engine._store.logs.read(handle.id, 0, 10, 0, None) == []
