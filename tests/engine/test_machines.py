"""Machines: steps and where they lead, state that is a row, errors, versions, run-ahead."""

import asyncio
import contextlib
from typing import Any

import pytest

from outlast import Cancel, Done, Engine, InstanceCancelled, InstanceFailed, Machine, Next, Retry, Stop, step, upgrade
from outlast.errors import ConfigError
from tests.engine.given import SOON_S, Engines, Table

SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    SEEN.clear()


class Order(Machine, name="test_machines.order"):
    number: int
    paid: bool = False
    lines: list[str] = []  # a field's default, as in any dataclass-like class.

    @step
    async def start(self, ctx: Any) -> Any:
        self.lines = [*self.lines, "start"]
        return Next(self.pay)

    @step
    def pay(self, ctx: Any) -> Any:
        self.paid = True
        self.lines = [*self.lines, "pay"]
        return Next("ship")

    @step
    async def ship(self, ctx: Any) -> Any:
        return Done({"number": self.number, "paid": self.paid, "lines": self.lines})


async def test_steps_follow_one_another_and_the_fields_are_the_state(engine: Engine, table: Table) -> None:
    handle = await engine.start(Order(number=7))

    assert await handle.result(SOON_S) == {"number": 7, "paid": True, "lines": ["start", "pay"]}

    found = await handle.get()
    assert (found.status, found.step, found.program) == ("done", "ship", "test_machines.order")
    assert found.state == {"number": 7, "paid": True, "lines": ["start", "pay"]}
    assert table.seen(handle.id, "commits") == 3


class Bag(Machine, name="test_machines.bag", initial="open"):
    @step
    async def open(self, ctx: Any) -> Any:
        self.state["opened"] = True
        return Next(self.close)

    @step
    async def close(self, ctx: Any) -> Any:
        return Done(self.state)


async def test_without_fields_the_state_is_a_dict(engine: Engine) -> None:
    assert await (await engine.start(Bag())).result(SOON_S) == {"opened": True}
    assert await (await engine.start(Bag({"size": 3}))).result(SOON_S) == {"size": 3, "opened": True}
    with pytest.raises(ConfigError, match="its state is a dict"):
        Bag(3)


class Flaky(Machine, name="test_machines.flaky"):
    good_at: int
    note: str = "none"

    @step
    async def start(self, ctx: Any) -> Any:
        self.note = f"attempt {ctx.attempt}"
        if ctx.attempt < self.good_at:
            raise ValueError("not yet")
        return Next(self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done([ctx.attempt, self.note])

    async def on_error(self, error: Exception, ctx: Any) -> Any:
        SEEN.append((self.note, str(error), ctx.attempt, ctx.signals, list(ctx.awaited)))
        return Retry(0.01) if ctx.attempt < 3 else Stop(error)


async def test_after_an_exception_the_fields_are_the_committed_ones(engine: Engine) -> None:
    assert await (await engine.start(Flaky(good_at=2))).result(SOON_S) == [0, "attempt 2"]

    assert SEEN == [("none", "not yet", 0, [], []), ("none", "not yet", 1, [], [])]


async def test_on_error_decides_when_it_is_enough(engine: Engine) -> None:
    handle = await engine.start(Flaky(good_at=9))

    with pytest.raises(InstanceFailed, match="ValueError: not yet"):
        await handle.result(SOON_S)

    found = await handle.get()
    assert found.attempt == 4
    assert found.error is not None
    assert "raise ValueError" in found.error["traceback"]


class Ends(Machine, name="test_machines.ends"):
    how: str

    @step
    async def start(self, ctx: Any) -> Any:
        match self.how:
            case "raise":
                raise RuntimeError("broken")
            case "stop":
                return Stop("no stock")
            case "stop with an error":
                return Stop(KeyError("stock"))
            case "cancel":
                return Cancel("not wanted")
            case "retry once":
                return Retry(reason="again") if ctx.attempt == 0 else Done(ctx.attempt)
            case "unstorable":
                return Done(object())
            case "nothing":
                return None
        return self.how

    @step
    async def never(self, ctx: Any) -> Any:
        return Done()


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("raise", "RuntimeError: broken"),
        ("stop", "Stop: no stock"),
        ("stop with an error", "KeyError: 'stock'"),
        ("unstorable", "EncodingError: .*the result of machine"),
        ("nothing", "DefinitionError: .*must return Next, Retry, Await, Spawn, Done, Stop or Cancel, not None"),
        ("something else", "DefinitionError: .*not 'something else'"),
    ],
)
async def test_what_ends_badly_says_how(engine: Engine, how: str, error: str) -> None:
    with pytest.raises(InstanceFailed, match=error):
        await (await engine.start(Ends(how=how))).result(SOON_S)


