"""Processes that die: their work goes on, and what kills them is put aside."""

from pathlib import Path
from typing import Any

import pytest

from outlast import Engine, job
from outlast.errors import InstanceQuarantined
from tests.engine.given import SOON_S, Ear, Engines, Table
from tests.engine.workers import process

WORKER = """
@job(name="test_crashes.bomb")
async def bomb():
    say("boom")
    os._exit(1)

@job(name="test_crashes.bomb_in_thread")
def bomb_in_thread():
    os._exit(1)

@job(name="test_crashes.neighbour")
async def neighbour(number: int) -> int:
    await asyncio.sleep(0.02)
    return number

async def main(limit, lease, crashes, queues):
    engine = Engine(
        URL, queues={name: limit for name in queues.split(",")}, lease=lease, reap_interval=0.02, max_crashes=crashes,
        programs=[bomb, bomb_in_thread, neighbour],
    )
    async with engine:
        while (await engine.totals()).keys() - {"done", "quarantined"}:
            await asyncio.sleep(0.01)

asyncio.run(main(int(sys.argv[2]), 0.2, int(sys.argv[3]), sys.argv[4]))
"""


@job(name="test_crashes.bomb")
async def bomb() -> None: ...


@job(name="test_crashes.bomb_in_thread")
def bomb_in_thread() -> None: ...


@job(name="test_crashes.neighbour")
async def neighbour(number: int) -> int:
    return number


@pytest.mark.parametrize("work", [bomb, bomb_in_thread], ids=["async def", "def"])
async def test_what_kills_its_process_is_quarantined_after_max_crashes(
    engines: Engines, table: Table, work: Any
) -> None:
    engine = await engines.open(queues={})
    handle = await engine.start(work.new())

    deaths = await _run_workers(engine, limit=10, max_crashes=3)

    assert deaths == 3
    with pytest.raises(InstanceQuarantined, match="its process died 3 times while holding it") as caught:
        await handle.result(SOON_S)
    assert caught.value.error is not None
    assert caught.value.error["type"] == "Crashed"
    instance = await handle.get()
    assert (instance.crashes, instance.attempt, table.seen(handle.id, "commits")) == (3, 0, 0)


async def test_neighbours_of_a_bomb_finish(engines: Engines, table: Table) -> None:
    """The first crashes count against all that the process held; from then on suspects run one at a time."""
    engine = await engines.open(queues={})
    bad = await engine.start(bomb.new(), priority=-1)  # it always goes first.
    good = await engine.start_many(neighbour.new(number=number) for number in range(8))

    deaths = await _run_workers(engine, limit=10, max_crashes=4)

    assert deaths == 4
    assert [await handle.result(SOON_S) for handle in good] == list(range(8))
    assert (await bad.get()).status == "quarantined"
    crashes = [crashes for (crashes,) in table.query("SELECT crashes FROM {instances} WHERE status = 'done'")]
    assert max(crashes) == 2


async def test_a_neighbour_with_one_chance_left_does_not_share_the_crash_of_a_new_bomb(
    engines: Engines, table: Table
) -> None:
    engine = await engines.open(queues={})
    unlucky = await engine.start(neighbour.new(number=1), priority=-1)
    table.query("UPDATE {instances} SET crashes = 3")
    bombs = await engine.start_many(bomb.new() for _ in range(3))

    await _run_workers(engine, limit=10, max_crashes=4)

    assert await unlucky.result(SOON_S) == 1
    assert (await unlucky.get()).crashes == 3
    assert {(await each.get()).status for each in bombs} == {"quarantined"}


async def test_neighbours_in_another_queue_finish_too(engines: Engines, table: Table) -> None:
    engine = await engines.open(queues={})
    bad = await engine.start(bomb.new(), queue="one", priority=-1)
    good = await engine.start_many((neighbour.new(number=number) for number in range(3)), queue="two")

    await _run_workers(engine, limit=1, max_crashes=4, queues="one,two")

    assert [await handle.result(SOON_S) for handle in good] == [0, 1, 2]
    assert (await bad.get()).status == "quarantined"


async def test_a_quarantined_instance_runs_again_when_an_operator_says_so(engines: Engines) -> None:
    engine = await engines.open(queues={})
    handle = await engine.start(bomb.new())
    await _run_workers(engine, limit=1, max_crashes=1)
    with pytest.raises(InstanceQuarantined):
        await handle.result(SOON_S)

    await handle.retry()

    mended = await engines.open(programs=[bomb])  # this process has a release of it that does no harm.
    await mended.handle(handle.id).result(SOON_S)
    assert (await handle.get()).crashes == 0


async def test_quarantine_is_reported(engines: Engines) -> None:
    engine = await engines.open(queues={})
    await engine.start(bomb.new())
    with process(WORKER, engine.config.url, 1, 1, "default") as worker:
        await worker.ends()
    watcher = await engines.open(queues={}, maintenance=True, reap_interval=0.02, max_crashes=1)

    ear = Ear(watcher)

    await ear.hears("claims.reclaimed", quarantined=1)


async def _run_workers(engine: Engine, *, limit: int, max_crashes: int, queues: str = "default") -> int:
    """Starts a worker after the other until one leaves nothing to do. How many died."""
    for deaths in range(3 * max_crashes + 1):
        with process(WORKER, engine.config.url, limit, max_crashes, queues) as worker:
            code, _, complaints = await worker.ends()
        if code == 0:
            return deaths
        assert code == 1, complaints
        assert "Traceback" not in complaints, complaints
    raise AssertionError(f"workers die and die: {await engine.totals()}")


async def test_interpreter_exit_with_an_open_engine_does_not_hang(url: str, tmp_path: Path) -> None:
    script = """
    @job
    async def hang():
        await asyncio.Event().wait()

    @job
    def hang_in_thread():
        say("in thread")
        time.sleep(600)

    async def main():
        engine = Engine(URL, programs=[hang, hang_in_thread])
        await engine.open()
        await engine.start(hang.new())
        await engine.start(hang_in_thread.new())
        while (await engine.totals()).get("running", 0) < 2:
            await asyncio.sleep(0.01)
        say("leaving")

    asyncio.run(main())
    """
    with process(script, url) as one:
        await one.says("leaving")
        code, _, complaints = await one.ends()

    assert code == 0, complaints


async def test_an_engine_dropped_without_a_loop_does_not_hang_the_exit(url: str) -> None:
    script = """
    loop = asyncio.new_event_loop()
    engine = Engine(URL)
    loop.run_until_complete(engine.open())
    say("leaving")
    """
    with process(script, url) as one:
        code, out, complaints = await one.ends()

    assert (code, out) == (0, "leaving\n"), complaints


async def test_a_fork_after_opening_gives_a_clear_error(url: str) -> None:
    script = """
    async def main():
        engine = Engine(URL)
        await engine.open()
        pid = os.fork()
        if pid == 0:
            try:
                await engine.totals()
                say("answered")
            except BaseException as error:
                say(type(error).__name__, error)
            os._exit(0)
        os.waitpid(pid, 0)
        say("parent", await engine.totals())
        await engine.close()

    asyncio.run(main())
    """
    with process(script, url) as one:
        code, out, complaints = await one.ends()

    assert code == 0, complaints
    child, parent = out.splitlines()
    assert child.startswith("EngineStateError this process was forked after the engine was started")
    assert parent == "parent {}"
