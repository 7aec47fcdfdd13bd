"""Waiting: what a step sees of its inbox and of its children, and what it uses up."""

from typing import Any

import pytest

from outlast import (
    Await,
    Cancel,
    Child,
    Done,
    Engine,
    InstanceCancelled,
    InstanceFailed,
    Machine,
    Next,
    ResultTimeout,
    Retry,
    Spawn,
    Stop,
    job,
    step,
)
from tests.engine.given import SOON_S, Ear, Engines, Table

SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    SEEN.clear()


class Inbox(Machine, name="test_model_waits.inbox"):
    """Waits in its own step, and looks through the whole inbox."""

    runs: int = 0

    @step
    async def start(self, ctx: Any) -> Any:
        self.runs += 1
        if not any(signal.name == "go" for signal in ctx.signals):
            return Await("go")
        return Next(self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done([self.runs, [[signal.name, signal.payload] for signal in ctx.signals]])


async def test_a_step_may_wait_in_itself_and_read_its_inbox(engine: Engine) -> None:
    handle = await engine.start(Inbox())
    await _parked(engine, handle.id)
    await engine.signal(handle, "other", [1])
    await engine.signal(handle, "go")

    assert await handle.result(SOON_S) == [2, [["other", [1]]]], "what it awaited was used up, and the rest stays"


class Looks(Machine, name="test_model_waits.looks"):
    """Waits for any of two names, and tells what it was shown."""

    @step
    async def start(self, ctx: Any) -> Any:
        return Await(["a", "b"], then=self.look)

    @step
    async def look(self, ctx: Any) -> Any:
        seen = [[signal.id, signal.name, signal.payload] for signal in ctx.signals]
        return Done([seen, [signal.name for signal in ctx.awaited]])


async def test_a_step_sees_all_that_was_sent_and_which_of_it_was_awaited(engine: Engine) -> None:
    await engine.pause_queue("default")
    handle = await engine.start(Looks())
    for name, payload in (("other", {"x": 1}), ("b", None), ("b", "again")):
        assert await engine.signal(handle, name, payload) == "delivered"
    sent = [signal.id for signal in await engine.signals(handle)]
    await engine.resume_queue("default")

    seen, awaited = await handle.result(SOON_S)

    assert seen == [[sent[0], "other", {"x": 1}], [sent[1], "b", None], [sent[2], "b", "again"]]
    assert awaited == ["b", "b"]


class Uses(Machine, name="test_model_waits.uses"):
    how: str
    seen: list[int] = []

    @step
    async def start(self, ctx: Any) -> Any:
        return Await("go", then=self.act)

    @step
    async def act(self, ctx: Any) -> Any:
        self.seen = [*self.seen, len(ctx.awaited)]
        first = len(self.seen) == 1
        match self.how:
            case "next, by the queue":
                return Next(self.end, inline=False)
            case "spawn":
                return Spawn([], then=self.end)
            case "retry" if first:
                return Retry()
            case "await" if first:
                return Await(["go", "more"], then=self.act)
            case "done":
                return Done()
            case "stop":
                return Stop("enough")
            case "cancel":
                return Cancel("enough")
        return Next(self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        self.seen = [*self.seen, sum(signal.name != "other" for signal in ctx.signals)]
        return Done()


@pytest.mark.parametrize(
    ("how", "seen"),
    [
        ("next", [1, 0]),
        ("next, by the queue", [1, 0]),
        ("spawn", [1, 0]),
        ("retry", [1, 1, 0]),
        ("await", [1, 2, 0]),
        ("done", [1]),
        ("stop", [1]),
        ("cancel", None),  # it keeps the state that was committed before.
    ],
)
async def test_what_was_awaited_is_used_up_when_the_step_goes_on_or_ends(engine: Engine, how: str, seen: Any) -> None:
    handle = await engine.start(Uses(how=how))
    await _parked(engine, handle.id)
    await engine.signal(handle, "other")
    await engine.signal(handle, "go")
    if how == "await":
        await _parked(engine, handle.id, commits=2)
        await engine.signal(handle, "more")

    try:
        await handle.result(SOON_S)
    except (InstanceFailed, InstanceCancelled):
        assert how in ("stop", "cancel")

    assert seen is None or (await handle.get()).state["seen"] == seen
    assert [signal.name for signal in await engine.signals(handle) if signal.consumed_at is None] == ["other"]


class Pack(Machine, name="test_model_waits.pack"):
    size: int = 3
    timeout: float | None = None
    runs: list[int] = []

    @step
    async def start(self, ctx: Any) -> Any:
        late = bool(self.runs) and self.runs[-1] == len(ctx.awaited)  # nothing new: the timeout woke it.
        self.runs = [*self.runs, len(ctx.awaited)]
        if late or len(ctx.awaited) == self.size:
            return Done([self.runs, [signal.payload for signal in ctx.awaited], ctx.attempt])
        return Await("vote", timeout=self.timeout if ctx.awaited else None)


async def test_a_pack_is_gathered_with_one_run_for_each_signal(engine: Engine) -> None:
    handle = await engine.start(Pack())
    for number in range(3):
        await _parked(engine, handle.id, commits=number + 1)
        await engine.signal(handle, "vote", number)

    assert await handle.result(SOON_S) == [[0, 1, 2, 3], [0, 1, 2], 0]


async def test_a_timeout_wakes_with_the_part_of_the_pack_that_came(engine: Engine) -> None:
    handle = await engine.start(Pack(timeout=0.05))
    await _parked(engine, handle.id)
    await engine.signal(handle, "vote", "only")

    assert await handle.result(SOON_S) == [[0, 1, 1], ["only"], 0]


async def test_a_key_that_is_not_held_is_no_address(engine: Engine) -> None:
    handle = await engine.start(Looks(), correlation_key="k", correlation_scope="none")
    await _parked(engine, handle.id)

    assert await engine.signal("k", "a") in ("no_target", "ended")
    assert await engine.signals(handle) == []
    assert await engine.signal(handle.id, "a") == "delivered"
    await handle.result(SOON_S)


async def test_who_waits_in_vain_hears_that_it_is_parked(engine: Engine) -> None:
    handle = await engine.start(Looks())
    await _parked(engine, handle.id)

    with pytest.raises(ResultTimeout) as caught:
        await handle.result(timeout=0)

    assert caught.value.status == "waiting"


@job(name="test_model_waits.echo", max_attempts=1)
async def echo(word: str) -> str:
    if not word:
        raise ValueError("nothing to say")
    return word


class Lets(Machine, name="test_model_waits.lets"):
    how: str

    @step
    async def start(self, ctx: Any) -> Any:
        if self.how == "signals":
            return Await("go", then=self.end)
        return Spawn([Child(echo.new(word="child"), queue="side")], then=self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done("woken")


@pytest.mark.parametrize("how", ["signals", "children"])
async def test_what_waits_lets_others_have_its_key(engines: Engines, how: str) -> None:
    engine = await engines.open(queues={"default": 5, "side": 5}, poll_interval=0.05)
    await engine.pause_queue("side")
    parent = await engine.start(Lets(how=how), concurrency_key="k")
    await _parked(engine, parent.id)

    other = await engine.start(echo.new(word="other"), concurrency_key="k")

    assert await other.result(SOON_S) == "other"
    assert (await parent.get()).status == "waiting"
    await engine.signal(parent, "go")
    await engine.resume_queue("side")
    assert await parent.result(SOON_S) == "woken"


class Twice(Machine, name="test_model_waits.twice"):
    @step
    async def start(self, ctx: Any) -> Any:
        return Spawn([echo.new(word="a"), echo.new(word="")], then=self.again)

    @step
    async def again(self, ctx: Any) -> Any:
        for one in await ctx.children.all():
            SEEN.append([one.program, one.status, one.state, one.result, one.error and one.error["type"]])
        return Spawn([echo.new(word="later")], then=self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        rounds = [ctx.children, ctx.children.of_round(1), ctx.children.of_round(None)]
        return Done([[one.result for one in await some.all()] for some in rounds])


async def test_a_step_sees_its_children_of_one_round_or_of_all(engine: Engine) -> None:
    handle = await engine.start(Twice())

    assert await handle.result(SOON_S) == [["later"], ["a", None], ["a", None, "later"]]

    assert SEEN == [
        ["test_model_waits.echo", "done", {"word": "a"}, "a", None],
        ["test_model_waits.echo", "failed", {"word": ""}, None, "ValueError"],
    ]
    found = await engine.children(handle)
    assert {one.parent for one in found} == {handle.id}
    assert [(one.round, one.child) for one in found] == [(1, 0), (1, 1), (2, 0)]
    assert [(await engine.get(one.id)).status for one in found] == ["done", "failed", "done"]


class Fails(Machine, name="test_model_waits.fails"):
    @step
    async def start(self, ctx: Any) -> Any:
        return Spawn([echo.new(word="a")], then=self.wait)

    @step
    async def wait(self, ctx: Any) -> Any:
        return Await("go", then=self.look)

    @step
    async def look(self, ctx: Any) -> Any:
        SEEN.append([len(ctx.signals), len(ctx.awaited), len(await ctx.children.all())])
        raise ValueError

    async def on_error(self, error: Exception, ctx: Any) -> Any:
        SEEN.append([len(ctx.signals), len(ctx.awaited), len(await ctx.children.all())])
        return Stop(error)


async def test_a_handler_sees_neither_signals_nor_children(engine: Engine) -> None:
    handle = await engine.start(Fails())
    await _parked(engine, handle.id, commits=2)
    await engine.signal(handle, "go")

    with pytest.raises(InstanceFailed):
        await handle.result(SOON_S)

    assert SEEN == [[1, 1, 1], [0, 0, 0]]


class Counts(Machine, name="test_model_waits.counts"):
    seen: list[int] = []

    @step
    async def start(self, ctx: Any) -> Any:
        if ctx.attempt < 2:
            return Retry()
        self.seen = [ctx.attempt]
        return Await("go", then=self.woken)

    @step
    async def woken(self, ctx: Any) -> Any:
        if ctx.attempt < 1:
            return Retry()
        self.seen = [*self.seen, ctx.attempt]
        return Spawn([], then=self.joined)

    @step
    async def joined(self, ctx: Any) -> Any:
        if ctx.attempt < 3:
            return Retry()
        return Done([*self.seen, ctx.attempt])


async def test_attempts_begin_anew_with_each_step_and_stay_at_the_end(engine: Engine) -> None:
    handle = await engine.start(Counts())
    await _parked(engine, handle.id, commits=3)
    await engine.signal(handle, "go")

    assert await handle.result(SOON_S) == [2, 1, 3]
    assert (await handle.get()).attempt == 3


async def _parked(engine: Engine, id: str, *, commits: int = 1) -> None:
    """Waits until the instance has ended its n-th step and waits for a signal or for children."""
    table = Table(engine.config.url)
    ear = Ear(engine)
    while (table.seen(id, "status"), table.seen(id, "commits")) != ("waiting", commits):
        await ear.hears("commit.stop", count=len(ear.all("commit.stop")) + 1)