async def test_cancel_and_retry_are_outcomes_too(engine: Engine) -> None:
    with pytest.raises(InstanceCancelled, match="not wanted"):
        await (await engine.start(Ends(how="cancel"))).result(SOON_S)
    assert await (await engine.start(Ends(how="retry once"))).result(SOON_S) == 1


class Lost(Machine, name="test_machines.lost"):
    @step
    async def start(self, ctx: Any) -> Any:
        return Next(str(ctx.id and "nowhere"))


async def test_a_step_that_does_not_exist_is_an_error_of_the_step(engine: Engine) -> None:
    with pytest.raises(InstanceFailed, match="names step 'nowhere', which does not exist"):
        await (await engine.start(Lost())).result(SOON_S)


class Breaks(Machine, name="test_machines.breaks"):
    @step
    async def start(self, ctx: Any) -> Any:
        raise ValueError("first")

    async def on_error(self, error: Exception, ctx: Any) -> Any:
        raise LookupError("second")


async def test_an_on_error_that_raises_fails_with_both(engine: Engine) -> None:
    handle = await engine.start(Breaks())

    with pytest.raises(InstanceFailed, match="LookupError: second"):
        await handle.result(SOON_S)

    error = (await handle.get()).error
    assert error is not None
    assert "ValueError: first" in error["traceback"]


class Repair(Machine, name="test_machines.repair"):
    at: str = "start"

    @step
    async def start(self, ctx: Any) -> Any:
        raise ValueError("broken")

    @step
    async def mend(self, ctx: Any) -> Any:
        return Done(self.at)

    async def on_error(self, error: Exception, ctx: Any) -> Any:
        self.at = ctx.step
        return Next(self.mend)


async def test_on_error_may_go_on_elsewhere_and_change_the_state(engine: Engine) -> None:
    assert await (await engine.start(Repair())).result(SOON_S) == "start"


class Chain(Machine, name="test_machines.chain"):
    left: int
    inline: bool | None = None

    @step
    async def start(self, ctx: Any) -> Any:
        self.left -= 1
        return Next(self.start, inline=self.inline) if self.left else Done(ctx.attempt)


async def test_run_ahead_claims_once_and_commits_each_step(engine: Engine, table: Table) -> None:
    handle = await engine.start(Chain(left=10))

    await handle.result(SOON_S)

    assert (table.seen(handle.id, "epoch"), table.seen(handle.id, "commits")) == (1, 10)


async def test_a_step_that_is_not_inline_goes_through_its_queue(engine: Engine, table: Table) -> None:
    handle = await engine.start(Chain(left=5, inline=False))

    await handle.result(SOON_S)

    assert (table.seen(handle.id, "epoch"), table.seen(handle.id, "commits")) == (5, 5)


