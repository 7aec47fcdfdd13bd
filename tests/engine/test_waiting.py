"""Waiting for the end, from anywhere."""

import asyncio
from typing import Any

import pytest

from outlast import Cancel, Engine, InstanceCancelled, InstanceFailed, ResultTimeout, job
from outlast.errors import ConfigError, EngineStateError, InstanceQuarantined, NotFound
from tests.engine.given import SOON_S, Engines, Spoilt, Table, Tally, soon

NOBODY = "0190a2b3-0000-7000-8000-000000000000"


class Gated:
    """A job that runs until it is let go."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun = Tally()

        @job(max_attempts=1)
        async def gated(end: str) -> Any:
            self.begun.add()
            await self.gate.wait()
            if end == "failed":
                raise ValueError("no")
            return Cancel("no") if end == "cancelled" else "yes"

        self.job = gated


@pytest.fixture
def gated() -> Gated:
    return Gated()


async def test_a_second_engine_waits_for_the_result(engines: Engines, gated: Gated) -> None:
    worker = await engines.open()
    other = await engines.open(queues={})
    handle = await worker.start(gated.job.new(end="done"))
    waiting = asyncio.create_task(other.handle(handle.id).result(SOON_S))
    await gated.begun.reaches(1)

    gated.gate.set()

    assert await waiting == "yes"


async def test_work_of_a_submitter_is_done_by_a_worker(engines: Engines) -> None:
    @job
    async def double(number: int) -> int:
        return 2 * number

    await engines.open(programs=[double])
    submitter = await engines.open(queues={})

    for number in range(3):
        assert await (await submitter.start(double.new(number=number))).result(SOON_S) == 2 * number


async def test_a_timeout_harms_nothing_and_can_be_called_again(engine: Engine, gated: Gated) -> None:
    handle = await engine.start(gated.job.new(end="done"))
    await gated.begun.reaches(1)

    with pytest.raises(ResultTimeout, match="status: running") as caught:
        await handle.result(timeout=0.05)
    assert (caught.value.id, caught.value.status) == (handle.id, "running")
    assert isinstance(caught.value, TimeoutError)

    gated.gate.set()
    assert await handle.result(SOON_S) == "yes"


async def test_a_timeout_of_zero_is_a_look(engine: Engine, gated: Gated) -> None:
    handle = await engine.start(gated.job.new(end="done"))

    with pytest.raises(ResultTimeout):
        await handle.result(timeout=0)
    gated.gate.set()
    await handle.result(SOON_S)

    assert await handle.result(timeout=0) == "yes"


@pytest.mark.parametrize("timeout", [-1, "soon", float("nan")])
async def test_a_wrong_timeout_is_refused(engine: Engine, timeout: Any) -> None:
    with pytest.raises(ConfigError, match="timeout"):
        await engine.handle(NOBODY).result(timeout)


async def test_fifty_waiters_all_get_the_answer(engines: Engines, gated: Gated) -> None:
    worker = await engines.open()
    other = await engines.open(queues={})
    handle = await worker.start(gated.job.new(end="done"))
    waiting = [
        asyncio.create_task(engine.handle(handle.id).result(SOON_S)) for engine in (worker, other) for _ in range(25)
    ]
    await gated.begun.reaches(1)

    gated.gate.set()

    assert await asyncio.gather(*waiting) == ["yes"] * 50


@pytest.mark.parametrize(("end", "error"), [("failed", InstanceFailed), ("cancelled", InstanceCancelled)])
async def test_those_who_wait_hear_of_a_bad_end(
    engines: Engines, gated: Gated, end: str, error: type[Exception]
) -> None:
    worker = await engines.open()
    other = await engines.open(queues={})
    handle = await worker.start(gated.job.new(end=end))
    here = asyncio.create_task(handle.result(SOON_S))
    there = asyncio.create_task(other.handle(handle.id).result(SOON_S))
    await gated.begun.reaches(1)

    gated.gate.set()

    for waiting in (here, there):
        with pytest.raises(error, match="no"):
            await waiting


async def test_those_who_wait_hear_of_a_cancellation(engines: Engines) -> None:
    @job
    async def never() -> None: ...

    engine = await engines.open(queues={})
    other = await engines.open(queues={})
    handle = await engine.start(never.new())
    here = asyncio.create_task(handle.result(SOON_S))
    there = asyncio.create_task(other.handle(handle.id).result(SOON_S))
    await asyncio.sleep(0)

    await engine.cancel(handle.id, "not needed")

    for waiting in (here, there):
        with pytest.raises(InstanceCancelled, match="not needed"):
            await waiting


async def test_a_quarantined_instance_answers_at_once(engine: Engine, table: Table) -> None:
    @job
    async def take(number: int) -> int:
        return number

    await engine.pause_queue("default")
    handle = await engine.start(take.new(number=1))
    table.poke(handle.id, state='{"number":"one"}')
    await engine.resume_queue("default")

    with pytest.raises(InstanceQuarantined, match="number"):
        await handle.result(SOON_S)


async def test_an_instance_that_never_was_is_not_found(engine: Engine) -> None:
    with pytest.raises(NotFound, match=NOBODY):
        await engine.handle(NOBODY).result(SOON_S)


async def test_a_deleted_instance_is_not_found(engine: Engine) -> None:
    @job
    async def noop() -> None: ...

    handle = await engine.start(noop.new())
    await handle.result(SOON_S)
    await engine.delete(handle.id)

    with pytest.raises(NotFound):
        await handle.result(SOON_S)


async def test_those_who_wait_hear_of_a_deletion(engines: Engines) -> None:
    @job
    async def never() -> None: ...

    engine = await engines.open(queues={})
    handle = await engine.start(never.new())
    waiting = asyncio.create_task(handle.result())
    await asyncio.sleep(0.01)

    await engine.delete(handle.id)

    with pytest.raises(NotFound):
        await soon(waiting)


async def test_closing_the_engine_ends_the_wait(engines: Engines) -> None:
    @job
    async def never() -> None: ...

    engine = engines.new(queues={})
    await engine.open()
    handle = await engine.start(never.new())
    waiting = [asyncio.create_task(handle.result()) for _ in range(3)]
    await asyncio.sleep(0.01)

    await soon(engine.close())

    for one in waiting:
        with pytest.raises(EngineStateError, match="closed"):
            await soon(one)


async def test_a_wait_survives_a_database_that_was_away(engines: Engines, gated: Gated) -> None:
    engine = await engines.open()
    handle = await engine.start(gated.job.new(end="done"))
    await gated.begun.reaches(1)
    ended = Spoilt(engine._store.instances, "ended")
    ended.refuse(2)

    waiting = asyncio.create_task(handle.result(SOON_S))
    await soon(ended.spoilt.wait())
    gated.gate.set()

    assert await waiting == "yes"


async def test_a_cancelled_wait_leaves_nothing_behind(engine: Engine, gated: Gated) -> None:
    handle = await engine.start(gated.job.new(end="done"))
    waiting = asyncio.create_task(handle.result())
    await gated.begun.reaches(1)

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert engine._crew is not None
    assert engine._crew.waiters._waiting == {}
    gated.gate.set()
    assert await handle.result(SOON_S) == "yes"
