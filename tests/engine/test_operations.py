"""What an operator may do to an instance and to a queue."""

import asyncio
import threading
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast import Cancel, Engine, InstanceCancelled, InstanceFailed, job
from outlast.errors import ConfigError, IllegalMove, InstanceQuarantined, NotFound
from tests.engine.given import SOON_S, Ear, Engines, Table, Tally, soon

NOBODY = "0190a2b3-0000-7000-8000-000000000000"


@job(name="test_operations.noop")
async def noop() -> str:
    return "ran"


@job(name="test_operations.end_as", max_attempts=1)
async def end_as(status: str) -> Any:
    if status == "failed":
        raise ValueError("no")
    return Cancel("no") if status == "cancelled" else "fine"


class Running:
    """Jobs that run until they are let go, one on the loop and one on a thread."""

    def __init__(self) -> None:
        self.begun = Tally()
        self.cancelled = Tally()
        self.gate = threading.Event()
        self.loop = asyncio.get_running_loop()

        @job
        async def on_loop() -> None:
            self.begun.add()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.add()
                raise

        @job
        def on_thread() -> str:
            self.loop.call_soon_threadsafe(self.begun.add)
            self.gate.wait(SOON_S)
            return "too late"

        self.on_loop = on_loop
        self.on_thread = on_thread


@pytest.fixture
async def running() -> Running:
    return Running()


@pytest.mark.parametrize("kind", ["scheduled", "ready"])
async def test_what_has_not_begun_is_cancelled_and_never_runs(engine: Engine, kind: str) -> None:
    await engine.pause_queue("default")
    handle = await engine.start(noop.new(), schedule_in=3600 if kind == "scheduled" else None)
    assert (await handle.get()).status == kind

    instance = await handle.cancel("not needed")

    assert (instance.status, instance.attempt, instance.result) == ("cancelled", 0, None)
    assert instance.error is not None
    assert (instance.error["type"], instance.error["message"]) == ("Cancel", "not needed")
    assert instance.finished_at is not None
    await engine.resume_queue("default")
    with pytest.raises(InstanceCancelled, match="not needed"):
        await handle.result(SOON_S)


async def test_the_code_of_a_cancelled_instance_is_cancelled(engine: Engine, running: Running, table: Table) -> None:
    handle = await engine.start(running.on_loop.new())
    await running.begun.reaches(1)

    instance = await handle.cancel("stop")

    assert instance.status == "cancelled"
    await running.cancelled.reaches(1)
    assert table.seen(handle.id, "commits") == 0  # nothing of the step was written.
    assert await (await engine.start(noop.new())).result(SOON_S) == "ran"


async def test_another_engine_cancels_what_runs_here(engines: Engines, running: Running) -> None:
    worker = await engines.open(lease=30)
    other = await engines.open(queues={})
    handle = await worker.start(running.on_loop.new())
    await running.begun.reaches(1)

    await other.cancel(handle.id)

    await running.cancelled.reaches(1)
    with pytest.raises(InstanceCancelled):
        await handle.result(SOON_S)


async def test_a_def_runs_on_after_a_cancel_and_is_not_heard(engine: Engine, running: Running, table: Table) -> None:
    ear = Ear(engine)
    handle = await engine.start(running.on_thread.new())
    await running.begun.reaches(1)

    await handle.cancel("stop")

    await ear.hears("step.abandoned")
    running.gate.set()
    assert engine._crew is not None
    threads = engine._crew.threads
    await eventually_async(lambda: threads.stuck == 0)
    instance = await handle.get()
    assert (instance.status, instance.result, table.seen(handle.id, "commits")) == ("cancelled", None, 0)


async def test_a_late_commit_of_a_cancelled_instance_is_refused(engine: Engine, table: Table) -> None:
    ear, begun, gate = Ear(engine), Tally(), asyncio.Event()

    @job
    async def deaf() -> str:
        begun.add()
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        return "too late"

    handle = await engine.start(deaf.new())
    await begun.reaches(1)
    await handle.cancel()
    gate.set()

    await ear.hears("claim.stale", id=handle.id)
    instance = await handle.get()
    assert (instance.status, instance.result, table.seen(handle.id, "commits")) == ("cancelled", None, 0)


