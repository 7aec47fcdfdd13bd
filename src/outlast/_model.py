"""The rows that travel between floors. Plain data: nothing here decides anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec


class NewInstance(msgspec.Struct, gc=False):
    """An instance to insert. `delay_s` counts from the store's now; `due_us` is absolute; at most one is set."""

    id: str
    program: str
    version: int
    queue: str
    priority: int
    step: str
    state: str
    correlation_key: str | None = None
    correlation_scope: str | None = None
    delay_s: float | None = None
    due_us: int | None = None
    timeout_s: float | None = None


class Claim(msgspec.Struct, array_like=True, gc=False):
    """A claimed instance, as a node holds it. The field order is that of the claim statements."""

    id: str
    program: str
    version: int
    step: str
    state: str
    epoch: int
    attempt: int
    crashes: int
    priority: int
    correlation_key: str | None


class Settlement(msgspec.Struct, gc=False):
    """What one claim's outcome writes. Fenced by `id` and `epoch`.

    `status` is the status after the commit: a final one, `ready`, or `scheduled` with `delay_s`.
    `retention_s` counts from the commit; None keeps the row for ever.
    """

    id: str
    epoch: int
    status: str
    attempt: int
    result: str | None = None
    error: str | None = None
    delay_s: float | None = None
    retention_s: float | None = None


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
    """One round of the timekeeper: queues that received work, and seconds until the next due time (None: never)."""

    queues: Sequence[str]
    promoted: int
    next_s: float | None


class Reclaimed(NamedTuple):
    """One round of reclaiming: instances given back, those quarantined, and the queues they went to."""

    returned: int
    quarantined: int
    queues: Sequence[str]


@dataclass(frozen=True, slots=True)
class Node:
    """A process that holds a lease.

    Attributes:
        id: Random, new at every start.
        host: Machine name, to read.
        pid: Process number, to read.
        started_at: When it registered.
        renewed_at: Its last renewal, by the store's clock.
        lease_s: Seconds after which others may take over, counted from the last renewal they saw.
        running: Instances it holds.
    """

    id: str
    host: str
    pid: int
    started_at: datetime
    renewed_at: datetime
    lease_s: float
    running: int


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """A queue's live instances by status.

    Attributes:
        name: The queue.
        paused_at: When it was paused, or None.
        scheduled, ready, blocked, running, waiting: Instances in that status.
        oldest_ready_s: Age in seconds of the longest-waiting ready instance, or None.
    """

    name: str
    paused_at: datetime | None
    scheduled: int = 0
    ready: int = 0
    blocked: int = 0
    running: int = 0
    waiting: int = 0
    oldest_ready_s: float | None = None


class ReadyProgram(NamedTuple):
    """Ready instances of one program in one queue: how many, and how long the oldest has been due, in seconds."""

    program: str
    version: int
    queue: str
    instances: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """What waits, and for how long.

    Attributes:
        now: The store's clock when it was asked.
        quarantined: Instances that wait for an operator.
        overdue: Scheduled instances that were due `OVERDUE_S` ago or earlier: nobody promotes them.
        overdue_s: How long the first of them has been due, in seconds.
        ownerless: Running instances whose node is gone.
        ready: Ready instances by program and queue.
    """

    now: datetime
    quarantined: int
    overdue: int
    overdue_s: float
    ownerless: int
    ready: Sequence[ReadyProgram]


OVERDUE_S: Final = 30.0
"""A scheduled instance that is due is promoted within moments; after this long, somebody should look."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a running step last said of itself: a `fraction` in [0, 1] and a `note`."""

    fraction: float
    note: str


@dataclass(frozen=True, slots=True)
class Instance:
    """A row as it stood when it was read.

    Attributes:
        id: UUIDv7 text.
        program, version, step: What runs, and where it stands.
        queue, priority: Where it waits; a lower priority number goes first.
        status: One of `scheduled ready blocked running waiting`, or final.
        attempt: Failed attempts so far.
        crashes: Times that a process died holding it.
        epoch: Claims so far.
        state: Arguments (of a job), as stored JSON data.
        result: Stored result as JSON data, or None.
        error: `{"type", "message", "traceback"}` of the last failure, or None.
        progress: What the step last reported, or None.
        correlation_key: Business key, or None.
        created_at, due_at, claimed_at, finished_at, expires_at: Aware instants in UTC, or None.
        node: The node that runs it, or None.
    """

    id: str
    program: str
    version: int
    step: str
    queue: str
    priority: int
    status: str
    attempt: int
    crashes: int
    epoch: int
    state: Any
    result: Any
    error: dict[str, Any] | None
    progress: Progress | None
    correlation_key: str | None
    created_at: datetime
    due_at: datetime
    claimed_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    node: str | None


class Row(NamedTuple):
    """An instance as the store returns it: JSON still as text, times as instants."""

    id: str
    program: str
    version: int
    step: str
    queue: str
    priority: int
    status: str
    attempt: int
    crashes: int
    epoch: int
    state: str
    result: str | None
    error: str | None
    progress: float | None
    progress_note: str | None
    correlation_key: str | None
    created_at: datetime
    due_at: datetime
    claimed_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    node: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which instances to list. None means any; `before` is the id after which to go on (newest first)."""

    status: tuple[str, ...] | None = None
    program: str | None = None
    queue: str | None = None
    correlation_key: str | None = None
    created_after_us: int | None = None
    created_before_us: int | None = None
    id_prefix: str | None = None
    before: str | None = None
    limit: int = 50
