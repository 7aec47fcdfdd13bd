"""Closing an engine while work is going on."""

import asyncio
import threading
import time
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast import Queue, job
from outlast._runtime import crew
from outlast.errors import EngineStateError, StoreUnavailable
from tests.engine.given import SOON_S, Ear, Engines, Spoilt, Table, Tally, soon


class Work:
    """A job that runs until it is let go, and notes what befell it."""

    def __init__(self) -> None:
        self.begun = Tally()
        self.cancelled = Tally()
        self.gate = asyncio.Event()

        @job(name="test_drain.work")
        async def work() -> str:
            turn = self.begun.add()
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled.add()
                raise
            return f"run {turn}"

        self.job = work


@pytest.fixture
def work() -> Work:
    return Work()


async def test_closing_lets_running_steps_end(engines: Engines, work: Work, table: Table) -> None:
    engine = engines.new(drain_timeout=SOON_S)
    ear = Ear(engine)
    await engine.open()
    handle = await engine.start(work.job.new())
    await work.begun.reaches(1)

    closing = asyncio.create_task(engine.close())
    await ear.hears("engine.draining", running=1)
    work.gate.set()
    await soon(closing)

    assert work.cancelled.count == 0
    assert table.seen(handle.id, "status") == "done"
    assert table.seen(handle.id, "commits") == 1


async def test_what_does_not_end_in_time_is_cancelled_and_given_back(
    engines: Engines, work: Work, table: Table
) -> None:
    engine = engines.new(drain_timeout=0.05)
    await engine.open()
    handle = await engine.start(work.job.new())
    await work.begun.reaches(1)

    await soon(engine.close())

    assert work.cancelled.count == 1
    assert _standing(table, handle.id) == ("ready", 0, 0, 0)
    work.gate.set()
    other = await engines.open(programs=[work.job])
    assert await other.handle(handle.id).result(SOON_S) == "run 2"
    assert _standing(table, handle.id) == ("done", 0, 0, 1)


@pytest.mark.parametrize("kind", ["async def", "async def with a timeout"])
async def test_a_step_that_answers_its_cancellation_with_an_error_loses_no_attempt(
    engines: Engines, table: Table, kind: str
) -> None:
    engine = engines.new(drain_timeout=0)
    begun = Tally()

    @job(name="test_drain.translate", max_attempts=1, timeout=60 if "timeout" in kind else None)
    async def translate() -> None:
        begun.add()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError("the connection was closed") from None

    await engine.open()
    handle = await engine.start(translate.new())
    await begun.reaches(1)

    await soon(engine.close())

    assert _standing(table, handle.id) == ("ready", 0, 0, 0)


async def test_work_moves_to_another_engine_at_once(engines: Engines, work: Work) -> None:
    other = await engines.open(queues={"default": 1}, programs=[work.job])
    blocker = await other.start(work.job.new())
    await work.begun.reaches(1)
    engine = engines.new(queues={"default": 1}, drain_timeout=0)
    await engine.open()
    handle = await engine.start(work.job.new())
    await work.begun.reaches(2)

    await soon(engine.close())
    work.gate.set()

    assert await other.handle(handle.id).result(SOON_S) == "run 3"
    await blocker.result(SOON_S)


async def test_what_was_claimed_and_not_started_is_back_at_once(engines: Engines, work: Work, table: Table) -> None:
    engine = engines.new(queues={"default": Queue(1, prefetch=5)}, drain_timeout=SOON_S)
    ear = Ear(engine)
    await engine.open()
    handles = await engine.start_many(work.job.new() for _ in range(6))
    await work.begun.reaches(1)
    await eventually_async(lambda: _count(table, "running") == 6)

    closing = asyncio.create_task(engine.close())
    await ear.hears("engine.draining")

    await eventually_async(lambda: _count(table, "ready") == 5)  # while the sixth still runs.
    assert not closing.done()
    work.gate.set()
    await soon(closing)
    assert sorted(_standing(table, handle.id) for handle in handles) == [("done", 0, 0, 1), *[("ready", 0, 0, 0)] * 5]


async def test_a_claim_whose_reply_arrives_while_closing_is_given_back(
    engines: Engines, work: Work, table: Table
) -> None:
    engine = engines.new()
    taken, go_on = asyncio.Event(), asyncio.Event()
    real = engine._store.claims.take

    async def slow(*args: Any) -> Any:
        found = await real(*args)
        if found:
            taken.set()
            await go_on.wait()
        return found

    engine._store.claims.take = slow  # type: ignore[method-assign]
    await engine.open()
    handle = await engine.start(work.job.new())
    await soon(taken.wait())

    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0.01)
    go_on.set()
    await soon(closing)

    assert work.begun.count == 0
    assert _standing(table, handle.id) == ("ready", 0, 0, 0)


async def test_a_step_that_swallows_its_cancellation_does_not_hold_the_door(engines: Engines, table: Table) -> None:
    engine = engines.new(drain_timeout=0.1, cancel_timeout=0.1)
    begun, gate, ended = Tally(), asyncio.Event(), asyncio.Event()

    @job(name="test_drain.deaf")
    async def deaf() -> str:
        begun.add()
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        ended.set()
        return "too late"

    await engine.open()
    handle = await engine.start(deaf.new())
    await begun.reaches(1)

    before = time.monotonic()
    await soon(engine.close())
    took_s = time.monotonic() - before

    assert took_s < 0.1 + 0.1 + 4
    assert _standing(table, handle.id) == ("ready", 0, 0, 0)
    gate.set()  # its late answer reaches nobody, and leaves no task behind.
    await soon(ended.wait())
    assert _standing(table, handle.id) == ("ready", 0, 0, 0)


