"""How long what has ended is kept."""

from datetime import timedelta
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast import Engine, InstanceFailed, days, job
from tests.engine.given import SOON_S, Ear, Engines


async def _kept_s(engine: Engine, work: Any) -> float | None:
    handle = await engine.start(work.new())
    try:
        await handle.result(SOON_S)
    except InstanceFailed:
        pass
    instance = await handle.get()
    assert instance.finished_at is not None
    return None if instance.expires_at is None else (instance.expires_at - instance.finished_at).total_seconds()


async def test_what_has_ended_is_kept_for_a_day(engine: Engine) -> None:
    @job(max_attempts=1)
    async def work() -> None: ...

    @job(max_attempts=1)
    async def fail() -> None:
        raise ValueError

    assert await _kept_s(engine, work) == 86_400
    assert await _kept_s(engine, fail) == 86_400


@pytest.mark.parametrize(
    ("option", "own", "kept_s"),
    [
        (60, "left out", 60),
        (None, "left out", None),
        (60, 5, 5),
        (60, timedelta(minutes=2), 120),
        (60, None, None),
        (None, 5, 5),
        (days(2), "left out", 172_800),
    ],
    ids=str,
)
async def test_the_job_decides_before_the_engine(engines: Engines, option: Any, own: Any, kept_s: float | None) -> None:
    engine = await engines.open(retention=option)

    async def work() -> None: ...

    made = job(work) if own == "left out" else job(retention=own)(work)

    assert await _kept_s(engine, made) == kept_s


async def test_what_is_past_its_retention_is_deleted_and_nothing_else(engines: Engines) -> None:
    engine = await engines.open(prune_interval=0.02)
    ear = Ear(engine)

    @job(retention=0)
    async def brief() -> str:
        return "brief"

    @job
    async def lasting() -> None: ...

    kept = await engine.start(lasting.new())
    await kept.result(SOON_S)
    later = await engine.start(brief.new(), schedule_in=3_600)
    gone = await engine.start_many(brief.new() for _ in range(5))

    await eventually_async(lambda: sum(said["count"] for said in ear.all("retention.pruned")) == len(gone))

    assert {item.id for item in await engine.list()} == {kept.id, later.id}


async def test_a_cancelled_instance_is_deleted_in_its_time_and_a_retried_one_is_not(engines: Engines) -> None:
    engine = await engines.open(queues={}, retention=60)

    @job
    async def work() -> None: ...

    handle = await engine.start(work.new())
    cancelled = await handle.cancel()
    assert cancelled.finished_at is not None
    assert cancelled.expires_at == cancelled.finished_at + timedelta(seconds=60)

    retried = await handle.retry()

    assert (retried.finished_at, retried.expires_at) == (None, None)
