"""Signals and children as users meet them."""

from typing import Any

import pytest

from outlast import Await, Child, Done, Engine, InstanceCancelled, Machine, Spawn, Stop, job, step
from outlast.errors import ChildrenFailed, ConfigError, NotFound, ValueTooLarge
from tests.engine.given import SOON_S, Ear, Engines


class Waits(Machine, name="test_signals.waits"):
    timeout: float | None = None

    @step
    async def start(self, ctx: Any) -> Any:
        return Await(["go", "stop"], then=self.end, timeout=self.timeout)

    @step
    async def end(self, ctx: Any) -> Any:
        names = [signal.name for signal in ctx.awaited]
        return Stop("told to") if "stop" in names else Done([signal.payload for signal in ctx.awaited])


@pytest.mark.parametrize("by", ["handle", "id", "key", "instance"])
async def test_a_signal_finds_its_target(engine: Engine, by: str) -> None:
    handle = await engine.start(Waits(), correlation_key="k")
    target = {"handle": handle, "id": handle.id, "key": "k", "instance": await handle.get()}[by]

    assert await engine.signal(target, "go", {"a": 1}) == "delivered"

    assert await handle.result(SOON_S) == [{"a": 1}]
    assert await engine.signal(target, "go") == "ended"


async def test_a_key_that_looks_like_an_id_is_found(engine: Engine) -> None:
    key = "0190a2b3-0000-7000-8000-000000000000"
    handle = await engine.start(Waits(), correlation_key=key)

    assert await engine.signal(key, "go", 1) == "delivered"
    assert await handle.result(SOON_S) == [1]


async def test_nobody_is_told_and_nothing_is_stored(engine: Engine) -> None:
    assert await engine.signal("nobody", "go") == "no_target"
    with pytest.raises(NotFound):
        await engine.signals("nobody")
    for target in (7, None, "", " x"):
        with pytest.raises(ConfigError):
            await engine.signal(target, "go")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a signal's name"):
        await engine.signal("nobody", "")


async def test_a_payload_too_large_is_refused(engines: Engines) -> None:
    engine = await engines.open(payload_bytes_max=1_024)
    handle = await engine.start(Waits())

    with pytest.raises(ValueTooLarge, match="the payload of signal 'go'"):
        await engine.signal(handle, "go", "x" * 2_000)


async def test_the_first_of_a_dedup_key_counts(engine: Engine) -> None:
    handle = await engine.start(Waits())

    assert await handle.signal("note", 1, dedup_key="d") == "delivered"
    assert await handle.signal("note", 2, dedup_key="d") == "duplicate"
    assert await handle.signal("go", 3) == "delivered"

    assert await handle.result(SOON_S) == [3]
    left = [(signal.name, signal.payload) for signal in await engine.signals(handle) if signal.consumed_at is None]
    assert left == [("note", 1)], "what nobody read is listed as undelivered"


async def test_a_timeout_wakes_with_nothing_and_is_told(engine: Engine) -> None:
    heard: list[dict[str, Any]] = []
    engine.events.listen(lambda name, fields: heard.append(fields) if name == "awaits.timed_out" else None)

    assert await (await engine.start(Waits(timeout=0.05))).result(SOON_S) == []

    assert [fields["count"] for fields in heard] == [1]


async def test_what_is_parked_holds_no_slot(engines: Engines) -> None:
    engine = await engines.open(queues={"default": 1})
    parked = [await engine.start(Waits()) for _ in range(5)]
    for handle in parked:
        assert await engine.signal(handle, "go", handle.id) == "delivered"

    assert [await handle.result(SOON_S) for handle in parked] == [[handle.id] for handle in parked]


async def test_a_start_and_its_signal_are_one(engine: Engine) -> None:
    first, one = await engine.signal_or_start(Waits(), "note", 1, correlation_key="k", schedule_in=60)
    second, two = await engine.signal_or_start(Waits(), "note", 2, correlation_key="k")

    assert (one, two, first) == ("delivered", "delivered", second)
    assert [signal.payload for signal in await engine.signals("k")] == [1, 2]


