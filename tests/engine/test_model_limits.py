"""Limits: tokens are counted once for all processes, and no slot is held twice, whatever is written."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast import Context, Done, Engine, Machine, Next, RateLimit, Retry, hours, job, step
from tests.engine.given import SOON_S, Engines, Table, Tally, soon

A_FEW = {"rate_limits": {"api": "3/1d"}}
"""Three tokens, and no more while a test lasts."""


@job(name="test_model_limits.tick")
async def tick() -> None: ...


@job(name="test_model_limits.again")
async def again(ctx: Context) -> int | Retry:
    return ctx.attempt if ctx.attempt else Retry()


async def _stand(engine: Engine, **wanted: int) -> None:
    """Waits until the instances stand like this; a rate lets nobody through, so no event tells of it."""

    async def so() -> bool:
        return await engine.totals() == wanted

    await eventually_async(so)


async def test_processes_share_the_tokens_of_a_rate(engines: Engines) -> None:
    workers = [await engines.open(programs=[tick], **A_FEW) for _ in range(3)]

    await workers[0].start_many((tick.new() for _ in range(10)), rate_limit="api")

    await _stand(workers[0], done=3, blocked=7)


async def test_each_run_takes_tokens_and_none_comes_back(engines: Engines) -> None:
    engine = await engines.open(**A_FEW)

    twice = await engine.start(again.new(), rate_limit="api")
    assert await twice.result(SOON_S) == 1
    await (await engine.start(tick.new(), rate_limit="api")).result(SOON_S)
    late = await engine.start(tick.new(), rate_limit="api")

    await _stand(engine, done=2, blocked=1)
    assert (await late.get()).blocked_on == "r:api"


async def test_weights_count_and_those_behind_wait_their_turn(engines: Engines) -> None:
    engine = await engines.open(**A_FEW)
    await engine.pause_queue("default")
    for weight in (2, 2, 1):  # the third would fit, and does not overtake.
        await engine.start(tick.new(), rate_limit="api", weight=weight)
    await engine.resume_queue("default")

    await _stand(engine, done=1, blocked=2)


class Moves(Machine, name="test_model_limits.moves"):
    @step
    async def start(self, ctx: Any) -> Any:
        return Next(self.end, rate_limit="api", inline=True)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done()


async def test_running_ahead_goes_past_no_rate(engines: Engines) -> None:
    engine = await engines.open(**A_FEW)

    await engine.start_many(Moves() for _ in range(5))

    await _stand(engine, done=3, blocked=2)
    assert {found.step for found in await engine.list(status="blocked")} == {"end"}


async def test_the_database_refuses_a_slot_that_is_taken(engine: Engine, table: Table) -> None:
    begun, gate = Tally(), asyncio.Event()

    @job(name="test_model_limits.hold")
    async def hold() -> None:
        begun.add()
        await gate.wait()

    first = await engine.start(hold.new(), concurrency_key="k")
    await begun.reaches(1)
    second = await engine.start(hold.new(), concurrency_key="k")
    await _stand(engine, running=1, blocked=1)

    take = "UPDATE {instances} SET status = 'running', node = 'another', slot = 0, blocked_on = NULL WHERE id = ?"
    with pytest.raises(Exception, match=r"(?i)unique"):
        await asyncio.to_thread(table.query, take, second.id)

    assert (begun.count, table.seen(first.id, "slot")) == (1, 0)
    gate.set()
    for handle in (first, second):
        await soon(handle.result())


@pytest.mark.parametrize(
    ("written", "read", "burst_max"),
    [
        ("100/s", RateLimit(100, 1), 100),
        ("5/m", RateLimit(5, timedelta(minutes=1)), 5),
        ("5/250ms", RateLimit(5, 0.25), 5),
        ("1000/h burst 50", RateLimit(1_000, hours(1), burst=50), 50),
        ("10/d", RateLimit(10, 86_400), 10),
        ({"allowed": 2, "period": "3s"}, RateLimit(2, 3), 2),
    ],
    ids=str,
)
def test_a_rate_is_written_in_several_ways(written: Any, read: RateLimit, burst_max: float) -> None:
    limit = Engine("sqlite://", rate_limits={"api": written}).config.rate_limits["api"]

    assert (limit.allowed, limit.period_s, limit.burst_max) == (read.allowed, read.period_s, burst_max)
