"""What operators do with one instance, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec


class Deed(msgspec.Struct, frozen=True):
    """An operator's act as it is to be noted. `detail` is JSON text.

    `id` is a UUIDv7 made by whoever asks, so that asking again after a lost reply does nothing twice.
    """

    id: str
    act: str
    who: str | None = None
    reason: str | None = None
    detail: str | None = None


class DeedRow(NamedTuple):
    """A noted act."""

    instance: str
    id: str
    at: datetime
    act: str
    who: str | None
    reason: str | None
    detail: str | None


class Redo(msgspec.Struct, frozen=True):
    """What a retry changes, beside running the instance again.

    Attributes:
        epoch: The row's epoch when this was planned: the retry is for that very row. None: for any.
        step, state, version: What the row has from now on; None keeps it.
        forget: Keys of the journal that are forgotten.
        results: Keys and values (JSON text) that the journal has from now on.
        letters: Ids, names and payloads (JSON text) of signals that are unread again.
        fresh: Whether the children to come are numbered anew: those of forgotten keys keep their numbers.
    """

    epoch: int | None = None
    step: str | None = None
    state: str | None = None
    version: int | None = None
    forget: Sequence[str] = ()
    results: Sequence[tuple[str, str]] = ()
    letters: Sequence[tuple[str, str, str]] = ()
    fresh: bool = False


class Retried(NamedTuple):
    """What a retry met: status, queue and epoch as they stood before. `again`: an earlier try had done it."""

    former: str
    queue: str
    epoch: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an operator has done with an instance.

    Attributes:
        instance: With which.
        at: When, an aware instant in UTC.
        act: `paused`, `resumed` or `retried`.
        by: Who, as given; or None.
        reason: Why, as given; or None.
        detail: What was changed and what stood there before, as plain data; empty where nothing was. Of a retry:
            `from_step`; `step`, `state` and `input` with their values `before` and `after`; `results`, likewise, by
            key; `forgot`, what was forgotten of the journal; `put_back`, names of signals that are unread again.
    """

    instance: str
    at: datetime
    act: str
    by: str | None
    reason: str | None
    detail: dict[str, Any]
