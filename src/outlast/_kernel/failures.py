"""Errors as data: bounded, clean, and never raising themselves."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any

from outlast._codec import clean_text, decode_any, encode
from outlast.errors import EncodingError

_TRACEBACK_CHARS_MAX = 20_000
_MESSAGE_CHARS_MAX = 4_000
_BRIEF_CHARS_MAX = 200


def failure_text(error: BaseException) -> str:
    """An exception as JSON text: `type`, `message`, `traceback`."""
    return _error_text(_type_name(error), clean_text(error, chars_max=_MESSAGE_CHARS_MAX), _trace(error))


def reason_text(reason: object, *, kind: str) -> str:
    """A reason given without an exception, in the same shape."""
    return _error_text(kind, clean_text(reason, chars_max=_MESSAGE_CHARS_MAX), "")


def brief(error: BaseException) -> str:
    """An exception in a line, as events tell it: its type, and the beginning of what it says."""
    return f"{type(error).__name__}: {clean_text(error, chars_max=_BRIEF_CHARS_MAX)}"


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
    return {"type": "unknown", "message": "", "traceback": "", **found}


def _error_text(kind: str, message: str, trace: str) -> str:
    return encode({"type": kind, "message": message, "traceback": trace}, what="an error")


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _trace(error: BaseException) -> str:
    try:
        lines = "".join(traceback.format_exception(type(error), error, _from_user_code(error)))
    except BaseException:  # A hostile `__str__` or `__cause__` must not cost us the record of the failure.
        return ""
    if len(lines) > _TRACEBACK_CHARS_MAX:  # Both ends tell something: where it began, and what it came to.
        half = _TRACEBACK_CHARS_MAX // 2
        lines = f"{lines[:half]}\n... [cut] ...\n{lines[-half:]}"
    return clean_text(lines, chars_max=_TRACEBACK_CHARS_MAX + 100)


def _from_user_code(error: BaseException) -> TracebackType | None:
    """The traceback without the engine's own frames at its beginning; whole when there are no others."""
    frame = error.__traceback__
    while frame is not None and str(frame.tb_frame.f_globals.get("__name__", "")).startswith("outlast."):
        frame = frame.tb_next
    return frame or error.__traceback__
