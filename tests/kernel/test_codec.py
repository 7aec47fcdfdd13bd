"""Values in, JSON text out, and back."""

import collections
import dataclasses
import enum
import math
import sys
import types
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast._codec import DEPTH_MAX, Codec, clean_text, decode_any, encode
from outlast.errors import DefinitionError, EncodingError, ValueTooLarge


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


class Odd(enum.Enum):
    NAN = math.nan


class Point(NamedTuple):
    x: int
    y: int


class Address(TypedDict):
    street: str


@dataclasses.dataclass
class Line:
    sku: str
    price: Decimal


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    id: uuid.UUID
    placed: datetime
    lines: list[Line]
    colour: Colour = Colour.RED
    note: str | None = None


@dataclasses.dataclass
class Tree:
    left: "Tree | None"
    right: "Tree | None"


class Packed(msgspec.Struct):
    share: float


class Customer(pydantic.BaseModel):
    name: str
    since: date
    tags: set[str] = set()


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid")
    at: datetime
    raw: bytes
    pair: tuple[int, int]

    @pydantic.computed_field
    def total(self) -> int:
        return sum(self.pair)


class Aliased(pydantic.BaseModel):
    order_id: int = pydantic.Field(alias="orderId")
    sent_to: str = pydantic.Field(serialization_alias="to", validation_alias="recipient")


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    share: float = 0.0


@dataclasses.dataclass
class Parcel:
    to: Customer
    stops: dict[str, list[Customer]]


class Unsupported:
    pass


@dataclasses.dataclass
class Hidden:
    deep: dict[str, list[Unsupported]]


@dataclasses.dataclass
class Touchy:
    count: int

    def __post_init__(self) -> None:
        if self.count < 0:
            raise KeyError("count")


class Prickly(pydantic.BaseModel):
    count: int = 0

    @pydantic.field_serializer("count")
    def grumble(self, count: int) -> int:
        raise LookupError("not today")


def named(value: object) -> str:
    """A test's id from a parameter, which may be too long to show."""
    return value if isinstance(value, str) and len(value) < 50 else getattr(value, "__name__", type(value).__name__)


ALICE = Customer(name="Alice", since=date(2020, 2, 29), tags={"new"})
ORDER = Order(uuid.UUID(int=5), datetime(2030, 1, 1, 12, 30, 15, 123456, UTC), [Line("a", Decimal("1.10"))])
ALIASED = Aliased.model_validate({"orderId": 5, "recipient": "Ann"})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, 10**3_999),
        (int, -(2**63)),
        (float, sys.float_info.max),
        (float, 5e-324),
        (str, 'zero \x00, quote ", slash \\, 🙂'),
        (bytes, bytes(range(256))),
        (Decimal, Decimal("0.10")),
        (uuid.UUID, uuid.UUID(int=1)),
        (datetime, datetime.max.replace(tzinfo=UTC)),
        (date, date.min),
        (time, time(1, 2, 3, 4)),
        (timedelta, timedelta(days=-1, microseconds=1)),
        (Colour, Colour.RED),
        (Level, Level.HIGH),
        (Rights, Rights.READ),
        (Point, Point(1, 2)),
        (Address, {"street": "High"}),
        (Order, ORDER),
        (Tree, Tree(Tree(None, None), None)),
        (Packed, Packed(0.5)),
        (set[int], {1, 2}),
        (frozenset[str], frozenset("ab")),
        (tuple[int, ...], (1, 2)),
        (dict[int, str], {1: "a"}),
        (Literal["a", 1], 1),
        (Annotated[int, msgspec.Meta(ge=0)], 3),
        (int | str | None, "x"),
        (Customer, ALICE),
        (Strict, Strict(at=datetime(2030, 1, 1, tzinfo=UTC), raw=b"abc", pair=(1, 2))),
        (Aliased, ALIASED),
        (Open, Open(share=0.5, other=[1])),  # type: ignore[call-arg]
        (Parcel, Parcel(ALICE, {"a": [ALICE]})),
        (object, [1, {"a": None}]),
    ],
    ids=named,
)
def test_a_value_reads_back_as_it_was(kind: Any, value: Any) -> None:
    codec = Codec(kind, what="it")

    assert codec.decode(codec.encode(value)) == value


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(plain)
def test_plain_data_reads_back_as_it_was_or_is_refused(value: Any) -> None:
    assert decode_any(encode(value, what="it")) == value


