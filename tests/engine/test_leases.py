"""Signs of life: who loses its work, and who does not."""

import asyncio
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.freezing import freeze
from harness.waiting import eventually_async
from outlast import Engine, job
from outlast.errors import StoreUnavailable
from tests.engine.given import SOON_S, Ear, Engines, Table, Tally, soon
from tests.engine.workers import process

LEASE_S = 0.3
SHORT = {"lease": LEASE_S, "reap_interval": 0.05}

BLOCKER = """
@job(name="test_leases.block")
async def block(seconds: float) -> str:
    say("blocked")
    time.sleep(seconds)  # the whole event loop stands still.
    return "done"

async def main():
    async with Engine(URL, queues={"blocked": 1}, programs=[block], lease=0.3, reap_interval=0.05) as engine:
        say("open")
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


@job(name="test_leases.block")
async def block(seconds: float) -> str:
    raise AssertionError("only the other process runs this")


async def test_acceptance_a_blocked_event_loop_loses_nothing(engines: Engines) -> None:
    """The loop stands still for three leases: no reclaim, one execution."""
    watcher = await engines.open(**SHORT)
    ear = Ear(watcher)
    with process(BLOCKER.replace(f"lease={LEASE_S}", "lease=1.0"), watcher.config.url) as worker:
        await worker.says("open")
        handle = await watcher.start(block.new(seconds=3.0), queue="blocked")

        assert await handle.result(SOON_S) == "done"

        instance = await handle.get()
        assert (instance.epoch, instance.crashes, instance.attempt) == (1, 0, 0)
        assert ear.all("claims.reclaimed") == []
        worker.popen.communicate("\n")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
async def test_what_a_dead_or_frozen_process_held_is_taken_over(
    engines: Engines, table: Table, end: signal.Signals
) -> None:
    watcher = await engines.open(**SHORT)
    ear = Ear(watcher)
    with process(BLOCKER, watcher.config.url) as worker:
        await worker.says("open")
        handle = await watcher.start(block.new(seconds=0.5), queue="blocked")
        await worker.says("blocked")
        if end is signal.SIGSTOP:
            url = watcher.config.url
            freeze(worker.popen.pid, Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:") else None)
        else:
            worker.popen.kill()

        await ear.hears("claims.reclaimed", returned=1)

        instance = await handle.get()
        assert (instance.status, instance.crashes, instance.attempt) == ("ready", 1, 0)
        if end is signal.SIGSTOP:  # it wakes up, ends the step, and may not write.
            worker.popen.send_signal(signal.SIGCONT)
            await worker.says("blocked")  # given back, it took it again, under a new name.
            assert await handle.result(SOON_S) == "done"
            assert table.seen(handle.id, "commits") == 1
            assert table.seen(handle.id, "epoch") >= 2  # a busy machine may take a lease so short away once more.
            worker.popen.communicate("\n")


class Work:
    """A job that notes its executions and waits."""

    def __init__(self) -> None:
        self.begun = Tally()
        self.cancelled = Tally()
        self.gate = asyncio.Event()

        @job(name="test_leases.work")
        async def work() -> int:
            turn = self.begun.add()
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled.add()
                raise
            return turn

        self.job = work


@pytest.fixture
def work() -> Work:
    return Work()


async def test_a_buried_node_stops_its_steps_and_comes_back_under_a_new_name(
    engines: Engines, work: Work, table: Table
) -> None:
    engine = await engines.open(lease=3.0, reap_interval=0.05)  # longer than any pause of a busy machine.
    ear = Ear(engine)
    handle = await engine.start(work.job.new())
    await work.begun.reaches(1)
    (before,) = await engine.nodes()

    table.bury_all()

    await ear.hears("node.buried", node=before.id)
    await work.cancelled.reaches(1)
    await work.begun.reaches(2)
    work.gate.set()
    assert await handle.result(SOON_S) == 2
    instance = await handle.get()
    assert (instance.crashes, instance.attempt, table.seen(handle.id, "commits")) == (1, 0, 1)
    (after,) = await engine.nodes()
    assert after.id != before.id
    assert await (await engine.start(work.job.new())).result(SOON_S) == 3


class Renewer:
    """A renewer whose database can be taken away."""

    def __init__(self, engine: Engine) -> None:
        self.away = threading.Event()
        self._real = engine._store.leases.renewer()
        engine._store.leases.renewer = lambda: self  # type: ignore[method-assign]

    def renew(self, node: str) -> bool:
        if self.away.is_set():
            raise StoreUnavailable("the connection was lost")
        return self._real.renew(node)

    def close(self) -> None:
        self._real.close()


async def test_a_lease_in_doubt_stops_the_steps_at_no_attempts_cost(engines: Engines, work: Work, table: Table) -> None:
    engine = engines.new(lease=LEASE_S, reap_interval=60, maintenance=False)
    ear, renewer = Ear(engine), Renewer(engine)
    async with engine:
        handle = await engine.start(work.job.new())
        await work.begun.reaches(1)

        renewer.away.set()

        await ear.hears("node.fenced")
        await work.cancelled.reaches(1)
        await eventually_async(lambda: table.seen(handle.id, "status") == "ready")
        assert (table.seen(handle.id, "attempt"), table.seen(handle.id, "crashes")) == (0, 0)

        work.gate.set()
        renewer.away.clear()
        assert await handle.result(SOON_S) == 2


async def test_nothing_is_begun_while_the_lease_is_in_doubt(engines: Engines, work: Work) -> None:
    engine = engines.new(lease=LEASE_S, maintenance=False, poll_interval=0.01, max_poll_interval=0.01)
    ear, renewer = Ear(engine), Renewer(engine)
    work.gate.set()
    async with engine:
        renewer.away.set()
        await ear.hears("node.fenced")

        handle = await engine.start(work.job.new())
        await asyncio.sleep(0.1)

        assert work.begun.count == 0
        assert (await handle.get()).status == "ready"
        renewer.away.clear()
        assert await handle.result(SOON_S) == 1


async def test_a_def_runs_on_while_the_lease_is_in_doubt_and_its_epoch_decides(engines: Engines, table: Table) -> None:
    engine = engines.new(lease=LEASE_S, maintenance=False)
    ear, renewer = Ear(engine), Renewer(engine)
    loop, begun, gate = asyncio.get_running_loop(), Tally(), threading.Event()

    @job
    def work() -> str:
        loop.call_soon_threadsafe(begun.add)
        gate.wait(SOON_S)
        return "kept"

    async with engine:
        handle = await engine.start(work.new())
        await begun.reaches(1)
        renewer.away.set()
        await ear.hears("node.fenced")
        gate.set()

        assert await handle.result(SOON_S) == "kept"
        assert begun.count == 1


async def test_a_new_name_is_known_to_the_database_before_it_is_used(
    engines: Engines, work: Work, table: Table
) -> None:
    # A row that names an unknown node belongs to nobody: anybody may take it, at once.
    engine = await engines.open(lease=LEASE_S, reap_interval=60, poll_interval=0.01, max_poll_interval=0.01)
    ear = Ear(engine)
    registering, go_on = asyncio.Event(), asyncio.Event()
    real = engine._store.leases.register

    async def slow(*args: Any) -> None:
        registering.set()
        await go_on.wait()
        await real(*args)

    engine._store.leases.register = slow  # type: ignore[method-assign]
    table.bury_all()
    await ear.hears("node.buried")
    await soon(registering.wait())

    handle = await engine.start(work.job.new())
    await asyncio.sleep(0.1)

    assert table.seen(handle.id, "status") == "ready"
    go_on.set()
    work.gate.set()
    assert await handle.result(SOON_S) == 1


async def test_a_long_step_under_a_healthy_lease_runs_once(engines: Engines, work: Work, table: Table) -> None:
    engine = await engines.open(lease=1.0, reap_interval=0.02)
    other = await engines.open(lease=1.0, reap_interval=0.02)
    ears = [Ear(engine), Ear(other)]
    handle = await engine.start(work.job.new())
    await work.begun.reaches(1)

    await asyncio.sleep(2.5)  # two and a half leases.
    work.gate.set()

    assert await handle.result(SOON_S) == 1
    assert (table.seen(handle.id, "epoch"), table.seen(handle.id, "crashes")) == (1, 0)
    assert all(ear.all("claims.reclaimed") == [] for ear in ears)
