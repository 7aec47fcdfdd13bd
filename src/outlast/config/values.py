"""Single values of settings and options: durations, names, numbers; what is wrong is named, with what was expected."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Final

from outlast.errors import ConfigError, did_you_mean

Duration = float | int | timedelta
"""Seconds, or a timedelta."""


DAY_S: Final = 86_400.0
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY_S}
WHOLE: Final = re.compile(r"[0-9]{1,18}")
_NAME_MAX = 200
_SHOWN_MAX = 100


def seconds(count: float) -> timedelta:
    """A duration of `count` seconds."""
    return timedelta(seconds=count)


def minutes(count: float) -> timedelta:
    """A duration of `count` minutes."""
    return timedelta(minutes=count)


def hours(count: float) -> timedelta:
    """A duration of `count` hours."""
    return timedelta(hours=count)


def days(count: float) -> timedelta:
    """A duration of `count` days of 24 hours."""
    return timedelta(days=count)


def duration_s(value: object, *, name: str, least_s: float = 0.0, most_s: float = 100 * 365 * DAY_S) -> float:
    """A duration as float seconds.

    Args:
        value: A timedelta, a number of seconds, or text such as "90", "250ms", "5m", "1.5h", "2d".
        name: What to call it in the error.
        least_s: Smallest value allowed, in seconds.
        most_s: Largest value allowed, in seconds (default: a hundred years).

    Raises: ConfigError.
    """
    number: float
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, int) and not isinstance(value, bool):
        number = math.inf if abs(value) > most_s else float(value)  # A huge one would not fit into a float.
    elif isinstance(value, float):
        number = value
    elif isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*", value)):
        number = float(match[1]) * _UNITS_S[match[2] or "s"]
    else:
        raise ConfigError(f'{name} must be seconds, a timedelta, or text such as "250ms" or "5m", not {shown(value)}')
    if not math.isfinite(number) or not least_s <= number <= most_s:
        raise ConfigError(f"{name} must be between {least_s:g} and {most_s:g} seconds, not {shown(value)}")
    return number


def shown(value: object) -> str:
    """A value as it is quoted in an error: never long, never raising."""
    try:
        text = repr(value)
    except Exception:  # A number of 5,000 digits, for one, refuses.
        return f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def checked_name(value: object, *, what: str) -> str:
    """A name of a program, queue or key: 1 to 200 printable characters, no white space at the ends.

    Raises: ConfigError.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{what} must be text, not {shown(value)}")
    if not 1 <= len(value) <= _NAME_MAX or not value.isprintable() or value != value.strip():
        raise ConfigError(
            f"{what} must be 1 to {_NAME_MAX} printable characters without white space at the ends, not {shown(value)}"
        )
    return value


def whole(name: str, value: object, least: int, most: int) -> None:
    """Refuses what is no whole number within these bounds. Raises: ConfigError."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigError(f"{name} must be a whole number from {least:,} to {most:,}, not {shown(value)}")


def one_of(name: str, value: object, words: tuple[str, ...]) -> None:
    """Refuses what is none of these words. Raises: ConfigError."""
    if value not in words:
        hint = did_you_mean(value, words)
        raise ConfigError(f"{name} must be one of {', '.join(map(repr, words))}, not {shown(value)}{hint}")


def positive(name: str, value: object) -> None:
    """Refuses what is no number above 0. Raises: ConfigError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1e9:
        raise ConfigError(f"{name} must be a number above 0, not {shown(value)}")
