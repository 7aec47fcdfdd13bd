"""Limits as users meet them: keys, gates, rates, fair shares, and what is refused where it is written."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from outlast import Child, Done, Engine, InstanceFailed, Machine, Next, RateLimit, Spawn, job, step
from outlast.errors import ConfigError
from tests.engine.given import SOON_S, Engines

RUNNING: Counter[str] = Counter()
PEAK: Counter[str] = Counter()
BEGUN: list[float] = []
TURNS: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    RUNNING.clear()
    PEAK.clear()
    BEGUN.clear()


@job(name="test_limits.busy")
async def busy(key: str) -> None:
    RUNNING[key] += 1
    PEAK[key] = max(PEAK[key], RUNNING[key])
    for _ in range(3):
        await asyncio.sleep(0)
    RUNNING[key] -= 1


@job(name="test_limits.tick")
async def tick() -> None:
    BEGUN.append(time.monotonic())


async def test_a_key_runs_one_at_a_time_and_others_beside_it(engines: Engines) -> None:
    engine = await engines.open(queues={"default": 50}, concurrency_limits={"gpu": 3})
    handles = []
    for number in range(20):
        handles.append(await engine.start(busy.new(key="one"), concurrency_key="one"))
        handles.append(await engine.start(busy.new(key="gpu"), concurrency_key="gpu"))
        handles.append(await engine.start(busy.new(key=f"gpu {number % 2}"), concurrency_key=("gpu", number % 2)))

    for handle in handles:
        await handle.result(SOON_S)

    assert PEAK["one"] == 1
    assert max(PEAK["gpu"], PEAK["gpu 0"], PEAK["gpu 1"]) <= 3


async def test_many_processes_share_a_gate(engines: Engines) -> None:
    workers = [await engines.open(queues={"default": 20}, concurrency_limits={"gpu": 2}) for _ in range(3)]
    handles = await workers[0].start_many((busy.new(key="gpu") for _ in range(60)), concurrency_key="gpu")

    for handle in handles:
        await handle.result(SOON_S)

    assert PEAK["gpu"] <= 2


class Keyed(Machine, name="test_limits.keyed"):
    seen: list[Any] = []

    async def note(self, ctx: Any) -> None:
        found = await ENGINE[0].get(ctx.id)
        self.seen = [*self.seen, found.concurrency_key]

    @step
    async def start(self, ctx: Any) -> Any:
        await self.note(ctx)
        return Next(self.kept)

    @step
    async def kept(self, ctx: Any) -> Any:
        await self.note(ctx)
        return Next(self.switched, concurrency_key=("other", 1))

    @step
    async def switched(self, ctx: Any) -> Any:
        await self.note(ctx)
        return Next(self.released, concurrency_key=None)

    @step
    async def released(self, ctx: Any) -> Any:
        await self.note(ctx)
        return Done(self.seen)


ENGINE: list[Engine] = []


async def test_a_key_is_kept_switched_and_given_up_between_steps(engine: Engine) -> None:
    ENGINE[:] = [engine]

    handle = await engine.start(Keyed(), concurrency_key="first")

    assert await handle.result(SOON_S) == ["first", "first", "other[1]", None]


async def test_a_rate_holds(engines: Engines) -> None:
    engine = await engines.open(queues={"default": 50}, rate_limits={"api": "200/s burst 5"}, poll_interval=0.05)
    handles = await engine.start_many((tick.new() for _ in range(45)), rate_limit="api")

    for handle in handles:
        await handle.result(SOON_S)

    assert BEGUN[-1] - BEGUN[0] >= 40 / 200 * 0.95


async def test_wrong_rates_are_refused_where_they_are_written(engines: Engines) -> None:
    engine = await engines.open(rate_limits={"api": RateLimit(10, burst=5)})

    with pytest.raises(ConfigError, match=r"no rate limit is called 'apy'.*api"):
        await engine.start(tick.new(), rate_limit="apy")
    with pytest.raises(ConfigError, match=r"weight 6 can never be let through by rate limit 'api', whose burst is 5"):
        await engine.start(tick.new(), rate_limit=("api", "eu"), weight=6)
    with pytest.raises(ConfigError, match="no rate limit is called 'apy'"):
        await engine.start_many([tick.new()], rate_limit="apy")
    assert await engine.totals() == {}


class Wrong(Machine, name="test_limits.wrong"):
    how: str

    @step
    async def start(self, ctx: Any) -> Any:
        if self.how == "next":
            return Next(self.end, rate_limit="apy")
        return Spawn([Child(tick.new(), rate_limit="apy")], then=self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done()


@pytest.mark.parametrize("how", ["next", "spawn"])
async def test_a_step_that_names_a_wrong_rate_fails_and_does_not_stall(engines: Engines, how: str) -> None:
    engine = await engines.open(rate_limits={"api": "5/s"})

    with pytest.raises(InstanceFailed, match="no rate limit is called 'apy'"):
        await (await engine.start(Wrong(how=how))).result(SOON_S)


async def test_a_rate_that_another_process_declares_is_known(engines: Engines) -> None:
    await engines.open(rate_limits={"api": "100/s"}, programs=[tick])
    web = await engines.open(queues={})

    await (await web.start(tick.new(), rate_limit="api")).result(SOON_S)


class Paced(Machine, name="test_limits.paced"):
    times: list[float] = []

    @step
    async def start(self, ctx: Any) -> Any:
        self.times = [*self.times, time.monotonic()]
        return Next(self.start, rate_limit="slow") if len(self.times) < 4 else Done(self.times)


async def test_each_step_may_wait_for_a_rate(engines: Engines) -> None:
    engine = await engines.open(rate_limits={"slow": "20/s burst 1"}, poll_interval=0.05)

    times = await (await engine.start(Paced())).result(SOON_S)

    assert times[-1] - times[0] >= 2 / 20 * 0.9


@job(name="test_limits.turn")
async def turn(tenant: str) -> None:
    TURNS.append(tenant)


async def test_a_small_tenant_does_not_wait_for_a_big_one(engine: Engine) -> None:
    TURNS.clear()
    await engine.pause_queue("default")
    await engine.start_many((turn.new(tenant="big") for _ in range(500)), fair_key="big")
    small = await engine.start_many((turn.new(tenant="small") for _ in range(5)), fair_key="small")
    await engine.resume_queue("default")

    await asyncio.gather(*(handle.result(SOON_S) for handle in small))

    waited_for = len(TURNS) - TURNS[::-1].index("small") - 5
    assert waited_for < 250, "the five had their turns before most of the five hundred"


async def test_cancelling_who_waits_lets_the_next_one_try(engine: Engine) -> None:
    await engine.pause_queue("default")
    first, second = [await engine.start(tick.new(), concurrency_key="a") for _ in range(2)]

    await engine.cancel(first.id)
    await engine.resume_queue("default")

    await second.result(SOON_S)


@job(name="test_limits.ran")
async def ran() -> str:
    return "ran"


class OfOneKey(Machine, name="test_limits.of_one_key"):
    @step
    async def start(self, ctx: Any) -> Any:
        return Spawn([Child(ran.new(), concurrency_key="k") for _ in range(2)], then=self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done(await ctx.children.results())


async def test_a_parent_may_wait_for_children_of_its_own_key(engine: Engine) -> None:
    """Who waits holds no slot: else it would wait for those who wait for it."""
    handle = await engine.start(OfOneKey(), concurrency_key="k")

    assert await handle.result(SOON_S) == ["ran", "ran"]
