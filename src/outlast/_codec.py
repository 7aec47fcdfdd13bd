"""Values in, JSON text out, and back. Strict, typed, never pickle.

A codec is built when a program is defined, so that an unsupported type fails at import. msgspec writes
and reads; this module adds what it lets pass: NaN and infinity (it writes null), sizes, and the path to
a value that cannot be written.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from outlast.errors import DefinitionError, EncodingError, ValueTooLarge

_DEPTH_MAX: Final = 64
_NUL: Final = "\x00"


def _to_plain(value: Any) -> Any:
    """Encode hook: pydantic models (of a user who has pydantic), by their own rules."""
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return dump(mode="json")
    raise NotImplementedError(f"objects of type {type(value).__name__}")


def _from_plain(kind: type, value: Any) -> Any:
    """Decode hook: the twin of `_to_plain`."""
    validate = getattr(kind, "model_validate", None)
    if validate is not None:
        return validate(value)
    raise NotImplementedError(f"objects of type {kind.__name__}")


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
    except (TypeError, ValueError, RecursionError, OverflowError, NotImplementedError) as error:
        raise EncodingError(_complaint(value, what, error)) from None
    if b"null" in raw and (path := _non_finite(value, "$", 0)) is not None:
        raise EncodingError(f"{what} holds a number that is not finite (NaN or infinity) at {path}")
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
            _refuse_unknown_types(msgspec.inspect.type_info(kind))
            self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind, dec_hook=_from_plain)
        except (TypeError, NotImplementedError, ValueError, NameError) as error:
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
        except (ValueError, RecursionError, OverflowError, TypeError) as error:
            raise EncodingError(f"{self.what}: {error}") from None


def decode_any(text: str) -> Any:
    """Plain data from JSON text. Raises: EncodingError."""
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError, OverflowError) as error:
        raise EncodingError(f"stored text is not readable JSON: {error}") from None


def clean_text(text: object, *, chars_max: int = 10_000) -> str:
    """Foreign text made safe to store: no NUL, no lone surrogates, bounded, and never raising."""
    try:
        found = str(text)
    except Exception:
        found = f"<{type(text).__name__} that cannot be shown>"
    if len(found) > chars_max:
        found = found[:chars_max] + "... [truncated]"
    return found.replace(_NUL, "\\0").encode("utf-8", "replace").decode("utf-8")


def _refuse_unknown_types(info: Any, depth: int = 0) -> None:
    if isinstance(info, msgspec.inspect.CustomType):
        if not hasattr(info.cls, "model_validate"):
            raise TypeError(f"type {info.cls.__qualname__!r} is not supported; use a dataclass")
        return
    if depth > _DEPTH_MAX or (not dataclasses.is_dataclass(info) and not isinstance(info, msgspec.Struct)):
        return
    for name in getattr(info, "__struct_fields__", ()):
        inner = getattr(info, name)
        if name == "cls":
            continue
        for item in inner if isinstance(inner, tuple) else (inner,):
            kind = item.type if isinstance(item, msgspec.inspect.Field) else item
            if isinstance(kind, msgspec.inspect.Type) and not isinstance(info, msgspec.inspect.AnyType):
                _refuse_unknown_types(kind, depth + 1)


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(f".{key}" if isinstance(key, str) else f"[{key!r}]", item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return [("[...]", item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{item.name}", getattr(value, item.name, None)) for item in dataclasses.fields(value)]
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return [(f".{key}", item) for key, item in vars(value).items()]
    return []


def _non_finite(value: Any, path: str, depth: int) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    if depth > _DEPTH_MAX:
        return None
    for step, item in _children(value):
        if (found := _non_finite(item, path + step, depth + 1)) is not None:
            return found
    return None


def _complaint(value: Any, what: str, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"{what} is nested too deeply or contains itself"
    path, culprit = _culprit(value, "$", 0)
    kind = type(culprit).__name__
    if isinstance(error, UnicodeEncodeError):
        return f"{what} holds text that is not valid Unicode at {path}"
    return f"{what} holds a {kind} at {path}, which cannot be stored as JSON ({error})"


def _culprit(value: Any, path: str, depth: int) -> tuple[str, Any]:
    """The deepest value that cannot be written, and the path to it."""
    if depth < _DEPTH_MAX:
        for step, item in _children(value):
            try:
                _encoder.encode(item)
            except Exception:
                return _culprit(item, path + step, depth + 1)
    return path, value
