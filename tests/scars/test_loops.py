"""Peers' bugs with their own loops: one stumbles, and work stands still though every process lives."""

import asyncio
from typing import Any, cast

import pytest

from outlast import Engine, job
from outlast._runtime.doorbell import Doorbell
from outlast.errors import InstanceCancelled
from tests.engine.given import SOON_S, Ear, Engines, Spoilt, Table, Tally, own_connection, soon
from tests.objects.given import Gate


class Work:
    """A job that notes its executions, and waits for its gate."""

    def __init__(self) -> None:
        self.begun, self.cancelled = Tally(), Tally()
        self.gate = asyncio.Event()
        self.gate.set()

        @job(name="scars.work")
        async def work(number: int = 0) -> int:
            self.begun.add(number)
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled.add(number)
                raise
            return number

        self.job = work


@pytest.fixture
async def work() -> Work:
    return Work()


async def test_dispatch_error_strands_batch(engines: Engines, work: Work, table: Table) -> None:
    """DBOS-py #546: of a batch that was taken from the queue one could not be started; the loop ended there, and
    the rest of the batch stayed PENDING for ever.

    Here one that cannot be started is given back, and the others have their turn.
    """
    engine = await engines.open()
    await engine.pause_queue("default")
    handles = await engine.start_many(work.job.new(number=number) for number in range(6))
    executor = cast(Any, engine._crew).executor
    real, broken = executor.start, [handles[0].id]

    def start(claim: Any, slot: Any) -> bool:
        if claim.id in broken:
            broken.remove(claim.id)
            raise LookupError("this one cannot be resolved")
        return bool(real(claim, slot))

    executor.start = start
    await engine.resume_queue("default")

    assert [await handle.result(SOON_S) for handle in handles[1:]] == [1, 2, 3, 4, 5]
    assert {table.seen(handle.id, "epoch") for handle in handles[1:]} == {1}, "they were not given back with it"
    engine._crew.doorbell.work(["default"])  # type: ignore[union-attr]
    assert await handles[0].result(SOON_S) == 0
    assert table.seen(handles[0].id, "crashes") == 0


async def test_stalled_fetch_hangs_loop(engines: Engines, work: Work) -> None:
    """River #1251, #1255: a fetch that never came back hung its producer, which fetched nothing any more.

    Here a statement has its time, on the server and here; then the loop says that the database is away, and asks
    again.
    """
    engine = await engines.open(statement_timeout=1.0)
    ear, take = Ear(engine), Gate(engine._store.claims, "take")
    take.hold(before=True)
    handle = await engine.start(work.job.new(number=7))
    await take.reached()
    with own_connection(engine.config.url) as locking:
        if engine.config.url.startswith("sqlite"):
            locking.execute("BEGIN IMMEDIATE")
        else:  # in a thread: it may wait for a transaction that goes on with this loop.
            await asyncio.to_thread(locking.execute, "LOCK TABLE outlast.instances")
        take.open()
        await ear.hears("store.away", loop="lane default")

    assert await handle.result(SOON_S) == 7


async def test_cancel_dropped_in_poll_mode(engines: Engines, work: Work) -> None:
    """River #1245: a cancel was a notification; a client that polls heard of none, and ran the job to its end.

    Here a cancel is a change of the row, and each process compares what it runs with its rows. Nobody rings here.
    """
    work.gate.clear()
    worker = await engines.open(doorbell="local", renew_interval=0.05)
    other = await engines.open(doorbell="local", queues={})
    handle = await worker.start(work.job.new())
    await work.begun.reaches(1)

    await other.cancel(handle.id)

    await work.cancelled.reaches(1)
    with pytest.raises(InstanceCancelled):
        await other.handle(handle.id).result(SOON_S)


async def test_ack_for_deleted_row_retries_forever(engine: Engine, work: Work, table: Table) -> None:
    """oban-py's producer kept acknowledgements until they were written; one for a row that was deleted never was,
    and was sent again with each batch from then on.

    Here an outcome that finds no row is stale: told once, and forgotten.
    """
    ear, commit = Ear(engine), Spoilt(engine._store.claims, "commit")
    work.gate.clear()
    handle = await engine.start(work.job.new())
    await work.begun.reaches(1)
    table.delete(handle.id)
    work.gate.set()
    await ear.hears("claim.stale", id=handle.id)

    for number in range(3):
        assert await (await engine.start(work.job.new(number=number))).result(SOON_S) == number

    committer = cast(Any, engine._crew).committer
    await soon(committer.settled())
    assert (committer.unflushed, committer.holds()) == (0, set())
    assert len(ear.all("claim.stale")) == 1
    assert commit.calls == 4


async def test_stalled_recovery_job_itself_stalls(engines: Engines, work: Work, table: Table) -> None:
    """Procrastinate #1408: the recovery of stalled jobs is a job; when its own worker died, it was stalled itself,
    and its lock kept others from being started.

    Here recovery is no work of any queue: it goes on while all slots are taken and all queues are paused.
    """
    work.gate.clear()
    engine = await engines.open(queues={"default": 1}, threads=1, reap_interval=0.02)
    ear = Ear(engine)
    holder = await engine.start(work.job.new())
    await work.begun.reaches(1)
    await engine.pause_queue("default")
    lost = await engine.start(work.job.new(number=1))
    table.poke(lost.id, status="running", node="a node that died", epoch=1)

    await ear.hears("claims.reclaimed", returned=1)

    assert ((await lost.get()).status, (await holder.get()).status) == ("ready", "running")
    work.gate.set()
    await engine.resume_queue("default")
    assert await lost.result(SOON_S) == 1


async def test_listener_half_open_queue_stuck(engines: Engines, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oban #842: the connection that listens was dead and nobody noticed; the queue waited for a notification for
    ever.

    Here a notification is a hint: a queue that hears nothing looks by itself. The bells of these are deaf.
    """
    monkeypatch.setattr(Doorbell, "heard", lambda doorbell, message: None)
    engine = await engines.open(poll_interval=0.05, max_poll_interval=0.1)
    submitter = await engines.open(queues={})
    assert await (await engine.start(work.job.new(number=1))).result(SOON_S) == 1

    handle = await submitter.start(work.job.new(number=2))
    await work.begun.reaches(2)

    assert await engine.handle(handle.id).result(SOON_S) == 2
