"""Signals and their receipts, and short answers of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec


class Signal(msgspec.Struct, gc=False):
    """A signal to deliver, to an instance or to the holder of a correlation key: exactly one of them is set.

    `id` is a UUIDv7 made by the sender, so that sending again after a lost reply is harmless. `payload` is JSON text.
    """

    id: str
    name: str
    payload: str
    instance: str | None = None
    key: str | None = None
    dedup_key: str | None = None


class Receipt(NamedTuple):
    """What became of a signal (`delivered`, `duplicate`, `no_target`, `ended`), whom it met, where it woke it.

    `passed` is status and queue of a target that was about to run or wake: who skips locked rows may have passed it.
    """

    id: str
    result: str
    instance: str | None
    queue: str | None
    passed: tuple[str, str] | None = None


class Letter(NamedTuple):
    """A stored signal. `payload` is JSON text; `consumed_at` is None while no step has used it up."""

    id: str
    instance: str
    name: str
    payload: str
    dedup_key: str | None
    sent_at: datetime
    consumed_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredSignal:
    """A signal as the database holds it.

    Attributes:
        id: Its own id.
        name: What it is called.
        payload: What it carries, as plain data.
        dedup_key: Of signals with the same key only the first was stored, or None.
        sent_at: When it was stored, an aware instant in UTC.
        consumed_at: When a step used it up, or None.
    """

    id: str
    name: str
    payload: Any
    dedup_key: str | None
    sent_at: datetime
    consumed_at: datetime | None


class Stopped(NamedTuple):
    """What a cancel, a pause or a resume met: the former status of the instance named, and, of all that it touched, the
    nodes that run any, the ids, and the queues in which it made any ready (for a cancel: parents whose join opened)."""

    former: str
    nodes: list[str]
    ids: list[str]
    queues: list[str]


class Held(NamedTuple):
    """A refused insert: the row with `id` met `holder`, which holds its correlation key."""

    id: str
    key: str
    holder: str


class Ended(NamedTuple):
    """How an instance stands: enough to answer someone who waits for its result."""

    id: str
    status: str
    result: str | None
    error: str | None


class Beat(NamedTuple):
    """A node's sign of life as the store has it. `beat` changes with every renewal."""

    node: str
    beat: int
    lease_s: float


class Due(NamedTuple):
    """One round of the timekeeper: queues that received work, how many instances were promoted, seconds until the next
    due time (None: never), and how many of those promoted had waited in vain for a signal or for children."""

    queues: Sequence[str]
    promoted: int
    next_s: float | None
    timed_out: int = 0


class Reclaimed(NamedTuple):
    """One round of reclaiming: instances given back, those quarantined, and the queues they went to."""

    returned: int
    quarantined: int
    queues: Sequence[str]


class RateRow(NamedTuple):
    """A rate limit as the database holds it: tokens that come in a period of seconds, and how many may pile up."""

    name: str
    allowed: float
    period_s: float
    burst: float
