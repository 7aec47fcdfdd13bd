"""Errors as data: bounded, clean, and never raising themselves."""

from __future__ import annotations

import traceback
from typing import Any

from outlast._codec import clean_text, decode_any, encode
from outlast.errors import EncodingError

_TRACEBACK_CHARS_MAX = 20_000
_MESSAGE_CHARS_MAX = 4_000


def failure_text(error: BaseException) -> str:
    """An exception as JSON text: `type`, `message`, `traceback`."""
    return _error_text(_type_name(error), clean_text(error, chars_max=_MESSAGE_CHARS_MAX), _trace(error))


def reason_text(reason: object, *, kind: str) -> str:
    """A reason given without an exception, in the same shape."""
    return _error_text(kind, clean_text(reason, chars_max=_MESSAGE_CHARS_MAX), "")


def read_error(text: str | None) -> dict[str, Any] | None:
    """The stored error as a mapping, or None. What cannot be read is shown as it is."""
    if text is None:
        return None
    try:
        found = decode_any(text)
    except EncodingError:
        found = None
    if not isinstance(found, dict):
        return {"type": "unknown", "message": text[:_MESSAGE_CHARS_MAX], "traceback": ""}
    return found


def _error_text(kind: str, message: str, trace: str) -> str:
    return encode({"type": kind, "message": message, "traceback": trace}, what="an error")


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _trace(error: BaseException) -> str:
    try:
        lines = "".join(traceback.format_exception(error))
    except Exception:  # a hostile __str__ or __cause__ must not cost us the record of the failure.
        return ""
    return clean_text(lines[-_TRACEBACK_CHARS_MAX:], chars_max=_TRACEBACK_CHARS_MAX)
