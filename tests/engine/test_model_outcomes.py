"""What a step's outcome does to attempts, state and errors, whoever runs it."""

import asyncio
from typing import Any

import pytest

from outlast import Await, Done, Engine, InstanceFailed, Machine, Next, Retry, Spawn, Stop, job, step
from tests.engine.given import SOON_S, Ear, Engines, Table, soon

GATE: dict[str, asyncio.Event] = {}
ASKED: list[str] = []
TABLE: list[Table] = []


@pytest.fixture(autouse=True)
def _at_the_beginning(table: Table) -> None:
    GATE.update(begun=asyncio.Event(), go=asyncio.Event())
    ASKED.clear()
    TABLE[:] = [table]


class Held(Machine, name="test_model_outcomes.held"):
    word: str = "first"

    @step
    async def start(self, ctx: Any) -> Any:
        self.word = "changed"
        GATE["begun"].set()
        await GATE["go"].wait()
        return Done([self.word, ctx.attempt])

    async def on_error(self, error: Exception, ctx: Any) -> Any:
        ASKED.append(type(error).__name__)
        return Stop(error)


async def test_a_step_runs_outside_of_any_transaction(engine: Engine, table: Table) -> None:
    handle = await engine.start(Held())
    await soon(GATE["begun"].wait())

    # Its row, and with SQLite the whole file, would be locked.
    await soon(asyncio.to_thread(table.query, "UPDATE {instances} SET progress_note = 'free' WHERE id = ?", handle.id))
    assert table.seen(handle.id, "progress_note") == "free"

    GATE["go"].set()
    assert await handle.result(SOON_S) == ["changed", 0]


async def test_a_crash_runs_the_step_again_and_asks_no_handler(engines: Engines, table: Table) -> None:
    submitter = await engines.open(queues={})
    handle = await submitter.start(Held())
    table.poke(handle.id, status="running", node="nobody's", epoch=1)
    GATE["go"].set()

    await engines.open(programs=[Held])

    assert await handle.result(SOON_S) == ["changed", 0]
    found = await handle.get()
    assert (found.attempt, found.crashes, found.epoch, ASKED) == (0, 1, 2, [])


class Stubborn(Machine, name="test_model_outcomes.stubborn"):
    good_at: int

    @step
    async def start(self, ctx: Any) -> Any:
        if ctx.attempt < self.good_at:
            raise ValueError
        return Done(ctx.attempt)

    async def on_error(self, error: Exception, ctx: Any) -> Any:
        return Retry()


async def test_a_machine_has_as_many_attempts_as_it_likes(engine: Engine) -> None:
    assert await (await engine.start(Stubborn(good_at=30))).result(SOON_S) == 30


@job(name="test_model_outcomes.child")
async def child(number: Any = 0) -> None: ...


class Sloppy(Machine, name="test_model_outcomes.sloppy"):
    how: str
    thing: Any = None

    @step
    async def start(self, ctx: Any) -> Any:
        match self.how:
            case "a result":
                return Done({"thing": object()})
            case "the state":
                self.thing = object()
                return Next(self.end)
            case "the state at the end":
                self.thing = object()
                return Done()
            case "a child":
                return Spawn([child.new(number=object())], then=self.end)
            case "no names":
                return Await([], then=self.end)
            case "a delay":
                return Retry(-1)
            case "no such step":
                return Next(str(ctx.id and "nowhere"))
        return self.how

    @step
    async def end(self, ctx: Any) -> Any:
        return Done()

    async def on_error(self, error: Exception, ctx: Any) -> Any:
        ASKED.append(type(error).__name__)
        return Done("handled")


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("a result", "EncodingError"),
        ("the state", "EncodingError"),
        ("the state at the end", "EncodingError"),
        ("a child", "EncodingError"),
        ("no names", "ConfigError"),
        ("a delay", "ConfigError"),
        ("no such step", "DefinitionError"),
        ("no outcome at all", "DefinitionError"),
    ],
)
async def test_an_outcome_that_cannot_be_kept_is_an_error_of_the_step(engine: Engine, how: str, error: str) -> None:
    handle = await engine.start(Sloppy(how=how))

    assert await handle.result(SOON_S) == "handled"

    found = await handle.get()
    assert (ASKED, found.attempt, found.crashes, found.epoch) == ([error], 0, 0, 1)


class Leaves(Machine, name="test_model_outcomes.leaves"):
    @step
    async def start(self, ctx: Any) -> Any:
        raise SystemExit(3)

    async def on_error(self, error: Exception, ctx: Any) -> Any:
        ASKED.append(type(error).__name__)
        return Done("handled")


