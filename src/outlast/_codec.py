"""Values in, JSON text out, and back. Strict, typed, never pickle.

A codec is built when a program is defined, so that an unsupported type fails at import. msgspec writes
and reads; this module adds what it lets pass: NaN and infinity (it writes null), sizes, and the path to
a value that cannot be written.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from outlast.errors import DefinitionError, EncodingError, ValueTooLarge

DEPTH_MAX: Final = 64
"""Lists and objects within each other, at most: what is written at any depth of calls can be read at any other."""
_STEP_MAX: Final = 80
"""Characters of a key that an error's path shows."""
_PATH_MAX: Final = 300
"""The last characters of a path that an error shows."""
_NUL: Final = "\x00"
_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_TO_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"{}[]")


def _to_plain(value: Any) -> Any:
    """Encode hook: pydantic models (of a user who has pydantic) by their own rules, and heirs of plain types."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        # By field names, and without what is computed: only that reads back whatever the model's aliases are.
        kind: type = type(value)
        return dump(mode="json", round_trip=True, by_alias=not _reads_names(kind))
    raise NotImplementedError(f"objects of type {type(value).__name__}")


def _from_plain(kind: type, value: Any) -> Any:
    """Decode hook: the twin of `_to_plain`."""
    if kind is object:
        return value
    validate = getattr(kind, "model_validate_json", None)
    if validate is None:
        raise NotImplementedError(f"objects of type {kind.__name__}")
    # As JSON, not as Python: a strict model takes a date from text in the one and not in the other.
    return validate(_encoder.encode(value), **({"by_name": True} if _reads_names(kind) else {}))


@functools.cache
def _reads_names(kind: type) -> bool:
    """Whether this pydantic (2.11 or later) reads a model by its fields' names."""
    validate = getattr(kind, "model_validate_json", None)
    return validate is not None and "by_name" in inspect.signature(validate).parameters


_encoder = msgspec.json.Encoder(enc_hook=_to_plain)


def encode(value: Any, *, what: str, bytes_max: int | None = None) -> str:
    """A value as JSON text.

    Args:
        value: Plain data, dataclasses, TypedDict, attrs, enums, UUID, Decimal, datetime, pydantic models...
        what: What it is, for the error.
        bytes_max: Largest size allowed, in bytes.

    Raises: EncodingError, with the path to the value that cannot be written; ValueTooLarge.
    """
    try:
        raw = _encoder.encode(value)
    except Exception as error:  # Also what a value's own code raises while it is looked at.
        raise EncodingError(_complaint(value, what, error)) from None
    if raw.count(b"[") + raw.count(b"{") > DEPTH_MAX and _is_deep(raw):
        raise EncodingError(_too_deep(what))
    if b"null" in raw and (path := _non_finite(value, "$", 0)) is not None:
        raise EncodingError(f"{what} holds a number that is not finite (NaN or infinity) at {_shown(path)}")
    if bytes_max is not None and len(raw) > bytes_max:
        raise ValueTooLarge(what, len(raw), bytes_max)
    return raw.decode()


class Codec:
    """Writes and reads values of one type.

    Args:
        kind: The type to read back; `Any` for plain data.
        what: What it is, for errors.

    Raises: DefinitionError: the type cannot be stored.
    """

    def __init__(self, kind: Any, *, what: str) -> None:
        self.what = what
        try:
            _refuse_unknown_types(msgspec.inspect.type_info(kind), set())
            self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind, dec_hook=_from_plain)
        except Exception as error:
            raise DefinitionError(f"{what} cannot be stored: {error}") from None

    def encode(self, value: Any) -> str:
        """The value as JSON text, proven to read back. Raises: EncodingError."""
        text = encode(value, what=self.what)
        self.decode(text)
        return text

    def decode(self, text: str) -> Any:
        """The value that the text holds. Raises: EncodingError, with the path to what does not fit."""
        try:
            return self._decoder.decode(text)
        except Exception as error:  # Also what a value's own `__post_init__` raises.
            raise EncodingError(f"{self.what}: {error or type(error).__name__}") from None


def decode_any(text: str) -> Any:
    """Plain data from JSON text. Raises: EncodingError."""
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise EncodingError(f"stored text is not readable JSON: {error}") from None


