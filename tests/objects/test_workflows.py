"""Objects called from workflows, jobs and machines, and objects whose code changes."""

from typing import Any

import pytest

from outlast import Done, Engine, Machine, Next, Object, errors, handler, job, sleep, step, upgrade, workflow
from outlast.testing import assert_done, assert_failed, assert_persisted, by_hand, crash_before_commit, drain
from tests.engine.given import Engines, Tally, soon
from tests.objects.gates import until

CALLS = Tally()


@pytest.fixture(autouse=True)
def _new() -> None:
    CALLS.__init__()  # type: ignore[misc]


class Account(Object, name="workflows.Account"):
    balance: int = 0

    @handler
    async def deposit(self, amount: int) -> int:
        CALLS.add(amount)
        self.balance += amount
        return self.balance

    @handler
    async def refuse(self) -> None:
        raise LookupError("no such account")


async def test_a_call_from_a_workflow_is_a_recorded_step_made_once(engine: Engine) -> None:
    @workflow(name="workflows.pay")
    async def pay() -> int:
        account = engine.object(Account, "a")
        first = await account.deposit(5)
        await sleep(0.01)
        return first + await account.deposit(6)

    handle = await engine.start(pay.new())

    assert await soon(handle.result()) == 16
    assert CALLS.notes == [5, 6]
    assert [each.name for each in await engine.steps(handle) if each.kind == "step"] == [
        "workflows.Account.deposit",
        "workflows.Account.deposit",
    ]


async def test_a_crash_between_call_and_record_does_not_call_twice() -> None:
    async with by_hand() as engine:

        @workflow(name="workflows.pay_and_crash")
        async def pay() -> int:
            return await engine.object(Account, "a").deposit(5)

        handle = await engine.start(pay.new())
        with crash_before_commit(engine, pay):
            await soon(drain(engine))

        await assert_done(engine, handle, 5)
        await assert_persisted(engine, engine.object(Account, "a"), balance=5)
        assert CALLS.notes == [5]


async def test_what_a_handler_raises_is_raised_in_the_workflow() -> None:
    async with by_hand() as engine:

        @workflow(name="workflows.refused")
        async def refused() -> str:
            try:
                await engine.object(Account, "a").refuse()
            except LookupError as error:
                return type(error).__name__
            return "nothing"

        @workflow(name="workflows.fails")
        async def fails() -> None:
            await engine.object(Account, "a").refuse()

        caught, failed = await engine.start(refused.new()), await engine.start(fails.new())
        await soon(drain(engine))

        assert (await assert_done(engine, caught)) != "nothing"
        await assert_failed(engine, failed, "no such account")


async def test_a_workflow_sends_once() -> None:
    async with by_hand() as engine:

        @workflow(name="workflows.sends")
        async def sends() -> None:
            await engine.object(Account, "a").deposit.send(5)
            await sleep(1)

        await engine.start(sends.new())
        await soon(drain(engine))

        await assert_persisted(engine, engine.object(Account, "a"), balance=5)
        assert CALLS.notes == [5]


async def test_a_job_and_a_machine_call_objects(engine: Engine) -> None:
    @job(name="workflows.job")
    async def work() -> int:
        return await engine.object(Account, "a").deposit(1)

    class Steps(Machine, name="workflows.machine"):
        @step
        async def start(self, ctx: Any) -> Any:
            await engine.object(Account, "a").deposit(10)
            return Next(self.end)

        @step
        async def end(self, ctx: Any) -> Any:
            return Done(await engine.object(Account, "a").deposit(100))

    assert await soon((await engine.start(work.new())).result()) == 1
    assert await soon((await engine.start(Steps())).result()) == 111


async def test_an_object_s_handler_starts_work(engine: Engine) -> None:
    @job(name="workflows.started")
    async def started(name: str) -> str:
        return f"done for {name}"

    class Starts(Object, name="workflows.Starts"):
        @handler
        async def go(self) -> str:
            return (await engine.start(started.new(self.id))).id

    assert await soon(engine.handle(await engine.object(Starts, "a").go()).result()) == "done for a"


# Code that changes.


def cart(version: int, fields: dict[str, tuple[Any, Any]], **more: Any) -> Any:
    async def put(self: Any, name: str, value: Any) -> None:
        setattr(self, name, value)

    async def see(self: Any) -> dict[str, Any]:
        return {name: getattr(self, name) for name in fields}

    body: dict[str, Any] = {name: default for name, (_, default) in fields.items()}
    body |= {"__annotations__": {name: kind for name, (kind, _) in fields.items()}}
    body |= {"put": handler(put), "see": handler(see), **more}
    return type("Cart", (Object,), body, name="workflows.Cart", version=version)


