"""Correlation keys: what they look like, and in which statuses one is held."""

from __future__ import annotations

from collections.abc import Iterable

from outlast._kernel.states import ALL, LIVE
from outlast.config import checked_name, shown
from outlast.errors import ConfigError, did_you_mean


def scope_text(scope: str | Iterable[str]) -> str | None:
    """In which statuses a correlation key is held, as the column stores it: `,ready,running,...,`.

    Args:
        scope: "live" (until the instance ends), "always" (until it is deleted), "none", or the statuses themselves:
            all live ones and any final ones, so that no outcome can ever take a key away from another instance.

    Raises: ConfigError.
    """
    words = {"live": LIVE, "always": ALL, "none": ()}
    if isinstance(scope, str):
        if scope not in words:
            raise ConfigError(f"correlation_scope {shown(scope)} is not known{did_you_mean(scope, words)}")
        chosen: tuple[str, ...] = words[scope]
    else:
        if not isinstance(scope, Iterable):
            raise ConfigError(f"correlation_scope must be a word or a list of statuses, not {shown(scope)}")
        chosen = tuple(scope)
        for status in chosen:
            if status not in ALL:
                raise ConfigError(f"correlation_scope: no status is called {shown(status)}{did_you_mean(status, ALL)}")
        if chosen and not set(LIVE) <= set(chosen):
            missing = ", ".join(status for status in LIVE if status not in chosen)
            raise ConfigError(f"correlation_scope must hold every live status or none; it lacks {missing}")
    return f",{','.join(chosen)}," if chosen else None


def checked_key(key: object) -> str:
    """A correlation key. Raises: ConfigError."""
    return checked_name(key, what="correlation_key")