def clean_text(text: object, *, chars_max: int = 10_000) -> str:
    """Foreign text made safe to store: no NUL, no lone surrogates, bounded, and never raising."""
    try:
        found = str(text)
    except BaseException:  # Whatever a hostile `__str__` raises, the failure must be recorded.
        found = f"<{type(text).__name__} that cannot be shown>"
    if len(found) > chars_max:
        found = found[:chars_max] + "... [truncated]"
    return found.replace(_NUL, "\\0").encode("utf-8", "replace").decode("utf-8")


def _refuse_unknown_types(info: Any, seen: set[int]) -> None:
    """Raises TypeError for a type that neither msgspec nor we can read, anywhere inside of `info`."""
    if id(info) in seen:
        return  # A type may hold itself.
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType):
        if info.cls is not object and not hasattr(info.cls, "model_validate_json"):
            raise TypeError(f"type {info.cls.__qualname__!r} is not supported; use a dataclass")
        return
    for name in getattr(info, "__struct_fields__", ()):
        inner = getattr(info, name)
        for item in inner if isinstance(inner, tuple) else (inner,):
            kind = item.type if isinstance(item, msgspec.inspect.Field) else item
            if isinstance(kind, msgspec.inspect.Type):
                _refuse_unknown_types(kind, seen)


def _is_deep(raw: bytes) -> bool:
    """Whether lists and objects stand within each other more than `DEPTH_MAX` times."""
    brackets = _TEXT.sub(b"", raw).translate(_TO_SQUARE, _NO_BRACKETS)
    for _ in range(DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"")  # Takes the innermost level away.
    return bool(brackets)


def _too_deep(what: str) -> str:
    return f"{what} is nested too deeply (more than {DEPTH_MAX} levels) or contains itself"


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(_step(key), item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return [("[...]", item) for item in value]
    if isinstance(value, type):
        return []
    if isinstance(value, enum.Enum):
        return [("", value.value)]
    return [(f".{name}", getattr(value, name, None)) for name in _field_names(value)]


def _step(key: Any) -> str:
    try:
        text = f".{key}" if isinstance(key, str) else f"[{key!r}]"
    except Exception:  # a number of 5,000 digits, for one, refuses.
        text = f"[<{type(key).__name__}>]"
    return text if len(text) <= _STEP_MAX else f"{text[:_STEP_MAX]}..."


def _shown(path: str) -> str:
    return path if len(path) <= _PATH_MAX else f"$...{path[-_PATH_MAX:]}"


def _field_names(value: Any) -> list[str]:
    """The fields of a dataclass, a msgspec Struct, an attrs class or a pydantic model."""
    if dataclasses.is_dataclass(value):
        return [item.name for item in dataclasses.fields(value)]
    if isinstance(value, msgspec.Struct):
        return list(value.__struct_fields__)
    if hasattr(value, "__attrs_attrs__"):
        return [item.name for item in value.__attrs_attrs__]
    if hasattr(value, "model_dump"):
        return [*vars(value), *(getattr(value, "__pydantic_extra__", None) or ())]
    return []


def _non_finite(value: Any, path: str, depth: int) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    if depth > DEPTH_MAX:
        return None
    for step, item in _children(value):
        if (found := _non_finite(item, path + step, depth + 1)) is not None:
            return found
    return None


def _complaint(value: Any, what: str, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return _too_deep(what)
    path, culprit = _culprit(value, "$", 0)
    kind = type(culprit).__name__
    if isinstance(error, UnicodeEncodeError):
        return f"{what} holds text that is not valid Unicode at {_shown(path)}"
    article = "an" if kind.lower().startswith(("a", "e", "i", "o")) else "a"
    return f"{what} holds {article} {kind} at {_shown(path)}, which cannot be stored as JSON ({error})"


def _culprit(value: Any, path: str, depth: int) -> tuple[str, Any]:
    """The deepest value that cannot be written, and the path to it."""
    if depth < DEPTH_MAX:
        for step, item in _children(value):
            try:
                _encoder.encode(item)
            except Exception:
                return _culprit(item, path + step, depth + 1)
    return path, value
