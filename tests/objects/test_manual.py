"""Plain classes whose methods are called `handle_...`: no base class, no marks."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from outlast import Engine, errors
from outlast.testing import assert_alarm_scheduled, by_hand, drain, fire_alarm, perform_handler, scheduled_alarms
from tests.engine.given import Engines, Table
from tests.objects.gates import until


class Ledger:
    """No base, no fields: the state is a dict."""

    def handle_put(self, key: str, value: int = 1) -> int:
        self.state[key] = self.state.get(key, 0) + value
        return self.state[key]

    async def handle_get(self, key: str) -> int | None:
        return self.state.get(key)

    async def handle_who(self) -> str:
        return self.id  # type: ignore[attr-defined,no-any-return]

    def handle_alarm(self, name: str) -> None:
        self.state[name] = "rang"

    state: dict[str, Any]


class Loads:
    def __init__(self) -> None:
        raise AssertionError("objects are not made like this")

    def after_load(self) -> None:
        self.state["loaded"] = True  # type: ignore[attr-defined]

    async def handle_see(self) -> dict[str, Any]:
        return self.state  # type: ignore[attr-defined,no-any-return]


class Reminders:
    """Sets and cancels its own alarms: from a thread, from the loop, when it rings and when it is loaded."""

    state: dict[str, Any]
    schedule_alarm: ClassVar[Callable[..., None]]
    cancel_alarm: ClassVar[Callable[[str], None]]
    cancel_all_alarms: ClassVar[Callable[[], None]]
    object: ClassVar[Callable[[type, str], Any]]

    def after_load(self) -> None:
        if not self.state:
            self.schedule_alarm("welcome", 5)

    def handle_remind(self, name: str, seconds: float) -> None:
        self.state[name] = "waits"
        self.schedule_alarm(name, seconds)

    async def handle_forget(self, name: str | None = None) -> None:
        if name is None:
            self.cancel_all_alarms()
        else:
            self.cancel_alarm(name)

    async def handle_fail(self) -> None:
        self.state["failed"] = True
        self.schedule_alarm("failed", 5)
        raise LookupError("no")

    async def handle_unknown(self) -> None:
        self.schedule_alarm("x", 5, every=5, cron="* * * * *")

    async def handle_tell(self, id: str) -> None:
        self.object(Reminders, id).remind.send("told", 60)

    def handle_alarm(self, name: str) -> None:
        self.state[name] = "rang"
        if name == "again":
            self.schedule_alarm(name, 60)


class OwnNames:
    """Has a method of its own where others are lent one."""

    def cancel_alarm(self, name: str) -> str:
        return f"mine: {name}"

    async def handle_go(self) -> str:
        return self.cancel_alarm("x")

    async def handle_alarm(self, name: str) -> None: ...


class Fields:
    count: int = 5

    async def handle_add(self, amount: int) -> int:
        self.count += amount
        return self.count


async def test_a_plain_class_with_handlers_is_enough(engine: Engine) -> None:
    class Plain:
        def handle_put(self, key: str, value: int = 1) -> int:
            self.state[key] = self.state.get(key, 0) + value  # type: ignore[attr-defined]
            return self.state[key]  # type: ignore[attr-defined]

        async def handle_get(self, key: str) -> int | None:
            return self.state.get(key)  # type: ignore[attr-defined]

        def handle_alarm(self, name: str) -> None:
            self.state[name] = "rang"  # type: ignore[attr-defined]

    plain: Any = engine.object(Plain, "1")

    assert [await plain.put("a"), await plain.put("a", 4), await plain.get("a"), await plain.get("b")] == [
        1,
        5,
        5,
        None,
    ]
    assert await engine.get_state(plain) == {"state": {"a": 5}}
    await engine.schedule_alarm(plain, "whatever", 0)
    assert await until(lambda: plain.get("whatever")) == "rang"


async def test_a_plain_class_may_declare_fields(engine: Engine) -> None:
    fields: Any = engine.object(Fields, "1")

    assert await fields.add(2) == 7
    assert await engine.get_state(fields) == {"count": 7}
    with pytest.raises(AttributeError, match="no handler 'ad'"):
        await fields.ad(1)


async def test_it_may_say_that_it_has_a_state_and_has_an_id(engine: Engine) -> None:
    ledger: Any = engine.object(Ledger, "1")

    assert (await ledger.put("a"), await ledger.who()) == (1, "1")
    assert await engine.get_state(ledger) == {"state": {"a": 1}}


async def test_it_may_have_after_load(engine: Engine) -> None:
    loads: Any = engine.object(Loads, "1")

    assert await loads.see() == {"loaded": True}


async def test_it_sets_and_cancels_its_own_alarms(store_url: str) -> None:
    async with by_hand(url=store_url) as hand:
        reminders: Any = hand.object(Reminders, "1")

        await reminders.remind("tea", 60)
        await reminders.remind("milk", 120)
        await assert_alarm_scheduled(hand, reminders, "welcome", within=5)
        await assert_alarm_scheduled(hand, reminders, "tea", within=60)
        await reminders.forget("tea")
        assert [each.name for each in await scheduled_alarms(hand, reminders)] == ["welcome", "milk"]
        await reminders.forget()
        assert await scheduled_alarms(hand, reminders) == []

        await reminders.remind("again", 0)
        await fire_alarm(hand, reminders, "again")
        await assert_alarm_scheduled(hand, reminders, "again", within=60)
        assert await hand.get_state(reminders) == {"state": {"tea": "waits", "milk": "waits", "again": "rang"}}

        await reminders.tell("2")
        await drain(hand)
        await assert_alarm_scheduled(hand, hand.object(Reminders, "2"), "told", within=60)


async def test_one_that_raises_sets_no_alarm(store_url: str) -> None:
    async with by_hand(url=store_url) as hand:
        reminders: Any = hand.object(Reminders, "1")
        await reminders.remind("tea", 60)
        await reminders.forget()

        with pytest.raises(LookupError):
            await reminders.fail()
        with pytest.raises(errors.ConfigError, match="an alarm needs one of"):
            await reminders.unknown()

        assert await scheduled_alarms(hand, reminders) == []
        assert await hand.get_state(reminders) == {"state": {"tea": "waits"}}


async def test_its_alarms_are_set_with_its_state_or_not_at_all(engines: Engines, table: Table) -> None:
    engine = await engines.open()
    reminders: Any = engine.object(Reminders, "1")
    await reminders.remind("tea", 600)
    await reminders.forget()
    table.query("UPDATE {objects} SET epoch = epoch + 1")  # somebody else has taken it over.

    with pytest.raises(errors.OwnershipLost):
        await reminders.remind("milk", 600)

    assert await engine.list_alarms(reminders) == []
    assert await engine.get_state(reminders) == {"state": {"tea": "waits"}}


async def test_a_method_of_its_own_is_not_replaced(engine: Engine) -> None:
    own: Any = engine.object(OwnNames, "1")

    assert await own.go() == "mine: x"


async def test_a_handler_that_is_performed_alone_sets_alarms_too() -> None:
    done = await perform_handler(Reminders, "remind", ["tea", 60])

    assert set(done.alarms) == {"tea"}


async def test_any_other_field_needs_a_default(engine: Engine) -> None:
    class Bare:
        count: int

        async def handle_go(self) -> None: ...

    with pytest.raises(errors.DefinitionError, match="field 'count' needs a default"):
        engine.object(Bare, "1")
