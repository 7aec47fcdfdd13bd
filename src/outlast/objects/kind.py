"""What objects of one class are: its fields, handlers and alarms, checked when the class is made."""

from __future__ import annotations

import copy
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from random import Random
from types import MethodType
from typing import Any, Final, NotRequired, Required, TypedDict

import msgspec

from outlast._codec import Codec, decode_any, encode
from outlast._kernel.backoff import checked_delay_s, exponential
from outlast._kernel.objects import Handling, Orders, Surroundings
from outlast._kernel.signatures import Signature
from outlast._model import AlarmRow
from outlast.errors import EncodingError
from outlast.objects.ringing import AlarmContext, ringing_context

CATCH_ALL: Final = "on_alarm"
"""The method that takes alarms without a handler of their own."""
ALARM_ATTEMPTS: Final = 10
"""Times that an alarm's handler is tried, unless it says otherwise."""
_PLAIN: Final = frozenset({type(None), bool, int, str, float})
"""Types of values that need no copying."""


class HandlerOf:
    """See `_kernel.objects.Handling`.

    Attributes:
        name: What it is called.
        function: The plain function.
        read_only: Whether it may not change the state.
        signature: Its arguments and its result.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        who: str,
        read_only: bool = False,
        context: type | None = None,
    ) -> None:
        self.name = name
        self.function = function
        self.read_only = read_only
        self.is_async = inspect.iscoroutinefunction(function)
        self.signature = Signature(MethodType(function, object()), who=who, context=context)
        self.takes_nothing = not self.signature.names
        self.result_hint = typing.get_type_hints(function, include_extras=True).get("return", Any)

    def args_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
        """A call's arguments as the handler gets them: copies, typed. Raises: ArgumentError, EncodingError."""
        if self.takes_nothing and not args and not kwargs:
            return {}
        return self.signature.decode(self.signature.encode(args, kwargs))

    def read_args(self, text: str) -> Mapping[str, Any]:
        """Arguments by name. Raises: EncodingError."""
        return self.signature.decode(text)

    def write_args(self, args: Mapping[str, Any]) -> str:
        """The same, as JSON text."""
        return self.signature.encode((), dict(args))

    def write_result(self, value: Any) -> str:
        """A result as JSON text. Raises: EncodingError."""
        return self.signature.encode_result(value)

    def read_result(self, text: str) -> Any:
        """The same, back."""
        return self.signature.read_result(text)

    def copy_result(self, value: Any) -> Any:
        """A result as its caller gets it: a copy, typed. Raises: EncodingError."""
        kind = type(value)
        if kind in _PLAIN and (kind is not float or value - value == 0.0):
            return value
        return self.read_result(self.write_result(value))


class AlarmOf(HandlerOf):
    """An alarm's handler, with how often it is tried."""

    def __init__(self, name: str, mark: Any, *, who: str) -> None:
        super().__init__(name, mark.function, who=who, context=AlarmContext)
        self.max_attempts: int = mark.max_attempts
        self.backoff: Any = mark.backoff