async def test_an_instance_that_vanished_under_its_step_is_forgotten(engine: Engine, table: Table) -> None:
    ear, begun, gate = Ear(engine), Tally(), asyncio.Event()

    @job
    async def work() -> None:
        begun.add()
        await gate.wait()

    handle = await engine.start(work.new())
    await begun.reaches(1)
    waiting = asyncio.create_task(handle.result())
    table.delete(handle.id)
    gate.set()

    await ear.hears("claim.stale", id=handle.id)
    with pytest.raises(NotFound):
        await soon(waiting)
    assert engine._crew is not None
    assert engine._crew.committer.holds() == set()
    assert await (await engine.start(noop.new())).result(SOON_S) == "ran"


async def test_cancelling_again_changes_nothing(engine: Engine) -> None:
    handle = await engine.start(noop.new(), schedule_in=3600)
    first = await handle.cancel("first")

    second = await handle.cancel("second")

    assert second == first


@pytest.mark.parametrize("status", ["done", "failed"])
async def test_what_has_ended_cannot_be_cancelled(engine: Engine, status: str) -> None:
    handle = await _ended(engine, status)

    with pytest.raises(IllegalMove, match=f"ended as '{status}'") as caught:
        await handle.cancel()

    assert caught.value.status == status
    assert (await handle.get()).status == status


async def test_a_quarantined_instance_can_be_cancelled_and_retried(engine: Engine, table: Table) -> None:
    for move in ("cancel", "retry"):
        await engine.pause_queue("default")
        handle = await engine.start(end_as.new(status="done"))
        table.poke(handle.id, state="{}")
        await engine.resume_queue("default")
        with pytest.raises(InstanceQuarantined, match="status"):
            await handle.result(SOON_S)
        assert (await handle.get()).status == "quarantined"

        if move == "cancel":
            assert (await handle.cancel()).status == "cancelled"
        else:
            table.poke(handle.id, state='{"status":"done"}')
            await handle.retry()
            assert await handle.result(SOON_S) == "fine"


async def test_nobody_cannot_be_moved(engine: Engine) -> None:
    for call in (engine.cancel, engine.retry, engine.delete, engine.get):
        with pytest.raises(NotFound, match=NOBODY):
            await call(NOBODY)


async def test_what_is_no_id_is_refused(engine: Engine) -> None:
    wrong: list[Any] = ["", "7", "not-an-id", NOBODY + "0", NOBODY.replace("-", ""), 7, None, "'; --"]

    for id in wrong:
        for call in (engine.cancel, engine.retry, engine.delete, engine.get):
            with pytest.raises(ConfigError, match="an instance id looks like"):
                await call(id)
        with pytest.raises(ConfigError, match="an instance id looks like"):
            engine.handle(id)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_retry_runs_it_again_with_all_its_attempts(engine: Engine, table: Table, status: str) -> None:
    handle = await _ended(engine, status)
    table.poke(handle.id, state='{"status":"done"}', crashes=3)

    instance = await handle.retry()

    assert (instance.attempt, instance.crashes) == (0, 0)
    assert await handle.result(SOON_S) == "fine"


async def test_what_is_done_or_live_cannot_be_retried(engine: Engine, running: Running) -> None:
    done = await _ended(engine, "done")
    scheduled = await engine.start(noop.new(), schedule_in=3600)
    runs = await engine.start(running.on_loop.new())
    await running.begun.reaches(1)

    for handle, status in ((done, "done"), (scheduled, "scheduled"), (runs, "running")):
        with pytest.raises(IllegalMove, match=f"is '{status}'; only failed, ") as caught:
            await handle.retry()
        assert caught.value.status == status
    await runs.cancel()