async def test_new_fields_have_their_defaults_and_unknown_ones_are_kept(engines: Engines) -> None:
    wide = cart(1, {"a": (int, 1), "b": (int, 2)})
    narrow = cart(1, {"a": (int, 1), "c": (int, 3)})
    one, two = await engines.open(), await engines.open()
    await one.object(wide, "x").put("b", 22)
    await one.stop_object(one.object(wide, "x"))

    assert await two.object(narrow, "x").see() == {"a": 1, "c": 3}
    await two.object(narrow, "x").put("a", 11)
    await two.stop_object(two.object(narrow, "x"))

    assert await one.object(wide, "x").see() == {"a": 11, "b": 22}
    assert (await one.get_object("workflows.Cart", "x")).state == {"a": 11, "b": 22, "c": 3}


def to_two(state: dict[str, Any]) -> dict[str, Any]:
    return {"items": state["item"].split()}


async def test_upgrades_lead_from_one_version_to_the_next(engines: Engines) -> None:
    first = cart(1, {"item": (str, "")})
    third = cart(
        3,
        {"items": (list[str], []), "count": (int, 0)},
        two=upgrade(from_version=1)(to_two),
        three=upgrade(from_version=2)(lambda state: state | {"count": len(state["items"])}),
    )
    one, two = await engines.open(), await engines.open()
    await one.object(first, "x").put("item", "tea milk")
    await one.stop_object(one.object(first, "x"))

    assert await two.get_state(two.object(third, "x")) == {"items": ["tea", "milk"], "count": 2}
    assert (await two.get_object(third, "x")).version == 1
    assert await two.object(third, "x").see() == {"items": ["tea", "milk"], "count": 2}
    await two.object(third, "x").put("count", 9)
    assert (await two.get_object(third, "x")).version == 3


async def test_an_older_process_leaves_newer_state_alone_and_says_so(engines: Engines) -> None:
    older, newer = cart(1, {"a": (int, 1)}), cart(2, {"a": (int, 1)})
    one, two = await engines.open(), await engines.open()
    await two.object(newer, "x").put("a", 5)
    await two.stop_object(two.object(newer, "x"))

    with pytest.raises(errors.EncodingError, match="written by version 2; this process knows version 1"):
        await one.object(older, "x").see()

    assert await two.object(newer, "x").see() == {"a": 5}
    assert (await two.get_object(newer, "x")).version == 2


async def test_a_stored_call_is_served_by_whoever_can_load_the_object(engines: Engines) -> None:
    older, newer = cart(1, {"a": (int, 1)}), cart(2, {"a": (int, 1)})
    two = await engines.open(poll_interval=0.05)
    await two.object(newer, "x").put("a", 5)
    await two.stop_object(two.object(newer, "x"))
    one = await engines.open(programs=[older], poll_interval=0.05)

    await one.object(older, "x").put.send("a", 6)

    await until(lambda: _state_is(two, newer, {"a": 6}))


async def _state_is(engine: Engine, cls: Any, state: dict[str, Any]) -> bool:
    return (await engine.get_object(cls, "x")).state == state


async def test_state_that_does_not_fit_names_the_field(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    await one.object(cart(1, {"a": (str, "")}), "x").put("a", "text")
    await one.stop_object(one.object(cart(1, {"a": (str, "")}), "x"))

    with pytest.raises(errors.EncodingError, match=r"workflows\.Cart.*a"):
        await two.object(cart(1, {"a": (int, 0)}), "x").see()


async def test_objects_live_in_memory_alone_when_the_database_does() -> None:
    async with Engine("sqlite://", programs=[Account]) as engine:
        account = engine.object(Account, "a")
        assert [await account.deposit(1), await account.deposit(2)] == [1, 3]
        await engine.stop_object(account)
        assert await account.deposit(3) == 6
        assert await account.deposit.with_options(idempotency_key="k")(4) == 10


async def test_every_schema_has_its_own_objects(store_url: str) -> None:
    one, two = Engine(store_url, schema="tenant_one"), Engine(store_url, schema="tenant_two")
    try:
        for engine, amount in ((one, 1), (two, 5)):
            await engine.migrate()
            async with engine:
                assert await engine.object(Account, "a").deposit(amount) == amount
    finally:
        await one.drop_tables()
        await two.drop_tables()