@job(name="test_signals.child", max_attempts=1)
async def child(number: int) -> int:
    if number < 0:
        raise ValueError("below nothing")
    return number


class Fan(Machine, name="test_signals.fan"):
    numbers: list[int]
    nested: bool = False
    need: int | None = None

    @step
    async def start(self, ctx: Any) -> Any:
        if self.nested:
            return Spawn([Fan(numbers=self.numbers), Fan(numbers=self.numbers)], then=self.add_up)
        return Spawn((child.new(number=number) for number in self.numbers), then=self.add_up, need=self.need)

    @step
    async def add_up(self, ctx: Any) -> Any:
        return Done(sum(await ctx.children.results()))


async def test_a_parent_goes_on_when_all_have_ended(engine: Engine) -> None:
    assert await (await engine.start(Fan(numbers=[1, 2, 3]))).result(SOON_S) == 6
    assert await (await engine.start(Fan(numbers=[]))).result(SOON_S) == 0
    assert await (await engine.start(Fan(numbers=[1, 2], nested=True))).result(SOON_S) == 6


async def test_many_children_are_read_page_by_page(engine: Engine) -> None:
    parent = await engine.start(Fan(numbers=list(range(2_500))))

    assert await parent.result(30) == sum(range(2_500))

    seen = [one.result async for one in engine.all_children(parent)]
    assert seen == list(range(2_500))
    assert [one.child for one in await engine.children(parent, limit=3)] == [0, 1, 2]


class Looks(Machine, name="test_signals.looks"):
    @step
    def start(self, ctx: Any) -> Any:
        return Spawn([child.new(number=1), Child(child.new(number=-1), priority=-1)], then=self.look)

    @step
    def look(self, ctx: Any) -> Any:
        found = [(one.number, one.status, one.result, one.error and one.error["message"]) for one in ctx.children]
        return Spawn([child.new(number=7)], then=self.end) if ctx.attempt < 0 else Done(found)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done()


async def test_a_plain_def_goes_through_its_children(engine: Engine) -> None:
    found = await (await engine.start(Looks())).result(SOON_S)

    assert found == [[0, "done", 1, None], [1, "failed", None, "below nothing"]]


class Strict(Machine, name="test_signals.strict"):
    @step
    async def start(self, ctx: Any) -> Any:
        return Spawn([child.new(number=1), child.new(number=-1)], then=self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done(await ctx.children.results())

    async def on_error(self, error: Exception, ctx: Any) -> Any:
        return Done([type(error).__name__, str(error)[:45], isinstance(error, ChildrenFailed)])


async def test_a_parent_may_insist(engine: Engine) -> None:
    found = await (await engine.start(Strict())).result(SOON_S)

    assert found == ["ChildrenFailed", "1 of 2 children did not end well; the first i", True]


class Tree(Machine, name="test_signals.tree"):
    depth: int

    @step
    async def start(self, ctx: Any) -> Any:
        if not self.depth:
            return Await("never", then=self.end)
        return Spawn([Tree(depth=self.depth - 1), Tree(depth=self.depth - 1)], then=self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done()


async def test_a_tree_is_cancelled_whole(engine: Engine) -> None:
    ear = Ear(engine)
    root = await engine.start(Tree(depth=2))
    await ear.hears("step.stop", count=7)
    await engine._running().committer.settled()

    await root.cancel("enough", tree=True)

    assert await engine.totals() == {"cancelled": 7}
    with pytest.raises(InstanceCancelled, match="enough"):
        await root.result(SOON_S)


class Race(Machine, name="test_signals.race"):
    need: int | None = None
    timeout: float | None = None

    @step
    async def start(self, ctx: Any) -> Any:
        children = [child.new(number=1), Child(child.new(number=2), schedule_in=60)]
        return Spawn(children, then=self.end, need=self.need, timeout=self.timeout)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done([one.status async for one in ctx.children])


async def test_enough_children_or_enough_time(engine: Engine) -> None:
    assert await (await engine.start(Race(need=1))).result(SOON_S) == ["done", "scheduled"]
    assert await (await engine.start(Race(timeout=1.5))).result(SOON_S) == ["done", "scheduled"]
