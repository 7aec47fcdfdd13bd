"""Nothing that can run waits for a poll: these engines poll once a minute."""

import asyncio
from typing import Any

import pytest

from outlast import Await, Child, Done, Engine, Machine, Next, Spawn, Stop, job, step
from tests.engine.given import SOON_S, Ear, Engines, Spoilt


@job(name="test_wakes.echo")
async def echo() -> str:
    return "x"


class Parent(Machine, name="test_wakes.parent"):
    key: str | None = None
    delay_s: float | None = None

    @step
    async def start(self, ctx: Any) -> Any:
        child = Child(echo.new(), concurrency_key=self.key) if self.key else Child(echo.new(), schedule_in=self.delay_s)
        return Spawn([child], then=self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done(await ctx.children.results())


async def test_trouble_of_the_database_while_children_are_read_is_no_failure_of_the_step(engine: Engine) -> None:
    children = Spoilt(engine._store.instances, "children")
    children.refuse(2)

    assert await (await engine.start(Parent(delay_s=0.01))).result(SOON_S) == ["x"]

    assert children.calls == 3


@pytest.mark.parametrize("options", [{"key": "q"}, {"delay_s": 0.05}])
async def test_children_that_are_not_ready_at_once(engine: Engine, options: dict[str, Any]) -> None:
    assert await (await engine.start(Parent(**options))).result(SOON_S) == ["x"]


async def test_a_parent_with_a_key(engine: Engine) -> None:
    assert await (await engine.start(Parent(delay_s=0.01), concurrency_key="k")).result(SOON_S) == ["x"]


class Waits(Machine, name="test_wakes.waits"):
    @step
    async def start(self, ctx: Any) -> Any:
        return Await("go", then=self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done(len(ctx.awaited))


async def test_a_park_with_a_key_whose_signal_was_there_first(engine: Engine) -> None:
    await engine.pause_queue("default")
    handle = await engine.start(Waits(), concurrency_key="k")
    await engine.signal(handle, "go")
    await engine.resume_queue("default")

    assert await handle.result(SOON_S) == 1


@pytest.mark.parametrize("how", ["cancel", "delete"])
async def test_a_parent_with_a_key_whose_child_is_taken_away(engines: Engines, how: str) -> None:
    engine = await engines.open()
    ear = Ear(engine)
    handle = await engine.start(Parent(delay_s=3600.0), concurrency_key="k")
    await ear.hears("instance.started", parent=handle.id)
    (child,) = await engine.children(handle)

    await (engine.cancel if how == "cancel" else engine.delete)(child.id)

    await ear.hears("instance.ended", id=handle.id)


@pytest.mark.parametrize("turns", range(4))
async def test_a_signal_that_meets_a_claim_hides_nothing_from_it(engine: Engine, turns: int) -> None:
    """On Postgres the claim skips the row while the signal has it locked, and would not look again."""
    for number in range(15):
        handle = await engine.start(Waits())
        for _ in range(turns * number % 7):
            await asyncio.sleep(0)
        assert await engine.signal(handle, "go") == "delivered"

        assert await handle.result(SOON_S) == 1


class Poller(Machine, name="test_wakes.poller"):
    rounds: int = 0

    @step
    async def start(self, ctx: Any) -> Any:
        self.rounds += 1
        if any(signal.name == "stop" for signal in ctx.signals):
            return Done(self.rounds)
        return Stop("never saw it") if self.rounds > 2_000 else Next(self.start)


async def test_a_machine_that_goes_round_sees_its_signals(engine: Engine) -> None:
    ear = Ear(engine)
    handle = await engine.start(Poller())
    await ear.hears("commit.stop", count=3)

    await engine.signal(handle, "stop")

    assert await handle.result(SOON_S) < 2_000


async def test_a_key_that_nobody_can_be_reached_by_has_no_target(engine: Engine) -> None:
    handle = await engine.start(Waits(), correlation_key="k", correlation_scope="none")
    assert await engine.signal("k", "go") == "no_target"

    await engine.signal(handle, "go")
    await handle.result(SOON_S)

    assert await engine.signal("k", "go") == "ended"