async def test_a_def_that_does_not_return_does_not_hold_the_door(engines: Engines, table: Table) -> None:
    engine = engines.new(drain_timeout=0.05, cancel_timeout=0.1)
    begun, gate = Tally(), threading.Event()
    loop = asyncio.get_running_loop()

    @job(name="test_drain.stuck")
    def stuck() -> str:
        loop.call_soon_threadsafe(begun.add)
        gate.wait(SOON_S)
        return "too late"

    await engine.open()
    handle = await engine.start(stuck.new())
    await begun.reaches(1)

    before = time.monotonic()
    await soon(engine.close())

    assert time.monotonic() - before < SOON_S / 2
    assert _standing(table, handle.id) == ("ready", 0, 0, 0)
    gate.set()
    await eventually_async(lambda: not any(t.name == "outlast-step" for t in threading.enumerate()))
    assert _standing(table, handle.id) == ("ready", 0, 0, 0)


async def test_closing_while_the_database_is_away_does_not_hang(
    engines: Engines, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "LAST_COMMITS_S", 0.2)
    engine = engines.new(drain_timeout=0.1, cancel_timeout=0.1)
    await engine.open()
    handle = await engine.start(work.job.new())
    await work.begun.reaches(1)
    for noun in ("claims", "leases", "timers", "instances", "upkeep"):
        _take_away(getattr(engine._store, noun))
    work.gate.set()

    before = time.monotonic()
    await soon(engine.close())

    assert time.monotonic() - before < 0.2 + 0.1 + 0.1 + 4
    assert handle.id


async def test_a_close_that_is_cancelled_leaves_nothing_running(engines: Engines, work: Work, table: Table) -> None:
    engine = engines.new(drain_timeout=60)
    ear = Ear(engine)
    await engine.open()
    handle = await engine.start(work.job.new())
    await work.begun.reaches(1)
    closing = asyncio.create_task(engine.close())
    await ear.hears("engine.draining")

    closing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await soon(closing)
    assert work.cancelled.count == 1
    assert table.seen(handle.id, "attempt") == 0
    assert table.seen(handle.id, "error") is None


async def test_nobody_is_left_in_the_table_of_nodes(engines: Engines, work: Work, table: Table) -> None:
    for _ in range(3):
        async with engines.new() as engine:
            assert len(await engine.nodes()) == 1

    assert table.query("SELECT count(*) FROM {nodes}") == [(0,)]


async def test_starts_under_way_are_stored_or_refused(engines: Engines) -> None:
    @job(name="test_drain.noop")
    async def noop() -> None: ...

    engine = engines.new(queues={})
    await engine.open()
    starting = [asyncio.create_task(engine.start(noop.new())) for _ in range(50)]
    await asyncio.sleep(0)

    await soon(engine.close())

    answers = await soon(asyncio.gather(*starting, return_exceptions=True))
    stored = [answer for answer in answers if not isinstance(answer, BaseException)]
    async with engine:
        assert (await engine.totals()).get("ready", 0) == len(stored)


async def test_starts_that_the_database_did_not_take_are_refused_at_the_end(engines: Engines) -> None:
    @job(name="test_drain.noop")
    async def noop() -> None: ...

    engine = engines.new(queues={}, commit_batch=10)
    await engine.open()
    held, gone = asyncio.Event(), asyncio.Event()

    async def away(*_: Any) -> Any:
        held.set()
        await gone.wait()
        raise StoreUnavailable("the connection was lost")

    engine._store.instances.add = away  # type: ignore[method-assign]
    starting = [asyncio.create_task(engine.start(noop.new())) for _ in range(50)]
    await soon(held.wait())
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0.01)
    closing.cancel()  # else it would wait for the database to take them.

    with pytest.raises(asyncio.CancelledError):
        await soon(closing)
    gone.set()
    for answer in await soon(asyncio.gather(*starting, return_exceptions=True)):
        assert isinstance(answer, StoreUnavailable)
        assert "closed" in str(answer)


def _take_away(noun: Any) -> None:
    for name in [name for name in dir(type(noun)) if not name.startswith("_") and name != "renewer"]:
        Spoilt(noun, name).refuse(1_000_000)


def _count(table: Table, status: str) -> int:
    return int(table.query("SELECT count(*) FROM {instances} WHERE status = ?", status)[0][0])


def _standing(table: Table, id: str) -> tuple[Any, ...]:
    return tuple(table.seen(id, column) for column in ("status", "attempt", "crashes", "commits"))


async def test_a_step_may_use_the_engine_while_it_shuts_down(engines: Engines) -> None:
    gate, begun = asyncio.Event(), Tally()

    @job(name="test_drain.child")
    async def child() -> None: ...

    @job(name="test_drain.parent")
    async def parent() -> str:
        begun.add()
        await gate.wait()
        handle = await engine.start(child.new(), queue="elsewhere")
        await engine.signal(handle, "hello")
        return handle.id

    engine, other = engines.new(drain_timeout=SOON_S), await engines.open(queues={})
    await engine.open()
    handle = await engine.start(parent.new())
    await begun.reaches(1)

    closing = asyncio.ensure_future(engine.close())
    await asyncio.sleep(0)
    gate.set()
    await soon(closing)

    started = await other.get(await other.handle(handle.id).result(SOON_S))
    assert started.status == "ready"
    with pytest.raises(EngineStateError, match="not open"):
        await engine.start(child.new())