async def test_what_runs_cannot_be_deleted(engine: Engine, running: Running) -> None:
    handle = await engine.start(running.on_loop.new())
    await running.begun.reaches(1)

    with pytest.raises(IllegalMove, match="is running; cancel it before deleting it"):
        await engine.delete(handle.id)

    await handle.cancel()
    await engine.delete(handle.id)
    with pytest.raises(NotFound):
        await handle.get()


@pytest.mark.parametrize("status", ["scheduled", "ready", "done", "failed", "cancelled"])
async def test_all_else_can_be_deleted(engine: Engine, status: str) -> None:
    if status in ("scheduled", "ready"):
        await engine.pause_queue("default")
        handle: Any = await engine.start(noop.new(), schedule_in=3600 if status == "scheduled" else None)
    else:
        handle = await _ended(engine, status)

    await engine.delete(handle.id)

    assert await engine.totals() == {}


async def test_a_pause_holds_for_all_engines_and_outlives_them(engines: Engines) -> None:
    async with engines.new(queues={}) as gone:
        await gone.pause_queue("default")
        await gone.pause_queue("default")
    worker = await engines.open(programs=[noop])
    other = await engines.open(queues={})
    handle = await other.start(noop.new())
    aside = await other.start(noop.new(), queue="side")

    counts = {queue.name: queue for queue in await worker.queues()}
    assert counts["default"].paused_at is not None
    assert (counts["default"].ready, counts["side"].ready, counts["side"].paused_at) == (1, 1, None)
    assert (await handle.get()).status == "ready"

    await other.resume_queue("default")

    assert await handle.result(SOON_S) == "ran"
    assert (await aside.get()).status == "ready"
    assert all(queue.paused_at is None for queue in await worker.queues())


async def test_resuming_wakes_a_worker_elsewhere_without_polling(engines: Engines) -> None:
    worker = await engines.open()
    other = await engines.open(queues={})
    await other.pause_queue("default")
    handle = await worker.start(noop.new())

    await other.resume_queue("default")

    assert await handle.result(SOON_S) == "ran"


async def test_what_runs_goes_on_through_a_pause(engine: Engine) -> None:
    begun, gate = Tally(), asyncio.Event()

    @job
    async def work() -> str:
        begun.add()
        await gate.wait()
        return "through"

    handle = await engine.start(work.new())
    await begun.reaches(1)
    await engine.pause_queue("default")
    gate.set()

    assert await handle.result(SOON_S) == "through"


async def test_a_queue_that_was_never_used_can_be_paused_and_resumed(engine: Engine) -> None:
    await engine.resume_queue("unheard")
    await engine.pause_queue("unheard")
    assert [queue.name for queue in await engine.queues()] == ["unheard"]

    await engine.resume_queue("unheard")

    assert await engine.queues() == []


async def test_counts_and_nodes_tell_what_is_going_on(engines: Engines, running: Running) -> None:
    engine = await engines.open()
    await engine.start(running.on_loop.new())
    await running.begun.reaches(1)
    await engine.start(noop.new(), schedule_in=3600)
    await engine.start(noop.new(), queue="side")
    await _ended(engine, "failed")

    assert await engine.totals() == {"running": 1, "scheduled": 1, "ready": 1, "failed": 1}
    counts = {queue.name: queue for queue in await engine.queues()}
    assert (counts["default"].running, counts["default"].scheduled, counts["default"].ready) == (1, 1, 0)
    oldest_s = counts["side"].oldest_ready_s
    assert oldest_s is not None
    assert 0 <= oldest_s < SOON_S
    (node,) = await engine.nodes()
    assert (node.running, node.lease_s) == (1, 30.0)
    assert node.started_at <= node.renewed_at
    await soon(engine.cancel((await engine.list(status="running"))[0].id))


async def _ended(engine: Engine, status: str) -> Any:
    handle = await engine.start(end_as.new(status=status))
    try:
        await handle.result(SOON_S)
    except (InstanceFailed, InstanceCancelled):
        pass
    assert (await handle.get()).status == status
    return handle