class ObjectKind:
    """See `_kernel.objects.ObjectType`. One per class.

    Attributes:
        cls: The class.
        field_names: Its fields, in order.
        handlers, alarms: By name.
        lent: Methods that its objects have besides their class's own, by name.
    """

    def __init__(
        self,
        cls: type,
        *,
        name: str,
        version: int,
        fields: Mapping[str, Any],
        defaults: Mapping[str, Callable[[], Any]],
        handlers: Mapping[str, HandlerOf],
        alarms: Mapping[str, AlarmOf],
        catch_all: AlarmOf | None,
        upgrades: Mapping[int, Callable[[Any], Any]],
        hibernate_s: float | None,
        shutdown_s: float | None,
        queue_limit: int,
        timeout_s: float,
        retention_s: float | None,
        lent: Mapping[str, Callable[..., Any]],
    ) -> None:
        self.cls = cls
        self.name = name
        self.version = version
        self.handlers = handlers
        self.alarms = alarms
        self.hibernate_s = hibernate_s
        self.shutdown_s = shutdown_s
        self.queue_limit = queue_limit
        self.timeout_s = timeout_s
        self.retention_s = retention_s
        self.lent = lent
        self.source = f"{cls.__module__}.{cls.__qualname__}"
        self._catch_all = catch_all
        self._upgrades = upgrades
        self._defaults = defaults
        self.has_fields = bool(fields)
        self.field_names = tuple(fields) if fields else ("state",)
        kinds = dict(fields) if fields else {"state": dict[str, Any]}
        self._names = frozenset(self.field_names)
        what = f"the state of object {name!r}"
        stored = {field: NotRequired[kind] for field, kind in kinds.items()}
        whole = {field: Required[kind] for field, kind in kinds.items()}
        self._reader = Codec(TypedDict("Stored", stored), what=what)  # type: ignore[operator]
        self._prover = Codec(TypedDict("Whole", whole), what=what)  # type: ignore[operator]
        self.what = what

    @property
    def older_versions(self) -> Sequence[int]:
        """Versions whose state it can read besides its own."""
        return tuple(self._upgrades)

    def blank(self) -> str:
        """The state of an object that was never called."""
        return self._prover.encode(self._fresh())

    def _fresh(self) -> dict[str, Any]:
        return {name: make() for name, make in self._defaults.items()}

    def load(self, id: str, version: int, text: str, around: Surroundings) -> ObjectBody:
        """An object from its stored state. Raises: EncodingError: it does not fit, or is of a version not known."""
        return ObjectBody(self, id, self._upgraded(version, text), around)

    def state_of(self, version: int, text: str) -> dict[str, Any]:
        """The fields of a stored state. Raises: EncodingError."""
        return self.read(self._upgraded(version, text))[0]

    def _upgraded(self, version: int, text: str) -> str:
        while version < self.version:
            upgrade = self._upgrades.get(version)
            if upgrade is None:
                raise EncodingError(
                    f"{self.what} is of version {version}; this process knows version {self.version} "
                    f"and no @upgrade(from_version={version})"
                )
            text = encode(upgrade(decode_any(text)), what=f"{self.what}, upgraded from version {version}")
            version += 1
        if version > self.version:
            raise EncodingError(
                f"{self.what} was written by version {version}; this process knows version {self.version}"
            )
        return text

    def read(self, text: str) -> tuple[dict[str, Any], dict[str, msgspec.Raw]]:
        """The fields of a stored state, with defaults for those it lacks; and what it holds besides, as it is.

        Raises: EncodingError.
        """
        found = self._reader.decode(text)
        fields = self._fresh() | found
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return fields, {name: value for name, value in raw.items() if name not in self._names}

    def prove(self, text: str) -> dict[str, Any]:
        """The fields of a state that was just written. Raises: EncodingError: one has not the type it should."""
        found: dict[str, Any] = self._prover.decode(text)
        return found

    def handling(self, name: str) -> HandlerOf | None:
        """A handler by name."""
        return self.handlers.get(name)

    def ringing(self, alarm: str) -> AlarmOf | None:
        """The handler of an alarm."""
        return self.alarms.get(alarm) or self._catch_all

    def alarm_args(self, alarm: AlarmRow) -> Mapping[str, Any]:
        """What the handler of an alarm is called with: the one that takes all of them gets the name."""
        handler = self.ringing(alarm.name)
        if handler is None:
            return {}
        args = {} if handler.takes_nothing else handler.args_of((alarm.name,), {})
        return {**args, "ctx": ringing_context(alarm)} if handler.signature.wants_context else args

    def retry_s(self, alarm: str, failures: int, dice: Random) -> float | None:
        """Seconds until an alarm whose handler has failed so often is tried again; None: it is not.

        One without a handler is tried as often as any: a process with newer code may take the object over meanwhile.
        """
        handler = self.ringing(alarm)
        if failures >= (ALARM_ATTEMPTS if handler is None else handler.max_attempts):
            return None
        return checked_delay_s(exponential() if handler is None else handler.backoff, failures, dice)

    def __repr__(self) -> str:
        return f"<object type {self.name!r} version {self.version}>"


class ObjectBody:
    """See `_kernel.objects.Body`: an instance of the user's class, its fields filled from the stored state."""

    __slots__ = ("_fields", "_kind", "_orders", "_unknown", "around", "id", "instance")

    def __init__(self, kind: ObjectKind, id: str, text: str, around: Surroundings) -> None:
        self._kind = kind
        self.id = id
        self.around = around
        self._orders = Orders()
        self.instance: Any = object.__new__(kind.cls)
        self._fields: dict[str, Any] = self.instance.__dict__
        fields, self._unknown = kind.read(text)
        self._fields.update(fields)
        self._fields["outlast_body"] = self
        if not hasattr(kind.cls, "id"):  # a plain class, which does not inherit it.
            self._fields["id"] = id
        for name, function in kind.lent.items():
            self._fields[name] = MethodType(function, self.instance)

    @property
    def orders(self) -> Orders:
        """What its handler has ordered so far."""
        return self._orders

    @property
    def kind(self) -> ObjectKind:
        """What it is."""
        return self._kind

    def run(self, handling: Handling, args: Mapping[str, Any]) -> Any:
        """Calls a handler: its value, or a coroutine of it."""
        return handling.function(self.instance, **args)  # type: ignore[attr-defined]

    def after_load(self) -> Any:
        """Calls the object's own `after_load`; a plain class may have none."""
        own = getattr(self.instance, "after_load", None)
        return None if own is None else own()

    def dump(self) -> str:
        """Its state as text. Raises: EncodingError."""
        fields = self._fields
        try:
            state = {name: fields[name] for name in self._kind.field_names}
        except KeyError as error:
            raise EncodingError(f"{self._kind.what} misses its field {error.args[0]!r}, which was deleted") from None
        if self._unknown:
            state |= self._unknown
        return encode(state, what=self._kind.what)

    def settle(self, text: str) -> None:
        """Takes the text that `dump` gave as its state. Raises: EncodingError: a field has not the type it should."""
        self._fields.update(self._kind.prove(text))

    def restore(self, text: str) -> None:
        """Makes its state what the text says, and forgets its orders."""
        fields, self._unknown = self._kind.read(text)
        self._fields.update(fields)
        self._orders = Orders()

    def take_orders(self) -> Orders:
        """Its orders, which it forgets."""
        orders = self._orders
        if orders:
            self._orders = Orders()
        return orders


def default_of(value: Any) -> Callable[[], Any]:
    """What makes a field's default: a copy each time where it could change."""
    if type(value) in _PLAIN:
        return lambda: value
    return lambda: copy.deepcopy(value)