async def test_an_exit_within_a_step_fails_it_and_asks_no_handler(engine: Engine) -> None:
    with pytest.raises(InstanceFailed, match="SystemExit"):
        await (await engine.start(Leaves())).result(SOON_S)
    assert ASKED == []


class Slow(Machine, name="test_model_outcomes.slow"):
    tries: int = 0

    @step
    async def start(self, ctx: Any) -> Any:
        self.tries += 1
        return Retry(3_600, "not yet")


async def test_a_retry_waits_for_its_delay_and_keeps_the_state(engine: Engine) -> None:
    ear = Ear(engine)
    handle = await engine.start(Slow())
    await ear.hears("commit.stop")

    found = await handle.get()
    assert (found.status, found.step, found.attempt, found.state) == ("scheduled", "start", 1, {"tries": 1})
    assert found.claimed_at is not None
    assert (found.due_at - found.claimed_at).total_seconds() == pytest.approx(3_600, abs=2)
    assert found.error is not None
    assert found.error["message"] == "not yet"


class Last(Machine, name="test_model_outcomes.last"):
    how: str
    lines: list[str] = []

    @step
    async def start(self, ctx: Any) -> Any:
        self.lines = [*self.lines, "end"]
        return Done() if self.how == "done" else Stop("enough")


@pytest.mark.parametrize("how", ["done", "failed"])
async def test_the_fields_of_the_last_step_are_kept(engine: Engine, how: str) -> None:
    ear = Ear(engine)
    handle = await engine.start(Last(how=how))
    await ear.hears("commit.stop")

    found = await handle.get()
    assert (found.status, found.state) == (how, {"how": how, "lines": ["end"]})


class Defaults(Machine, name="test_model_outcomes.defaults"):
    size: int = 3
    names: list[str] = ["a"]
    note: str | None = None

    @step
    async def start(self, ctx: Any) -> Any:
        self.names.append("b")
        return Done([self.size, self.names, self.note])


async def test_fields_that_are_not_stored_have_their_defaults(engine: Engine, table: Table) -> None:
    await engine.pause_queue("default")
    handles = [await engine.start(Defaults()) for _ in range(2)]
    for handle in handles:
        table.poke(handle.id, state="{}")
    await engine.resume_queue("default")

    assert [await handle.result(SOON_S) for handle in handles] == [[3, ["a", "b"], None]] * 2


class Paced(Machine, name="test_model_outcomes.paced"):
    seen: list[Any] = []

    def note(self, ctx: Any) -> None:
        row = TABLE[0].query("SELECT rate_limit, rate_weight FROM {instances} WHERE id = ?", ctx.id)[0]
        self.seen = [*self.seen, list(row)]

    @step
    def start(self, ctx: Any) -> Any:
        self.note(ctx)
        return Next(self.limited, rate_limit=("api", "eu"), weight=2.5)

    @step
    def limited(self, ctx: Any) -> Any:
        if ctx.attempt == 0:
            return Retry()
        self.note(ctx)
        return Next(self.free, inline=False)

    @step
    def free(self, ctx: Any) -> Any:
        self.note(ctx)
        return Done(self.seen)


async def test_a_rate_holds_for_one_step_and_its_retries(engines: Engines) -> None:
    engine = await engines.open(rate_limits={"api": "1000/s"})

    found = await (await engine.start(Paced(), rate_limit="api", weight=3)).result(SOON_S)

    assert [rate for rate, _ in found] == ["api", "api[eu]", None]
    assert [weight for _, weight in found[:2]] == [3, 2.5]


class Knows(Machine, name="test_model_outcomes.knows", version=2, queue="side", timeout=60):
    @step
    async def start(self, ctx: Any) -> Any:
        known = [ctx.id, ctx.program, ctx.version, ctx.step, ctx.attempt, ctx.queue, ctx.key]
        return Done([*known, ctx.deadline is not None, len(ctx.signals), [one.id async for one in ctx.children]])


async def test_a_step_knows_where_it_stands(engines: Engines) -> None:
    engine = await engines.open(queues={"side": 1})
    handle = await engine.start(Knows(), correlation_key="k")

    known = await handle.result(SOON_S)

    assert known == [handle.id, "test_model_outcomes.knows", 2, "start", 0, "side", "k", True, 0, []]


async def test_machines_of_a_module_are_known_to_every_engine(url: str) -> None:
    async with Engine(url, queues={}) as submitter:
        handle = await submitter.start(Stubborn(good_at=1))

    async with Engine(url) as worker:
        assert worker.program("test_model_outcomes.stubborn") is Stubborn.outlast_program
        assert await worker.handle(handle.id).result(SOON_S) == 1
