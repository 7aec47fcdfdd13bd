"""Plain classes whose methods are called `handle_...`: no base class, no marks."""

from typing import Any

import pytest

from outlast import Engine, errors
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


async def test_any_other_field_needs_a_default(engine: Engine) -> None:
    class Bare:
        count: int

        async def handle_go(self) -> None: ...

    with pytest.raises(errors.DefinitionError, match="field 'count' needs a default"):
        engine.object(Bare, "1")
