"""Arguments of the engine's operations, checked: what is wrong is named, and what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from outlast._kernel.states import ALL
from outlast._world import instant_us
from outlast.config import duration_s
from outlast.errors import ConfigError, did_you_mean

PAGE_MAX: Final = 1_000
"""Instances that one `list` returns at most."""
_PRIORITY_MAX: Final = 2**31 - 1


def due(schedule_in: float | timedelta | None, schedule_at: datetime | None) -> tuple[float | None, int | None]:
    """When it may first run: a delay in seconds, or an instant in microseconds since 1970. Raises: ConfigError."""
    if schedule_in is not None and schedule_at is not None:
        raise ConfigError("give schedule_in or schedule_at, not both")
    if schedule_in is not None:
        delay_s = duration_s(schedule_in, name="schedule_in")
        return (delay_s or None), None
    return None, moment_us("schedule_at", schedule_at)


def moment_us(name: str, moment: datetime | None) -> int | None:
    """An aware instant as microseconds since 1970, or None. Raises: ConfigError."""
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ConfigError(f"{name} must be a datetime with a time zone, such as datetime.now(UTC), not {moment!r}")
    return instant_us(moment)


def checked_id(id: str) -> str:
    """An instance id in its canonical form. Raises: ConfigError."""
    text = id.lower() if isinstance(id, str) else ""
    if (
        len(text) != 36
        or not set(text) <= set("0123456789abcdef-")
        or [len(p) for p in text.split("-")] != [8, 4, 4, 4, 12]
    ):
        raise ConfigError(f"an instance id looks like 0190a2b3-..., not {id!r}")
    return text


def checked_limit(limit: int) -> int:
    """The size of a page. Raises: ConfigError."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= PAGE_MAX:
        raise ConfigError(f"limit must be a whole number from 1 to {PAGE_MAX:,}, not {limit!r}")
    return limit


def checked_statuses(status: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """One status or several, as a tuple, or None. Raises: ConfigError."""
    if status is None:
        return None
    chosen = (status,) if isinstance(status, str) else tuple(status)
    for word in chosen:
        if word not in ALL:
            raise ConfigError(f"no status is called {word!r}{did_you_mean(str(word), ALL)}")
    return chosen


def one_of(name: str, value: str, words: Sequence[str]) -> None:
    """Refuses a word that is not among `words`. Raises: ConfigError."""
    if value not in words:
        raise ConfigError(f"{name} must be one of {', '.join(words)}, not {value!r}")


def checked_priority(priority: int) -> int:
    """A priority. Raises: ConfigError."""
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > _PRIORITY_MAX:
        raise ConfigError(f"priority must be a whole number (a lower one goes first), not {priority!r}")
    return priority
