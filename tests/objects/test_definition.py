"""How objects are defined: fields, handlers, options, names, and what is refused at once."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from outlast import AlarmContext, Engine, Object, alarm, errors, handler, minutes, upgrade
from outlast._kernel.objects import OBJECTS, ObjectTypes
from outlast.objects import make_kind


class Basket(Object, name="definition.Basket", hibernate_after=minutes(1), shutdown_after=3600, queue_limit=7):
    """A basket."""

    limit: ClassVar[int] = 3
    owner: str = "nobody"
    items: list[str] = []
    prices: dict[str, float] = dataclasses.field(default_factory=lambda: {"tea": 2.5})
    note: str | None = dataclasses.field(default=None)

    @handler
    async def put(self, item: str, count: int = 1) -> list[str]:
        """Puts items in."""
        self.items += [item] * count
        return self.items

    @handler(read_only=True)
    async def who(self) -> str:
        return f"{self.id} of {self.owner}, {self.limit} at most"

    @alarm
    async def spoil(self) -> None:
        self.items.clear()


async def test_fields_have_their_defaults_and_every_object_its_own(engine: Engine) -> None:
    one, two = engine.object(Basket, "1"), engine.object(Basket, "2")

    assert await one.put("tea", count=2) == ["tea", "tea"]
    assert await two.put("milk") == ["milk"]
    assert await engine.get_state(two) == {"owner": "nobody", "items": ["milk"], "prices": {"tea": 2.5}, "note": None}


async def test_an_object_knows_its_id_which_is_not_stored(engine: Engine) -> None:
    assert await engine.object(Basket, "1").who() == "1 of nobody, 3 at most"
    assert "id" not in await engine.get_state(engine.object(Basket, "1"))


def test_a_class_can_be_asked_what_its_objects_are() -> None:
    kind = Basket.outlast_kind

    assert (kind.name, kind.version, kind.field_names) == (
        "definition.Basket",
        1,
        ("owner", "items", "prices", "note"),
    )
    assert (set(kind.handlers), set(kind.alarms)) == ({"put", "who"}, {"spoil"})
    assert (kind.hibernate_s, kind.shutdown_s, kind.queue_limit) == (60.0, 3600.0, 7)
    assert kind.blank() == '{"owner":"nobody","items":[],"prices":{"tea":2.5},"note":null}'
    assert Basket.put.__doc__ == "Puts items in."


def test_the_defaults_are_as_documented() -> None:
    class Plain(Object):
        @handler
        async def go(self) -> None: ...

    kind = Plain.outlast_kind
    assert (kind.name, kind.version, kind.hibernate_s, kind.shutdown_s) == ("Plain", 1, 300.0, None)
    assert (kind.queue_limit, kind.timeout_s, kind.retention_s) == (10_000, 5.0, None)


def test_hibernation_can_be_switched_off() -> None:
    class Awake(Object, hibernate_after=None, shutdown_after=None):
        @handler
        async def go(self) -> None: ...

    assert (Awake.outlast_kind.hibernate_s, Awake.outlast_kind.shutdown_s) == (None, None)


def no_default() -> Any:
    class A(Object):
        count: int

        @handler
        async def go(self) -> None: ...


def no_handler() -> Any:
    class A(Object):
        count: int = 0


def private_field() -> Any:
    class A(Object):
        _count: int = 0

        @handler
        async def go(self) -> None: ...


def wrong_default() -> Any:
    class A(Object):
        count: int = "none"  # type: ignore[assignment]

        @handler
        async def go(self) -> None: ...

    A.outlast_kind.blank()


def unknown_type() -> Any:
    class A(Object):
        socket: Callable[[], None] = print

        @handler
        async def go(self) -> None: ...


def unknown_argument_type() -> Any:
    class A(Object):
        @handler
        async def go(self, socket: Callable[[], None]) -> None: ...


def yields() -> Any:
    class A(Object):
        @handler
        async def go(self) -> Any:
            yield 1


def alarm_with_arguments() -> Any:
    class A(Object):
        @alarm
        async def go(self, name: str) -> None: ...


def alarm_with_a_context_of_another_name() -> Any:
    class A(Object):
        @alarm
        async def go(self, context: AlarmContext | None = None, about: AlarmContext = None) -> None: ...  # type: ignore[assignment]


def catch_all_without_a_name() -> Any:
    class A(Object):
        @handler
        async def go(self) -> None: ...

        async def on_alarm(self, ctx: AlarmContext) -> None: ...


def not_a_function() -> Any:
    handler(3)  # type: ignore[call-overload]


def too_many_attempts() -> Any:
    alarm(max_attempts=0)


def upgrade_with_a_gap() -> Any:
    class A(Object, version=4):
        @handler
        async def go(self) -> None: ...

        @upgrade(from_version=1)
        def two(state: dict[str, Any]) -> dict[str, Any]:
            return state

        @upgrade(from_version=3)
        def four(state: dict[str, Any]) -> dict[str, Any]:
            return state


def upgrade_to_nowhere() -> Any:
    class A(Object):
        @handler
        async def go(self) -> None: ...

        @upgrade(from_version=1)
        def two(state: dict[str, Any]) -> dict[str, Any]:
            return state


@pytest.mark.parametrize(
    ("define", "told"),
    [
        (no_default, "field 'count' needs a default"),
        (no_handler, "has no handler: mark methods with @handler"),
        (private_field, "a field cannot be called '_count'"),
        (wrong_default, "count"),
        (unknown_type, "state of object 'A'"),
        (unknown_argument_type, "handler 'go' of object 'A'"),
        (yields, "must return, not yield"),
        (alarm_with_arguments, r"must take \(self\) or \(self, ctx\)"),
        (alarm_with_a_context_of_another_name, "must be called ctx"),
        (catch_all_without_a_name, r"must take \(self, name\) or \(self, name, ctx\)"),
        (not_a_function, "goes on a method"),
        (too_many_attempts, "max_attempts must be a whole number from 1"),
        (upgrade_with_a_gap, "upgrades must follow one another"),
        (upgrade_to_nowhere, "leads nowhere"),
    ],
)
def test_a_wrong_definition_is_refused_when_it_is_made(define: Callable[[], Any], told: str) -> None:
    with pytest.raises((errors.DefinitionError, errors.EncodingError), match=told):
        define()


@pytest.mark.parametrize(
    "options",
    [
        {"version": 0},
        {"version": True},
        {"queue_limit": 0},
        {"hibernate_after": -1},
        {"shutdown_after": "soon"},
        {"call_timeout": 0},
        {"retention": timedelta(seconds=-1)},
        {"name": ""},
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any]) -> None:
    async def go(self: Any) -> None: ...

    with pytest.raises((errors.DefinitionError, errors.ConfigError), match=next(iter(options))):
        type("A", (Object,), {"go": handler(go)}, **options)


@pytest.mark.parametrize("taken", ["id", "alarm", "object", "schedule_alarm", "cancel_alarm", "after_load", "on_alarm"])
def test_reserved_names_are_refused(taken: str) -> None:
    async def go(self: Any) -> None: ...

    for body in ({taken: handler(go)}, {taken: alarm(go)}, {taken: 1, "__annotations__": {taken: int}}):
        with pytest.raises(errors.DefinitionError, match=taken):
            type("A", (Object,), {"go": handler(go)} | body)


def test_two_classes_of_one_name_are_refused() -> None:
    async def go(self: Any) -> None: ...

    one = make_kind(type("A", (), {"handle_go": go, "__module__": "shop", "__qualname__": "A"}))
    two = make_kind(type("A", (), {"handle_go": go, "__module__": "store", "__qualname__": "A"}))
    again = make_kind(type("A", (), {"handle_go": go, "__module__": "shop", "__qualname__": "A"}))
    types = ObjectTypes([one])

    with pytest.raises(errors.DefinitionError, match=r"defined twice \(shop\.A and store\.A\); give one of them name="):
        types.add(two)
    types.add(again)
    assert types.find("A") is again


def test_classes_at_module_level_are_known_everywhere() -> None:
    assert OBJECTS.find("definition.Basket") is Basket.outlast_kind


def test_an_object_cannot_be_made_by_calling_its_class() -> None:
    with pytest.raises(errors.DefinitionError, match=r"engine\.object\(Basket, id\)"):
        Basket()


async def test_only_a_class_and_an_id_make_a_reference(engine: Engine) -> None:
    for cls in (Object, "Basket", Basket.outlast_kind):
        with pytest.raises(errors.ConfigError, match="class is expected"):
            engine.object(cls, "1")  # type: ignore[arg-type]
    with pytest.raises(errors.DefinitionError, match="no handler"):
        engine.object(int, "1")
    for id in ("", "x" * 201, 7):
        with pytest.raises(errors.ConfigError, match="an object's id"):
            engine.object(Basket, id)  # type: ignore[arg-type]
    with pytest.raises(errors.ConfigError, match=r"engine\.object\(Class, id\)"):
        await engine.whereis(Basket)


async def test_a_reference_says_what_to_do_when_there_is_no_such_handler(engine: Engine) -> None:
    basket = engine.object(Basket, "1")

    with pytest.raises(AttributeError, match=r"no handler 'putt'; did you mean 'put'"):
        basket.putt("tea")  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"'items' is a field of definition\.Basket.*engine\.get_state"):
        basket.items  # noqa: B018
    assert (repr(basket), basket == engine.object(Basket, "1"), len({basket, engine.object(Basket, "1")})) == (
        "<object definition.Basket '1'>",
        True,
        1,
    )


async def test_wrong_arguments_are_refused_before_anything_happens(engine: Engine) -> None:
    basket = engine.object(Basket, "1")

    for wrong in (lambda: basket.put(), lambda: basket.put("tea", 1, 2), lambda: basket.put("tea", cout=2)):  # type: ignore[call-arg]
        with pytest.raises(errors.ArgumentError, match="put"):
            await wrong()
    with pytest.raises(errors.ArgumentError, match="count"):
        await basket.put("tea", count="two")  # type: ignore[arg-type]
    with pytest.raises(errors.NotFound):
        await engine.get_state(basket)


@dataclass
class Point:
    x: int
    y: int


class Typed(Object, name="definition.Typed"):
    at: Point = Point(0, 0)

    @handler
    async def move(self, by: Point) -> Point:
        assert isinstance(by, Point)
        self.at = Point(self.at.x + by.x, self.at.y + by.y)
        return self.at


async def test_arguments_state_and_answers_are_typed(engine: Engine) -> None:
    typed = engine.object(Typed, "1")

    assert await typed.move(Point(1, 2)) == Point(1, 2)
    await engine.stop_object(typed)
    assert await typed.move(Point(1, 2)) == Point(2, 4)
    assert await engine.get_state(typed) == {"at": Point(2, 4)}


class Inherits(Basket, name="definition.Inherits"):
    @handler
    async def put(self, item: str, count: int = 1) -> list[str]:
        self.items.insert(0, item)
        return self.items


async def test_a_class_inherits_fields_and_handlers(engine: Engine) -> None:
    one = engine.object(Inherits, "1")

    await one.put("tea")
    assert await one.put("milk") == ["milk", "tea"]
    assert await one.who() == "1 of nobody, 3 at most"
    assert Inherits.outlast_kind.hibernate_s == 300.0
