"""Jobs and machines paused, resumed and run again with other data; and what hears of a pause."""

import asyncio
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast import Await, Done, Engine, Machine, Next, Queue, Spawn, Stop, job, step, upgrade
from outlast.errors import ArgumentError, ConfigError, IllegalMove, NotFound
from outlast.testing import by_hand, drain
from tests.engine.given import SOON_S, Ear, Engines, soon

UNKNOWN = "0190a2b3-0000-7000-8000-000000000000"
SEEN: list[Any] = []
GATES: dict[Any, asyncio.Event] = {}
BEGUN: dict[Any, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()
    GATES.clear()
    BEGUN.clear()


def gate(name: Any) -> asyncio.Event:
    return GATES.setdefault(name, asyncio.Event())


def begun(name: Any) -> asyncio.Event:
    return BEGUN.setdefault(name, asyncio.Event())


async def pass_gate(name: Any) -> None:
    SEEN.append(name)
    begun(name).set()
    await gate(name).wait()


@job(name="acts.gated", max_attempts=1)
async def gated(n: int, bad: bool = False) -> int:
    await pass_gate(n)
    if bad:
        raise ValueError("bad")
    return n


class Walk(Machine, name="acts.walk", run_ahead=True):
    cents: int = 0
    seen: list[str] = []

    @step
    async def start(self, ctx: Any) -> Any:
        await pass_gate("start")
        return Next(self.middle)

    @step
    async def middle(self, ctx: Any) -> Any:
        await pass_gate("middle")
        if self.cents < 0:
            return Stop("too little")
        return Next(self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        SEEN.append("end")
        return Done(self.cents)


async def is_held(engine: Engine, id: str) -> None:
    async def blocked() -> bool:
        instance = await engine.get(id)
        return (instance.status, instance.blocked_on) == ("blocked", None)

    await eventually_async(blocked, what="a held instance")


@pytest.mark.parametrize("heard", [True, False], ids=["told at once", "told by its own commit"])
async def test_a_machine_that_runs_ahead_stops_at_the_next_step(engines: Engines, heard: bool) -> None:
    worker = await engines.open(programs=[Walk])
    other = worker if heard else await engines.open(queues={}, doorbell="local")
    ear = Ear(worker)
    handle = await worker.start(Walk(cents=5))
    await soon(begun("start").wait())

    await other.pause(handle.id)
    if heard:
        run = worker._crew.executor.running[handle.id]  # type: ignore[union-attr]
        await eventually_async(lambda: run.paused, what="a run that has heard of the pause")
    gate("start").set()
    gate("middle").set()
    await is_held(worker, handle.id)

    found = await worker.get(handle.id)
    assert (found.step, found.attempt, found.crashes) == ("middle", 0, 0)
    assert SEEN == ["start"]
    if heard:
        assert ear.all("run_ahead.yielded", reason="paused")
    await worker.resume(handle.id)
    assert await handle.result(SOON_S) == 5
    assert SEEN == ["start", "middle", "end"]


async def test_a_job_that_runs_may_end(engine: Engine) -> None:
    handle = await engine.start(gated.new(n=1))
    await soon(begun(1).wait())

    paused = await handle.pause("later")
    gate(1).set()

    assert (paused.status, paused.pause_reason) == ("running", "later")
    assert await handle.result(SOON_S) == 1
    assert (await handle.get()).paused_at is None


async def test_claims_that_wait_for_a_slot_are_given_back(engines: Engines) -> None:
    worker = await engines.open(queues={"default": Queue(1, prefetch=5)}, programs=[gated])
    first, second, third = await worker.start_many(gated.new(n=n) for n in (1, 2, 3))
    await soon(begun(1).wait())

    async def claimed() -> bool:
        return [(await handle.get()).status for handle in (second, third)] == ["running", "running"]

    await eventually_async(claimed, what="claims that wait for a slot")
    await second.pause()
    await is_held(worker, second.id)
    for n in (1, 2, 3):
        gate(n).set()

    assert [await handle.result(SOON_S) for handle in (first, third)] == [1, 3]
    assert SEEN == [1, 3]
    await second.resume()
    assert await second.result(SOON_S) == 2


async def test_a_concurrency_key_is_free_while_its_instance_is_paused(engines: Engines) -> None:
    worker = await engines.open(programs=[gated])
    await worker.pause_queue("default")
    first = await worker.start(gated.new(n=1), concurrency_key="k")
    second = await worker.start(gated.new(n=2), concurrency_key="k")

    async def admitted() -> bool:
        return (await first.get()).status == "ready"

    await eventually_async(admitted, what="one that was let in")
    gate(2).set()
    await first.pause()
    await worker.resume_queue("default")

    assert await second.result(SOON_S) == 2
    await is_held(worker, first.id)
    gate(1).set()
    await first.resume()
    assert await first.result(SOON_S) == 1


@pytest.mark.parametrize("limited", [False, True])
async def test_resuming_wakes_a_worker_elsewhere_without_polling(engines: Engines, limited: bool) -> None:
    other = await engines.open(queues={})
    handle = await other.start(gated.new(n=1), concurrency_key="k" if limited else None)
    await other.pause(handle.id)
    worker = await engines.open(programs=[gated])
    gate(1).set()

    await other.resume(handle.id)

    assert await worker.handle(handle.id).result(SOON_S) == 1


async def test_nobody_is_told_as_such(engine: Engine) -> None:
    for call in (engine.pause, engine.resume, engine.retry, engine.acts):
        with pytest.raises(NotFound, match=UNKNOWN):
            await call(UNKNOWN)
        with pytest.raises(ConfigError):
            await call("nonsense")


# Retries.


async def test_a_job_is_run_again_with_other_arguments() -> None:
    async with by_hand(programs=[gated]) as engine:
        gate(1).set()
        gate(2).set()
        handle = await engine.start(gated.new(n=1, bad=True))
        await drain(engine)

        with pytest.raises(ConfigError, match="has one step only"):
            await handle.retry(from_step="run")
        with pytest.raises(ConfigError, match="result_of is for workflows"):
            await handle.retry(result_of={"run": 1})
        with pytest.raises(ArgumentError, match="no argument 'm'"):
            await handle.retry(input={"m": 1})
        await handle.retry(input={"n": 2, "bad": False}, by="ann")
        await drain(engine)

        assert await handle.result(10) == 2
        (act,) = await engine.acts(handle.id)
        assert act.detail == {"input": {"before": {"n": 1, "bad": True}, "after": {"n": 2, "bad": False}}}


@pytest.mark.parametrize(
    ("changes", "seen", "result"),
    [
        ({"state": {"cents": 7}}, ["middle", "end"], 7),
        ({"from_step": "end"}, ["end"], -1),
        ({"from_step": "start", "state": {"cents": 8}}, ["start", "middle", "end"], 8),
    ],
)
async def test_a_machine_goes_on_with_another_step_and_state(
    store_url: str, changes: Any, seen: list[str], result: int
) -> None:
    async with by_hand(url=store_url, programs=[Walk]) as engine:
        gate("start").set()
        gate("middle").set()
        handle = await engine.start(Walk(cents=-1))
        await drain(engine)
        assert (await handle.get()).status == "failed"
        SEEN.clear()

        await handle.retry(**changes)
        await drain(engine)

        assert await handle.result(10) == result
        assert SEEN == seen
        (act,) = await engine.acts(handle.id)
        if "from_step" in changes:
            assert act.detail["step"] == {"before": "middle", "after": changes["from_step"]}
        if "state" in changes:
            assert act.detail["state"]["before"]["cents"] == -1


async def test_what_a_machine_cannot_take_is_refused() -> None:
    async with by_hand(programs=[Walk]) as engine:
        gate("start").set()
        gate("middle").set()
        handle = await engine.start(Walk(cents=-1))
        await drain(engine)
        before = await handle.get()

        with pytest.raises(ConfigError, match=r"has no step 'midle'; did you mean 'middle'"):
            await handle.retry(from_step="midle")
        with pytest.raises(ArgumentError, match=r"has no field 'cent'; did you mean 'cents'"):
            await handle.retry(state={"cent": 1})
        with pytest.raises(ArgumentError, match="cents"):
            await handle.retry(state={"cents": "many"})
        with pytest.raises(ConfigError, match="is a machine: change its fields with state"):
            await handle.retry(input={"cents": 1})

        assert await handle.get() == before
        assert await engine.acts(handle.id) == []


async def test_state_that_cannot_be_read_is_mended(store_url: str) -> None:
    class Old(Machine, name="acts.mended"):
        amount: str

        @step
        async def start(self, ctx: Any) -> Any:
            return Stop("no")

    class New(Machine, name="acts.mended", version=2):
        amount: int

        @upgrade(from_version=1)
        @staticmethod
        def _to_2(state: dict[str, Any]) -> dict[str, Any]:
            return {"amount": int(state["amount"])}

        @step
        async def start(self, ctx: Any) -> Any:
            return Done(self.amount)

    async with by_hand(url=store_url, programs=[Old]) as engine:
        handle = await engine.start(Old(amount="much"))
    async with by_hand(url=store_url, programs=[New]) as engine:
        await drain(engine)
        assert (await engine.get(handle.id)).status == "quarantined"
        await engine.retry(handle.id, state={"amount": 5})
        await drain(engine)
        assert await engine.handle(handle.id).result(10) == 5


async def test_a_machine_s_children_and_waits_stay_as_they_are_when_it_is_paused(store_url: str) -> None:
    class Parent(Machine, name="acts.parent"):
        @step
        async def start(self, ctx: Any) -> Any:
            return Spawn([gated.new(n=1)], then=self.joined)

        @step
        async def joined(self, ctx: Any) -> Any:
            return Await("go", then=self.end)

        @step
        async def end(self, ctx: Any) -> Any:
            return Done(ctx.awaited[0].payload)

    gate(1).set()
    async with by_hand(url=store_url, programs=[Parent, gated]) as engine:
        handle = await engine.start(Parent())
        await handle.pause()
        await drain(engine)
        await handle.resume()
        for _ in range(3):
            await drain(engine)
            await handle.pause()
            await handle.resume()
        await handle.pause()
        await handle.signal("go", 7)
        await drain(engine)
        assert (await handle.get()).status == "blocked"
        await handle.resume()
        await drain(engine)
        assert await handle.result(10) == 7


class Asking(Machine, name="acts.asking"):
    @step
    async def start(self, ctx: Any) -> Any:
        return Await("answer", then=self.hear)

    @step
    async def hear(self, ctx: Any) -> Any:
        return Done([signal.payload for signal in ctx.awaited])


@pytest.mark.parametrize(("from_step", "answers"), [(None, []), ("start", [7])])
async def test_a_machine_cancelled_while_it_waited_waits_again_only_from_the_step_that_began_it(
    store_url: str, from_step: str | None, answers: list[int]
) -> None:
    async with by_hand(url=store_url, programs=[Asking]) as engine:
        handle = await engine.start(Asking())
        await drain(engine)
        await handle.cancel()

        await handle.retry(from_step=from_step)
        await drain(engine)
        if from_step is not None:
            assert (await handle.get()).status == "waiting"
            await handle.signal("answer", 7)
            await drain(engine)

        assert await handle.result(10) == answers


async def test_a_retry_of_what_runs_is_refused(engine: Engine) -> None:
    handle = await engine.start(gated.new(n=1))
    await soon(begun(1).wait())

    with pytest.raises(IllegalMove, match=r"is 'running'; only .* can be retried; cancel it first"):
        await handle.retry(input={"n": 2})

    gate(1).set()
    assert await handle.result(SOON_S) == 1
