"""Tags: texts by name, by which instances are found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from outlast._codec import encode
from outlast.config import checked_name, shown
from outlast.errors import ConfigError

TAGS_MAX: Final = 20
"""Tags that one instance has at most, and names that one call changes."""


def checked_tags(tags: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """Tags by name, in the order of their names. Raises: ConfigError."""
    found = checked_changes(tags or {})
    for name, value in found.items():
        if value is None:
            raise ConfigError(f"tag {name!r} must be text, not None")
    return tuple((name, value) for name, value in found.items() if value is not None)


def checked_changes(changes: Mapping[str, str | None]) -> dict[str, str | None]:
    """Changes of tags, in the order of their names; None takes one away. Raises: ConfigError."""
    if not isinstance(changes, Mapping):
        raise ConfigError(f'tags must be texts by name, such as {{"customer": "42"}}, not {shown(changes)}')
    if len(changes) > TAGS_MAX:
        raise ConfigError(f"an instance has {TAGS_MAX} tags at most, not {len(changes):,}")
    for name, value in changes.items():
        checked_name(name, what="a tag's name")
        if value is not None:
            checked_name(value, what=f"tag {name!r}")
    return dict(sorted(changes.items()))


def tags_text(tags: Mapping[str, str] | None) -> str | None:
    """Tags as a row has them: the text of a JSON object, or None where there are none. Raises: ConfigError."""
    checked = checked_tags(tags)
    return encode(dict(checked), what="tags") if checked else None


def refuse_many(count: int) -> None:
    """Raises: ConfigError: an instance would have more tags than it may."""
    if count > TAGS_MAX:
        raise ConfigError(f"an instance has {TAGS_MAX} tags at most; with these it would have {count:,}")
