"""Code that blocks: threads, the loop, and everybody's shared pool. The engine goes on."""

import asyncio
import threading

import pytest

from outlast import Engine, job
from tests.engine.given import SOON_S, Ear, Engines, soon
from tests.engine.workers import process

STEPS = 64


class Blocked:
    """Calls that wait until they are let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()

    def wait(self) -> str:
        self.begun.release()
        self.gate.wait(SOON_S)
        return "through"

    async def have_begun(self, count: int) -> None:
        def all_of_them() -> bool:
            return all(self.begun.acquire(timeout=SOON_S) for _ in range(count))

        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        # A thread of its own: the shared pool may be what is blocked.
        threading.Thread(target=lambda: loop.call_soon_threadsafe(done.set_result, all_of_them())).start()
        assert await soon(done)


@pytest.fixture
def blocked() -> Blocked:
    return Blocked()


@job(name="test_blocking.quick")
async def quick() -> str:
    return "quick"


async def test_many_blocked_steps_stop_neither_the_lease_nor_other_work(engines: Engines, blocked: Blocked) -> None:
    @job(name="test_blocking.block", queue="slow")
    def block() -> str:
        return blocked.wait()

    engine = await engines.open(queues={"slow": STEPS, "default": 2}, threads=STEPS, lease=1.0, reap_interval=0.05)
    watcher = await engines.open(queues={"other": 1}, lease=1.0, reap_interval=0.05)
    ear = Ear(watcher)
    handles = await engine.start_many(block.new() for _ in range(STEPS))
    await blocked.have_begun(STEPS)

    for _ in range(3):
        assert await (await engine.start(quick.new())).result(SOON_S) == "quick"
    await asyncio.sleep(1.2)  # longer than the lease.

    assert ear.all("claims.reclaimed") == []
    assert (await engine.totals())["running"] == STEPS
    blocked.gate.set()
    assert {await handle.result(SOON_S) for handle in handles} == {"through"}
    assert {(await handle.get()).epoch for handle in handles} == {1}


async def test_a_full_shared_pool_does_not_stop_the_engine(engine: Engine, blocked: Blocked) -> None:
    @job
    def in_thread() -> str:
        return "in thread"

    # Others fill the loop's default executor, which has 32 threads at most, and queue behind it.
    others = [asyncio.get_running_loop().run_in_executor(None, blocked.gate.wait, SOON_S) for _ in range(STEPS)]

    for work in (quick, in_thread):
        assert await (await engine.start(work.new())).result(SOON_S) is not None
    await soon(engine.close())

    assert not any(other.done() for other in others)
    blocked.gate.set()
    await soon(asyncio.gather(*others))


OVERDUE = """
@job(name="test_blocking.overdue", timeout=0.1)
async def overdue() -> str:
    say("blocked")
    time.sleep(600)  # no timer of this loop will ever fire.

async def main():
    async with Engine(URL, queues={"blocked": 1}, programs=[overdue], lease=0.3):
        say("open")
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


@job(name="test_blocking.overdue", timeout=0.1)
async def overdue() -> str:
    return "done elsewhere"


async def test_the_timeout_of_a_step_that_blocks_its_loop_is_enforced_by_others(engines: Engines) -> None:
    watcher = await engines.open(lease=0.3, reap_interval=0.05)
    ear = Ear(watcher)
    with process(OVERDUE, watcher.config.url) as worker:
        await worker.says("open")
        handle = await watcher.start(overdue.new(), queue="blocked")
        await worker.says("blocked")

        await ear.hears("claims.reclaimed", returned=1)

        assert len(await watcher.nodes()) == 2  # its process renews: it is the step that is overdue.
        instance = await handle.get()
        assert (instance.status, instance.crashes) == ("ready", 1)
        await engines.open(queues={"blocked": 1}, programs=[overdue])
        assert await handle.result(SOON_S) == "done elsewhere"