@given(
    st.recursive(st.none() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_no_number_that_is_not_finite_slips_through(value: Any) -> None:
    try:
        text = encode(value, what="it")
    except EncodingError:
        assert "nan" in repr(value) or "inf" in repr(value)
    else:
        assert decode_any(text) == value


class Words(str):
    __slots__ = ()


class Count(int):
    pass


class Share(float):
    pass


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Words("hi"), '"hi"'),
        (Count(3), "3"),
        (Share(0.5), "0.5"),
        (collections.defaultdict(int, a=1), '{"a":1}'),
        (collections.Counter("aa"), '{"a":2}'),
        (Rights.READ | Rights.WRITE, "3"),
        ({1: "a"}, '{"1":"a"}'),
        ([Words("a"), {"b": Count(1)}], '["a",{"b":1}]'),
    ],
)
def test_heirs_of_plain_types_are_written_as_those(value: Any, text: str) -> None:
    assert encode(value, what="it") == text


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, Share("nan")])
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda number: number, r"\$$"),
        (lambda number: {"a": [1, None, number]}, r"\$\.a\[2\]$"),
        (lambda number: {3: number}, r"\$\[3\]$"),
        (lambda number: (None, {number}), r"\$\[1\]\[\.\.\.\]$"),
        (lambda number: Packed(number), r"\$\.share$"),
        (lambda number: [Open(share=number)], r"\$\[0\]\.share$"),
        (lambda number: Open(extra=number), r"\$\.extra$"),  # type: ignore[call-arg]
        (lambda number: Line("a", number), r"\$\.price$"),
    ],
)
def test_a_number_that_is_not_finite_is_refused_with_its_path(wrap: Any, path: str, number: float) -> None:
    with pytest.raises(EncodingError, match=f"it holds a number that is not finite .* at {path}"):
        encode(wrap(number), what="it")


def test_an_enum_of_a_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(EncodingError, match="not finite"):
        encode([Odd.NAN], what="it")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": "half \ud800"}, r"not valid Unicode at \$\.a$"),
        ([{"half \udfff": 1}], r"not valid Unicode at \$\[0\]$"),
        (10**5_000, r"holds an int at \$, which"),
        ({"a": [object()]}, r"holds an object at \$\.a\[0\], which cannot be stored"),
        ({(1, 2): 3}, r"dict at \$, .*tuple"),
        ({"f": Line("a", open)}, r"builtin_function_or_method at \$\.f\.price"),  # type: ignore[arg-type]
        (1j, "a complex"),
        (type("", (), {})(), r"holds a  at \$"),
        (range(3), "range"),
        (types.SimpleNamespace(a=1), "SimpleNamespace"),
        (Packed, "StructMeta|type"),
        ([Prickly()], r"Prickly at \$\[0\].*not today"),
    ],
    ids=named,
)
def test_what_cannot_be_written_is_named_with_its_path(value: Any, said: str) -> None:
    with pytest.raises(EncodingError, match=said):
        encode(value, what="it")


def nested(levels: int, *, within: Any = 1, kind: str = "list") -> Any:
    for _ in range(levels):
        within = [within] if kind == "list" else {"a": within}
    return within


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_depth_has_a_limit(kind: str) -> None:
    deepest = nested(DEPTH_MAX, kind=kind)
    assert decode_any(encode(deepest, what="it")) == deepest

    for levels in (DEPTH_MAX + 1, 500, 100_000):
        with pytest.raises(EncodingError, match="nested too deeply"):
            encode(nested(levels, kind=kind), what="it")


def test_width_is_not_depth() -> None:
    wide = [{"text": '[[{{\\"', "more": [[number]]} for number in range(5_000)]

    assert decode_any(encode(wide, what="it")) == wide


