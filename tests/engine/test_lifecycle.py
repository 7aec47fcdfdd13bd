"""Opening, closing, and more than one engine."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast import Engine, job
from outlast.errors import ConfigError, EngineStateError, StoreError, UnknownProgram
from tests.engine.given import SOON_S, Ear, Engines, Spoilt, Tally, soon


@job(name="test_lifecycle.noop")
async def noop() -> str:
    return "ran"


async def test_an_engine_can_be_opened_again(engines: Engines) -> None:
    engine = engines.new()

    for _ in range(3):
        async with engine:
            assert await (await engine.start(noop.new())).result(SOON_S) == "ran"

    async with engine:
        assert await engine.totals() == {"done": 3}


async def test_opening_twice_is_refused(engine: Engine) -> None:
    with pytest.raises(EngineStateError, match="running already"):
        await engine.open()

    assert await (await engine.start(noop.new())).result(SOON_S) == "ran"


async def test_opening_twice_at_once_is_refused(engines: Engines) -> None:
    engine = engines.new()

    first, second = await asyncio.gather(engine.open(), engine.open(), return_exceptions=True)

    assert first is None
    assert isinstance(second, EngineStateError)
    await engine.close()


async def test_closing_twice_or_unopened_does_nothing(engines: Engines) -> None:
    engine = engines.new()
    await engine.close()
    await engine.open()
    await engine.close()

    await engine.close()


async def test_an_engine_that_could_not_be_opened_can_be_opened_later(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    engine = Engine(f"sqlite:///{folder / 'app.db'}", programs=())
    with pytest.raises(ConfigError, match="folder of the database does not exist"):
        await engine.open()
    (folder / "app.db").mkdir(parents=True)
    with pytest.raises(ConfigError, match="a folder, not a file"):
        await engine.open()
    (folder / "app.db").rmdir()

    async with engine:
        assert await (await engine.start(noop.new())).result(SOON_S) == "ran"


async def test_an_engine_whose_loops_could_not_be_started_can_be_opened_later(engines: Engines) -> None:
    engine = engines.new()
    Spoilt(engine._store.leases, "register").refuse(1)
    with pytest.raises(StoreError, match="connection was lost"):
        await engine.open()

    async with engine:
        assert await (await engine.start(noop.new())).result(SOON_S) == "ran"


async def test_a_step_may_use_the_engine_from_the_first_moment(engines: Engines) -> None:
    engine = engines.new()

    @job(name="test_lifecycle.nest", max_attempts=1)
    async def nest() -> str:
        return await (await engine.start(noop.new())).result(SOON_S)

    async with engines.new(queues={}) as before:
        handle = await before.start(nest.new())
    engine._catalogue.add(nest)

    async with engine:
        assert await engine.handle(handle.id).result(SOON_S) == "ran"


async def test_migrating_is_safe_at_any_time(engines: Engines) -> None:
    closed = engines.new()
    assert await closed.migrate() == []

    async with closed:
        assert await closed.migrate() == []
        assert await (await closed.start(noop.new())).result(SOON_S) == "ran"


async def test_two_engines_on_one_database_share_the_work(engines: Engines) -> None:
    begun, gate = Tally(), asyncio.Event()

    @job
    async def work() -> None:
        begun.add()
        await gate.wait()

    first = await engines.open(queues={"default": 2}, programs=[work])
    second = await engines.open(queues={"default": 2}, programs=[work])
    handles = await first.start_many(work.new() for _ in range(20))
    await begun.reaches(4)

    busy = {node.id: node.running for node in await first.nodes()}
    assert list(busy.values()) == [2, 2]
    gate.set()
    for handle in handles:
        await second.handle(handle.id).result(SOON_S)
    assert begun.count == 20
    assert await second.totals() == {"done": 20}


async def test_two_engines_on_two_databases_know_nothing_of_each_other(engines: Engines, sqlite_url: str) -> None:
    here = await engines.open()
    there = await engines.open(at=sqlite_url + "-two")

    handles = await here.start_many(noop.new() for _ in range(3))
    await (await there.start(noop.new())).result(SOON_S)
    for handle in handles:
        await handle.result(SOON_S)

    assert (await here.totals(), await there.totals()) == ({"done": 3}, {"done": 1})
    assert [len(await engine.nodes()) for engine in (here, there)] == [1, 1]


async def test_a_submitter_has_no_node_and_runs_nothing(engines: Engines) -> None:
    engine = await engines.open(queues={})

    handle = await engine.start(noop.new())

    assert await engine.nodes() == []
    assert (await handle.get()).status == "ready"


async def test_maintenance_alone_promotes_what_is_due(engines: Engines) -> None:
    keeper = await engines.open(queues={}, maintenance=True)

    handle = await keeper.start(noop.new(), schedule_in=0.05)

    async def is_ready() -> bool:
        return (await handle.get()).status == "ready"

    await eventually_async(is_ready)


async def test_no_maintenance_promotes_nothing(engines: Engines) -> None:
    engine = await engines.open(maintenance=False)

    handle = await engine.start(noop.new(), schedule_in=0.02)
    await asyncio.sleep(0.1)

    assert (await handle.get()).status == "scheduled"


async def test_without_a_doorbell_polling_finds_the_work(engines: Engines) -> None:
    deaf = {"doorbell": "local", "poll_interval": 0.05, "max_poll_interval": 0.05}
    await engines.open(programs=[noop], **deaf)
    submitter = await engines.open(queues={}, **deaf)

    assert await (await submitter.start(noop.new())).result(SOON_S) == "ran"
    assert await (await submitter.start(noop.new(), schedule_in=0.05)).result(SOON_S) == "ran"


async def test_each_queue_has_its_own_slots(engines: Engines) -> None:
    engine = await engines.open(queues={"slow": 1, "fast": 1})
    begun, gate = Tally(), asyncio.Event()

    @job(queue="slow")
    async def block() -> None:
        begun.add()
        await gate.wait()

    blocked = await engine.start(block.new())
    await begun.reaches(1)

    assert await (await engine.start(noop.new(), queue="fast")).result(SOON_S) == "ran"
    gate.set()
    await blocked.result(SOON_S)


async def test_programs_are_those_given_or_started(engines: Engines) -> None:
    engine = await engines.open(programs=[noop])

    @job(name="test_lifecycle.other")
    async def other() -> None: ...

    assert engine.program("test_lifecycle.noop") is noop
    with pytest.raises(UnknownProgram, match=r"did you mean 'test_lifecycle\.noop'"):
        engine.program("test_lifecycle.nop")
    await (await engine.start(other.new())).result(SOON_S)
    assert {program.name for program in engine.programs} == {"test_lifecycle.noop", "test_lifecycle.other"}


async def test_an_engine_without_a_list_knows_all_jobs_of_the_process(url: str) -> None:
    engine = Engine(url)

    assert engine.program("test_lifecycle.noop") is noop


async def test_listeners_that_raise_harm_nobody(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    def broken(name: str, fields: dict[str, Any]) -> None:
        raise ZeroDivisionError(name)

    engine.events.listen(broken)
    ear = Ear(engine)

    assert await (await engine.start(noop.new())).result(SOON_S) == "ran"

    await ear.hears("step.stop")
    assert "a listener of step.stop raised" in caplog.text


async def test_collecting_garbage_loses_no_step(engine: Engine) -> None:
    # A loop keeps weak references to its tasks: somebody must hold each step.
    @job
    async def work() -> str:
        gc.collect(0)
        await asyncio.sleep(0)
        gc.collect(0)
        return "alive"

    handles = await engine.start_many(work.new() for _ in range(30))
    gc.collect()

    assert {await handle.result(SOON_S) for handle in handles} == {"alive"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_run_forever_drains_at_a_signal(engines: Engines, number: signal.Signals) -> None:
    engine = engines.new(drain_timeout=SOON_S)
    begun, gate = Tally(), asyncio.Event()

    @job
    async def work() -> str:
        begun.add()
        await gate.wait()
        return "drained"

    serving = asyncio.create_task(engine.run_forever())
    handle = await (await _submitter(engines)).start(work.new())
    engine._catalogue.add(work)
    other = await engines.open(queues={})
    await soon(_woken(engine, begun))

    os.kill(os.getpid(), number)
    await asyncio.sleep(0)
    gate.set()
    await soon(serving)

    assert await other.handle(handle.id).result(SOON_S) == "drained"
    assert signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL)


async def test_run_forever_closes_when_it_is_cancelled(engines: Engines) -> None:
    engine = engines.new()
    serving = asyncio.create_task(engine.run_forever())
    await eventually_async(lambda: engine._crew is not None and engine._crew.lanes)

    serving.cancel()

    with pytest.raises(asyncio.CancelledError):
        await serving
    assert engine._crew is None


async def test_a_second_signal_ends_the_process_at_once(url: str) -> None:
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", _STUBBORN, url], stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE
    )
    try:
        line = await asyncio.to_thread(process.stdout.readline)  # type: ignore[union-attr]
        assert line == "running\n"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.stdout.readline) == "draining\n"  # type: ignore[union-attr]
        process.send_signal(signal.SIGTERM)
        _, complaints = await asyncio.to_thread(process.communicate, timeout=SOON_S)
        assert process.returncode == -signal.SIGTERM, complaints
    finally:
        process.kill()
        process.communicate()


_STUBBORN = """
import asyncio, sys
from outlast import Engine, job

@job
async def hang():
    print("running", flush=True)
    await asyncio.Event().wait()

engine = Engine(sys.argv[1], drain_timeout=600)
engine.events.listen(lambda name, fields: name == "engine.draining" and print("draining", flush=True))

async def main():
    async with Engine(sys.argv[1], queues={}) as submitter:
        await submitter.start(hang.new())
    await engine.run_forever()

asyncio.run(main())
"""


async def _submitter(engines: Engines) -> Engine:
    return await engines.open(queues={})


async def _woken(engine: Engine, begun: Tally) -> None:
    await eventually_async(lambda: engine._crew is not None and engine._crew.lanes)
    assert engine._crew is not None
    engine._crew.lanes[0].ring()
    await begun.reaches(1)
