"""The rows that travel between floors. Plain data: nothing here decides anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec


class NewInstance(msgspec.Struct, gc=False):
    """An instance to insert. `delay_s` counts from the store's now; `due_us` is absolute; at most one is set.

    A child names its `parent`, the parent's `round` of children and its number `child` within it. `concurrency_key` and
    `rate_limit` are texts as `_kernel.limits` writes them. `trace` is the caller's trace context (W3C traceparent).
    """

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
    parent: str | None = None
    round: int = 0
    child: int = 0
    concurrency_key: str | None = None
    rate_limit: str | None = None
    rate_weight: float = 1.0
    fair_key: str | None = None
    fair_weight: float = 1.0
    trace: str | None = None


class Claim(msgspec.Struct, array_like=True, gc=False):
    """A claimed instance, as a node holds it. The field order is that of the claim statements.

    `awaits` is a JSON list of the signal names it last waited for; `round` counts its spawns; `mail` says that it was
    sent a signal once. The node's own notes: `kept` says that this claim has written an outcome already, `letters` are
    the unread signals, `notes` what a workflow has recorded.
    """

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
    commits: int = 0
    awaits: str | None = None
    round: int = 0
    concurrency_key: str | None = None
    rate_limit: str | None = None
    rate_weight: float = 1.0
    trace: str | None = None
    mail: bool = False
    parent: str | None = None
    kept: bool = False
    letters: Sequence[Letter] = ()
    notes: Sequence[Note] = ()


class Denied(NamedTuple):
    """Claims that a limit did not let through: the gate (`k:` and a key, `r:` and a rate limit), and how many."""

    gate: str
    claims: int


class Taken(list[Claim]):
    """Claims that may run.

    Attributes:
        seen: Ready instances that were looked at: the claims, and those that a limit did not let through.
        denied: What those were denied by.
        fair_after: The fair key that was served last, for the next claim to go on from; None: there was none.
    """

    __slots__ = ("denied", "fair_after", "seen")

    def __init__(
        self, claims: Sequence[Claim], *, seen: int, denied: Sequence[Denied] = (), fair_after: str | None = None
    ) -> None:
        super().__init__(claims)
        self.seen = seen
        self.denied = denied
        self.fair_after = fair_after


class Entry(msgspec.Struct, array_like=True, gc=False):
    """What an outcome records in its instance's journal: a step, a wait, a child.

    `key` is unique within the instance, `number` the order. `status` is `done`, `failed`, `retrying` or `waiting`;
    `wake_s` are seconds until it is looked at again in any case.
    """

    key: str
    kind: str
    status: str
    number: int
    attempt: int = 0
    value: str | None = None
    error: str | None = None
    duration_s: float | None = None
    wake_s: float | None = None


class Note(NamedTuple):
    """A journal's row. `due`: its `wake_at` has come."""

    instance: str
    key: str
    kind: str
    status: str
    number: int
    attempt: int
    value: str | None
    error: str | None
    duration_s: float | None
    wake_at: datetime | None
    due: bool
    recorded_at: datetime


class Settlement(msgspec.Struct, gc=False):
    """What one claim's outcome writes. Fenced by `id` and `epoch`.

    `status` is the status after the commit: a final one, `ready`, `scheduled` with `delay_s`, or `running`, which keeps
    the claim for the next step; others may take it away after `deadline_s`. `retention_s` counts from the commit; None
    keeps the row for ever. `step`, `state` and `version` stay as they are where they are None. `commits` is how many
    outcomes the row held when the step began: a claim that writes more than one needs it to tell them apart.

    `waiting` comes with `awaits` (signal names that wake it) or `children` (spawned in the same transaction; it wakes
    when `need` of them have ended, None: all that were inserted), and `wake_s`, seconds until it wakes in any case.
    `consumed` are ids of signals that this outcome uses up; `shown` those that woke the step: they do not do so again.
    `entries` is what it records in the journal. `frees` is the key whose slot this lets go of. `parent` is whom the end of
    this child may wake; `round` the number of the children's round.
    `concurrency_key` and `rate_limit` apply from the next step on: None keeps what the row has, "" clears it.
    """

    id: str
    epoch: int
    status: str
    attempt: int
    result: str | None = None
    error: str | None = None
    delay_s: float | None = None
    retention_s: float | None = None
    step: str | None = None
    state: str | None = None
    version: int | None = None
    deadline_s: float | None = None
    commits: int | None = None
    awaits: list[str] | None = None
    wake_s: float | None = None
    consumed: list[str] | None = None
    shown: list[str] | None = None
    children: list[NewInstance] | None = None
    need: int | None = None
    concurrency_key: str | None = None
    rate_limit: str | None = None
    rate_weight: float | None = None
    parent: str | None = None
    round: int | None = None
    frees: str | None = None
    entries: list[Entry] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it writes what a plain job's outcome does, and nothing else."""
        return (
            self.state is None
            and self.step is None
            and self.commits is None
            and self.frees is None
            and self.concurrency_key is None
            and self.rate_limit is None
            and self.status != "waiting"
            and not self.has_effects
        )

    @property
    def has_effects(self) -> bool:
        """Whether it changes more than its own row."""
        return bool(self.awaits or self.consumed or self.parent or self.entries) or self.children is not None


class Committed(NamedTuple):
    """What became of a batch of outcomes.

    `stale` are the ids whose claim was no longer ours; `queues` those in which the commit itself made instances ready:
    parents whose join opened, parks that found their signal there already, children.
    """

    stale: list[str]
    queues: list[str]


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

    `passed` is status and queue of a target that was about to run: a claim may have passed it by while it was locked.
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
    """What a cancel met: the former status of the instance named, and, of all that it ended, the nodes that ran any,
    the ids, and the queues in which it made others ready (a parent whose join opened)."""

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
        awaits: Names of the signals that it waits for, or last waited for; or None.
        wake_at: When a waiting instance wakes in any case, or None.
        parent: The instance that spawned it, or None; then also its `round` (which `Spawn`, from 1) and its number
            `child` (from 0).
        concurrency_key, rate_limit, rate_weight: What must let it through before its step runs.
        blocked_on: What a blocked instance waits for, `k:` a key or `r:` a rate limit; or None.
        fair_key, fair_weight: Whose share it counts against, or None.
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
    awaits: tuple[str, ...] | None = None
    wake_at: datetime | None = None
    parent: str | None = None
    round: int = 0
    child: int = 0
    concurrency_key: str | None = None
    rate_limit: str | None = None
    rate_weight: float = 1.0
    blocked_on: str | None = None
    fair_key: str | None = None
    fair_weight: float = 1.0


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
    awaits: str | None = None
    wake_at: datetime | None = None
    parent: str | None = None
    round: int = 0
    child: int = 0
    concurrency_key: str | None = None
    rate_limit: str | None = None
    rate_weight: float = 1.0
    blocked_on: str | None = None
    fair_key: str | None = None
    fair_weight: float = 1.0


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