def test_brackets_in_text_are_not_depth() -> None:
    assert decode_any(encode(text := "[" * 1_000 + '\\"', what="it")) == text


def test_a_number_that_is_not_finite_cannot_hide_in_the_depth() -> None:
    with pytest.raises(EncodingError, match="not finite"):
        encode(nested(DEPTH_MAX, within=math.nan), what="it")
    with pytest.raises(EncodingError):
        encode(nested(DEPTH_MAX + 1, within=math.nan), what="it")


def test_a_value_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)

    with pytest.raises(EncodingError, match="contains itself"):
        encode(circle, what="it")


def test_size_has_a_limit_in_bytes() -> None:
    assert encode("ä" * 10, what="it", bytes_max=22)

    with pytest.raises(ValueTooLarge, match=r"it takes 22 bytes .* limit is 21") as caught:
        encode("ä" * 10, what="it", bytes_max=21)

    assert (caught.value.bytes_seen, caught.value.bytes_max) == (22, 21)


@pytest.mark.parametrize(
    "kind",
    [
        Unsupported,
        list[Unsupported],
        dict[str, tuple[int, Unsupported]],
        Unsupported | None,
        Hidden,
        complex,
        type,
        collections.abc.Callable[[int], int],
        collections.abc.Iterator[int],
        datetime | str,
        Line | Touchy,
        "Missing",
    ],
)
def test_a_type_that_cannot_be_read_is_refused_at_its_definition(kind: Any) -> None:
    with pytest.raises(DefinitionError, match="the arguments cannot be stored"):
        Codec(kind, what="the arguments")


def test_an_unsupported_class_is_named() -> None:
    with pytest.raises(DefinitionError, match="type 'Unsupported' is not supported; use a dataclass"):
        Codec(Hidden, what="the arguments")


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (Order, '{"id":"x"}', r"Invalid UUID - at `\$\.id`"),
        (list[Line], '[{"sku":1,"price":"1"}]', r"Expected `str`, got `int` - at `\$\[0\]\.sku`"),
        (Parcel, '{"to":{"name":"A"},"stops":{}}', r"since"),
        (Touchy, '{"count":-1}', "count"),
        (int, "1.5", "Expected `int`"),
        (int, "9" * 5_000, "out of range"),
        (float, "1e400", "out of range"),
        (Any, "{", "truncated"),
        (Any, "[" * 100_000, "recursion"),
        (str, '"\\ud800"', "truncated"),
    ],
    ids=named,
)
def test_text_that_does_not_fit_is_refused_with_the_place(kind: Any, text: str, said: str) -> None:
    with pytest.raises(EncodingError, match=f"(?s)^it: .*(?:{said})"):
        Codec(kind, what="it").decode(text)


@pytest.mark.parametrize("text", ["", "nul", "{'a':1}", "NaN", "[" * 100_000, "1e999", '"\\ud800"'], ids=named)
def test_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(EncodingError, match="not readable JSON"):
        decode_any(text)


def test_fields_of_another_release_are_ignored() -> None:
    assert Codec(Line, what="it").decode('{"sku":"a","price":"1","colour":"red"}') == Line("a", Decimal(1))


def test_an_older_pydantic_is_spoken_to_by_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 2.11 models could not be read by their fields' names."""

    class Old:
        def __init__(self, number: int) -> None:
            self.number = number

        def model_dump(self, *, mode: str, round_trip: bool, by_alias: bool) -> dict[str, int]:
            assert (mode, round_trip, by_alias) == ("json", True, True)
            return {"orderId": self.number}

        @classmethod
        def model_validate_json(cls, raw: bytes) -> "Old":
            return cls(decode_any(raw.decode())["orderId"])

    codec = Codec(list[Old], what="it")

    assert [item.number for item in codec.decode(codec.encode([Old(5)]))] == [5]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain", "plain"),
        ("a\x00b", "a\\0b"),
        ("\ud800", "?"),
        (None, "None"),
        ("x" * 12, "x" * 10 + "... [truncated]"),
    ],
)
def test_foreign_text_is_made_safe(text: object, clean: str) -> None:
    assert clean_text(text, chars_max=10) == clean
