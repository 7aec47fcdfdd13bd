"""Arguments of the engine's operations, checked: what is wrong is named, and what was expected."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from outlast._kernel.requests import Startable, StartRequest
from outlast._kernel.states import ALL
from outlast.config import shown
from outlast.errors import ConfigError, did_you_mean

R = TypeVar("R")

PAGE_MAX: Final = 1_000
"""Instances that one `list` returns at most."""


def checked_id(id: str) -> str:
    """An instance id in its canonical form. Raises: ConfigError."""
    text = id.lower() if isinstance(id, str) else ""
    if not is_id(text):
        raise ConfigError(f"an instance id looks like 0190a2b3-..., not {shown(id)}")
    return text


def checked_limit(limit: int) -> int:
    """The size of a page. Raises: ConfigError."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= PAGE_MAX:
        raise ConfigError(f"limit must be a whole number from 1 to {PAGE_MAX:,}, not {shown(limit)}")
    return limit


def checked_statuses(status: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """One status or several, as a tuple, or None. Raises: ConfigError."""
    if status is None:
        return None
    chosen = (status,) if isinstance(status, str) else tuple(status)
    for word in chosen:
        if word not in ALL:
            raise ConfigError(f"no status is called {shown(word)}{did_you_mean(word, ALL)}")
    return chosen


def one_of(name: str, value: str, words: Sequence[str]) -> None:
    """Refuses a word that is not among `words`. Raises: ConfigError."""
    if value not in words:
        raise ConfigError(f"{name} must be one of {', '.join(words)}, not {shown(value)}")


def checked_flag(name: str, value: object) -> bool:
    """True or false. Raises: ConfigError."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false, not {shown(value)}")
    return value


def checked_words(name: str, value: str | None) -> str | None:
    """Text to look for, or None. Raises: ConfigError: it is none that could have been stored."""
    if value is not None and (not isinstance(value, str) or "\0" in value or not _is_utf8(value)):
        raise ConfigError(f"{name} must be text without NUL or halves of characters, not {shown(value)}")
    return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def checked_level(level: str | int | None) -> int:
    """A level of `logging` as its number; None: 0. Raises: ConfigError."""
    if level is None:
        return 0
    if isinstance(level, int) and not isinstance(level, bool):
        return level
    known = logging.getLevelNamesMapping()
    if not isinstance(level, str) or level.upper() not in known:
        raise ConfigError(f"level must be one such as INFO or WARNING, not {shown(level)}{did_you_mean(level, known)}")
    return known[level.upper()]


def request_of(what: Startable[R]) -> StartRequest[R]:
    """What a description asks for. Raises: ConfigError: it is none."""
    if isinstance(what, type) or not hasattr(what, "start_request"):
        raise ConfigError(f"start takes what .new(...) returns, or a machine such as Mine(x=1), not {shown(what)}")
    return what.start_request()


def is_id(text: str) -> bool:
    """Whether this looks like an instance id."""
    return (
        len(text) == 36
        and set(text) <= set("0123456789abcdef-")
        and [len(part) for part in text.split("-")] == [8, 4, 4, 4, 12]
    )