class Slow(Machine, name="test_machines.slow", run_ahead=False):
    @step
    async def start(self, ctx: Any) -> Any:
        return Next(self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done()


async def test_a_machine_may_never_run_ahead(engine: Engine, table: Table) -> None:
    handle = await engine.start(Slow())

    await handle.result(SOON_S)

    assert table.seen(handle.id, "epoch") == 2


GATE: dict[str, asyncio.Event] = {}


class Gated(Machine, name="test_machines.gated"):
    done: list[str] = []

    @step
    async def start(self, ctx: Any) -> Any:
        self.done = ["start"]
        return Next(self.wait)

    @step
    async def wait(self, ctx: Any) -> Any:
        SEEN.append(list(self.done))
        self.done = [*self.done, "wait"]
        GATE["begun"].set()
        await GATE["go"].wait()
        return Done(self.done)


async def test_the_step_before_is_committed_while_the_next_one_runs(engine: Engine) -> None:
    GATE.update(begun=asyncio.Event(), go=asyncio.Event())
    handle = await engine.start(Gated())
    await asyncio.wait_for(GATE["begun"].wait(), SOON_S)

    found = await handle.get()
    assert (found.status, found.step, found.state) == ("running", "wait", {"done": ["start"]})

    GATE["go"].set()
    assert await handle.result(SOON_S) == ["start", "wait"]


async def test_a_step_begins_only_when_the_one_before_it_is_committed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    GATE.update(begun=asyncio.Event(), go=asyncio.Event())
    sent, let_go = asyncio.Event(), asyncio.Event()
    commit = engine._store.claims.commit

    async def held_up(batch: Any) -> Any:
        sent.set()
        await let_go.wait()
        return await commit(batch)

    monkeypatch.setattr(engine._store.claims, "commit", held_up)
    GATE["go"].set()
    handle = await engine.start(Gated())
    await asyncio.wait_for(sent.wait(), SOON_S)
    for _ in range(50):  # all that could run does.
        await asyncio.sleep(0)

    assert not GATE["begun"].is_set()

    let_go.set()
    assert await handle.result(SOON_S) == ["start", "wait"]


async def test_a_drained_machine_runs_its_unfinished_step_again_elsewhere(engines: Engines) -> None:
    GATE.update(begun=asyncio.Event(), go=asyncio.Event())
    first = await engines.open(drain_timeout=0.0)
    handle = await first.start(Gated())
    await asyncio.wait_for(GATE["begun"].wait(), SOON_S)
    await first.close()

    GATE["go"].set()
    second = await engines.open(programs=[Gated])
    assert await second.handle(handle.id).result(SOON_S) == ["start", "wait"]
    assert (await second.get(handle.id)).attempt == 0
    assert SEEN == [["start"], ["start"]]


@pytest.mark.parametrize("end", [Stop("not yet"), Done("well")])
async def test_state_that_is_kept_at_the_end_is_never_upgraded_twice(engines: Engines, end: Any) -> None:
    class First(Machine, name="test_machines.ended"):
        amount: int

        @step
        async def start(self, ctx: Any) -> Any:
            return Done(None)

    class Second(Machine, name="test_machines.ended", version=2):
        amount: int

        @upgrade(from_version=1)
        @staticmethod
        def _to_2(state: dict[str, Any]) -> dict[str, Any]:
            return {"amount": state["amount"] * 100}

        @step
        async def start(self, ctx: Any) -> Any:
            SEEN.append(self.amount)
            return end

    old = await engines.open(programs=[First], queues={})
    handle = await old.start(First(amount=12))
    new = await engines.open(programs=[Second])
    while (await new.get(handle.id)).status not in ("failed", "done"):
        with contextlib.suppress(InstanceFailed):
            await new.handle(handle.id).result(SOON_S)

    found = await new.get(handle.id)
    assert (found.version, found.state) == (2, {"amount": 1200})
    if found.status == "failed":
        await new.retry(handle.id)
        with pytest.raises(InstanceFailed):
            await new.handle(handle.id).result(SOON_S)
        assert SEEN == [1200, 1200]


async def test_old_state_is_upgraded_when_it_is_loaded(engines: Engines) -> None:
    class First(Machine, name="test_machines.grown"):
        total: int

        @step
        async def start(self, ctx: Any) -> Any:
            return Done(self.total)

    class Second(Machine, name="test_machines.grown", version=3):
        cents: int
        currency: str

        @upgrade(from_version=1)
        def _to_2(state: dict[str, Any]) -> dict[str, Any]:  # type: ignore[misc]
            return {"cents": state["total"] * 100}

        @upgrade(from_version=2)
        def _to_3(state: dict[str, Any]) -> dict[str, Any]:  # type: ignore[misc]
            return state | {"currency": "EUR"}

        @step
        async def start(self, ctx: Any) -> Any:
            return Next(self.end)

        @step
        async def end(self, ctx: Any) -> Any:
            return Done([self.cents, self.currency, ctx.version])

    old = await engines.open(programs=[First], queues={})
    handle = await old.start(First(total=5))

    new = await engines.open(programs=[Second])

    assert await new.handle(handle.id).result(SOON_S) == [500, "EUR", 3]
    assert (await new.get(handle.id)).version == 3


async def test_versions_stand_beside_each_other(engines: Engines) -> None:
    def made(version: int) -> type[Machine]:
        class Same(Machine, name="test_machines.same", version=version):
            @step
            async def start(self, ctx: Any) -> Any:
                return Done(version)

        Same.outlast_program.source += str(version)
        return Same

    one, two = made(1), made(2)
    engine = await engines.open(programs=[one, two])

    assert [await (await engine.start(cls())).result(SOON_S) for cls in (one, two)] == [1, 2]


async def test_state_that_cannot_be_read_is_quarantined_and_nothing_runs(engine: Engine, table: Table) -> None:
    paused = await engine.start(Order(number=1), schedule_in=60)
    table.poke(paused.id, state='{"number": "many"}')
    await engine.pause_queue("default")
    table.query("UPDATE {instances} SET status = 'ready' WHERE id = ?", paused.id)
    await engine.resume_queue("default")

    with pytest.raises(Exception, match=r"quarantined.*number"):
        await paused.result(SOON_S)


async def test_a_state_too_large_is_an_error_of_the_step(engines: Engines) -> None:
    class Grows(Machine, name="test_machines.grows"):
        text: str = ""

        @step
        async def start(self, ctx: Any) -> Any:
            self.text = "x" * 5_000
            return Next(self.end)

        @step
        async def end(self, ctx: Any) -> Any:
            return Done()

    engine = await engines.open(payload_bytes_max=2_000)

    with pytest.raises(InstanceFailed, match=r"ValueTooLarge: the state of 'test_machines\.grows'"):
        await (await engine.start(Grows())).result(SOON_S)
