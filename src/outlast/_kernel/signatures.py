"""A function's signature as what it takes from the database and gives to it."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, NotRequired, TypedDict

from outlast._codec import Codec, decode_any, encode
from outlast.config import shown
from outlast.errors import ArgumentError, DefinitionError, EncodingError, did_you_mean

_EMPTY: Final = inspect.Parameter.empty


class Signature:
    """Checks, writes and reads the arguments and the result of a function.

    Args:
        function: The function; all its arguments must be such as can be given by name.
        who: What errors call it, such as `job 'send'`.
        context: The class that a parameter called `ctx` receives, which is no argument; None: there is no such thing.
        outcomes: Classes in the return annotation that are no results.

    Raises: DefinitionError.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        who: str,
        context: type | None = None,
        outcomes: tuple[type, ...] = (),
    ) -> None:
        self.who = who
        signature = self._signature = inspect.signature(function)
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except Exception as error:
            raise DefinitionError(f"{who}: its annotations cannot be resolved: {error}") from None
        parameters = dict(signature.parameters)
        for parameter in parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise DefinitionError(f"{who}: parameter {parameter} cannot be given by name; spell its arguments out")
        self.wants_context = context is not None and parameters.pop("ctx", None) is not None
        kinds: dict[str, Any] = {}
        self._positional: list[str] = []
        for name, parameter in parameters.items():
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                self._positional.append(name)
            kind = hints.get(name, Any)
            if context is not None and kind is context:
                raise DefinitionError(f"{who}: the parameter that takes the Context must be called ctx")
            kinds[name] = NotRequired[kind] if parameter.default is not _EMPTY else kind
        self._required = {name for name, item in parameters.items() if item.default is _EMPTY}
        self.names = frozenset(kinds)
        shape = TypedDict("Arguments", kinds)  # type: ignore[misc]
        self._arguments = Codec(shape, what=f"the arguments of {who}")
        self.result = Codec(_result_hint(hints.get("return", Any), outcomes), what=f"the result of {who}")

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Arguments as JSON text, proven to read back. Raises: ArgumentError, EncodingError."""
        given = self._bind(args, kwargs) if args else kwargs
        if not self.names >= given.keys() or not self._required <= given.keys():
            raise ArgumentError(self._mismatch(given))
        text = encode(given, what=self._arguments.what)
        try:
            self._arguments.decode(text)
        except EncodingError as error:
            raise ArgumentError(str(error)) from None
        return text

    def encode_json(self, text: str) -> str:
        """Arguments from a JSON object, as the command line has them. Raises: ArgumentError, EncodingError."""
        try:
            given = decode_any(text)
        except EncodingError:
            given = None
        if not isinstance(given, dict):
            raise ArgumentError(f"the arguments of {self.who} must be a JSON object, not {text[:80]}")
        return self.encode((), given)

    def revise(self, text: str, changes: Mapping[str, Any]) -> str:
        """Stored arguments with some of them changed, as JSON text, proven to read back.

        Stored ones that the function does not take any more are left out. Raises: ArgumentError, EncodingError.
        """
        stored = plain_object(text)
        return self.encode((), {name: stored[name] for name in stored if name in self.names} | dict(changes))

    def named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name, defaults included. Raises: TypeError."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def decode(self, text: str) -> dict[str, Any]:
        """Stored arguments by name. Raises: EncodingError."""
        found: dict[str, Any] = self._arguments.decode(text)
        return found

    def encode_result(self, value: Any) -> str:
        """A result as JSON text. Raises: EncodingError."""
        return encode(value, what=self.result.what)

    def read_result(self, text: str) -> Any:
        """A stored result, typed as the return annotation says; plain data where it does not fit."""
        try:
            return self.result.decode(text)
        except EncodingError:
            return decode_any(text)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        if len(args) > len(self._positional):
            raise ArgumentError(f"{self.who} takes {len(self._positional)} positional arguments, not {len(args)}")
        given = dict(zip(self._positional, args, strict=False))
        if twice := given.keys() & kwargs.keys():
            raise ArgumentError(f"{self.who} got {sorted(twice)[0]!r} twice")
        return given | kwargs

    def _mismatch(self, given: dict[str, Any]) -> str:
        for name in given:
            if name not in self.names:
                return f"{self.who} has no argument {shown(name)}{did_you_mean(name, self.names)}"
        missing = ", ".join(repr(name) for name in sorted(self._required - given.keys()))
        return f"{self.who} misses argument {missing}"


def plain_object(text: str) -> dict[str, Any]:
    """The JSON object that a text holds; an empty one where it holds none."""
    try:
        found = decode_any(text)
    except EncodingError:
        return {}
    return found if isinstance(found, dict) else {}


def _result_hint(hint: Any, outcomes: tuple[type, ...]) -> Any:
    if typing.get_origin(hint) in (Awaitable, Coroutine):  # A plain function that hands one out.
        hint = typing.get_args(hint)[-1]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kept = tuple(item for item in typing.get_args(hint) if item not in outcomes)
        return typing.Union[kept] if kept else Any  # noqa: UP007
    return Any if hint in (*outcomes, typing.NoReturn, typing.Never) else hint


def check_alone(program: Any, schedule: object) -> None:
    """Refuses a schedule for a program that cannot be started without arguments. Raises: DefinitionError."""
    if schedule is None:
        return
    try:
        program.new()
    except ArgumentError as error:
        raise DefinitionError(
            f"{program.name!r} has a schedule, and no defaults for its arguments ({error}): give it some, or use "
            "engine.schedule(...new(...), ...)"
        ) from None
