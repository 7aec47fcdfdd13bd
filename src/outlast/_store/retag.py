"""Shared by both stores: what becomes of an instance's tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from outlast._model import TAGS, Settlement

WEIGHED_MAX: Final = 1_000
"""Instances with a tag that are counted at most, to see which of several tags is the rarest."""
_read = msgspec.json.Decoder(dict[str, str | None]).decode


def merged(known: str | None, changes: Mapping[str, str | None]) -> str | None:
    """The tags with these changes, as a row has them: the text of a JSON object, or None where nothing is left."""
    tags = {**({} if known is None else _read(known)), **changes}
    left = {name: value for name, value in sorted(tags.items()) if value is not None}
    return msgspec.json.encode(left).decode() if left else None


def merged_by(written: Sequence[Settlement]) -> dict[str, dict[str, str | None]]:
    """What outcomes have recorded of tags, by instance: the later changes win."""
    found: dict[str, dict[str, str | None]] = {}
    for item in written:
        entries = [entry for entry in item.entries or () if entry.kind == TAGS]
        for entry in sorted(entries, key=lambda each: each.number):
            found.setdefault(item.id, {}).update(_read(entry.value or "{}"))
    return found


def lightest_first(tags: Sequence[tuple[str, str]], weights: Mapping[int, int]) -> list[tuple[str, str]]:
    """The tags in the order in which fewest instances have them, as far as they were counted, by their places."""
    return [tags[place] for place in sorted(range(len(tags)), key=lambda place: weights.get(place, 0))]
