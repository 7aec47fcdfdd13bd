"""What people see: instances, queues, nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple


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
        tags: What it is found by: texts by name.
        paused_at, pause_reason: Since when it is paused, and why; or None. It begins no step then; see `Engine.pause`.
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
    tags: dict[str, str] = field(default_factory=dict)
    paused_at: datetime | None = None
    pause_reason: str | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a step has said.

    Attributes:
        number: Its place in the instance's order. Lines of a later claim have higher numbers; a gap was dropped.
        at: When it was said, by the clock of the process that said it: an aware instant in UTC.
        level: As `logging` calls it, such as `INFO`; what is printed is `INFO`.
        message: The text. What was too long ends in `... [truncated]`.
        source: `logging` or `print`.
        step: The step's name; in a workflow the step's key in the journal, such as `charge#1`.
        attempt: Failed attempts of the step before this one.
        fields: What came with it: the `logger`'s name, what `extra` gave, a `traceback`; None for what is printed.
    """

    number: int
    at: datetime
    level: str
    message: str
    source: str
    step: str
    attempt: int
    fields: dict[str, Any] | None


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
    tags: str | None = None
    paused_at: datetime | None = None
    pause_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which instances to list. None means any; `before` is the id after which to go on (newest first).

    `tags` are (name, value); all of them must fit. `waiting_for` is a signal's name. `roots` leaves out children,
    `parent` all but an instance's own.
    """

    status: tuple[str, ...] | None = None
    program: str | None = None
    queue: str | None = None
    correlation_key: str | None = None
    created_after_us: int | None = None
    created_before_us: int | None = None
    id_prefix: str | None = None
    ended_before_us: int | None = None
    tags: tuple[tuple[str, str], ...] = ()
    waiting_for: str | None = None
    roots: bool = False
    parent: str | None = None
    paused: bool | None = None
    before: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """Something that a workflow has recorded.

    Attributes:
        key: Unique within the instance: branch, name and number.
        kind: `step`, `sleep`, `signal`, `input`, `child` or `timeout`.
        name: The step's name, or that of the signal, input or child with its kind before it.
        branch: The branch in which it was called; empty for the workflow's own body.
        status: `done`, `failed`, `retrying` or `waiting` (a sleep stays so when its time has come).
        attempt: Failed attempts so far.
        value: What was recorded, as plain data: a step's result, what a wait got, what is asked; while a step waits for
            its errand, which one that is.
        error: `{"type", "message", "traceback"}` of the last failed attempt, or None.
        duration_s: Seconds that the last execution took, or None.
        wake_at: When a wait is over in any case, or the next attempt is made; or None.
        recorded_at: When it was recorded last.
        errand: The instance in which the step ran, or runs, where that is not the workflow's own; or None.
        called: Whether the workflow's code still calls it: False, when the code has changed since, and came to its end,
            or to a wait, without it.
    """

    key: str
    kind: str
    name: str
    branch: str
    status: str
    attempt: int
    value: Any
    error: dict[str, Any] | None
    duration_s: float | None
    wake_at: datetime | None
    recorded_at: datetime
    errand: str | None = None
    called: bool = True


@dataclass(frozen=True, slots=True)
class PendingInput:
    """Something that a person is asked for.

    Attributes:
        instance, program: Who asks.
        key: The request, in the instance's journal.
        name, type, prompt, fields, choices, metadata: What is asked; see `wait_for_input`.
        since, until: Since when, and until when; None: for ever.
    """

    instance: str
    program: str
    key: str
    name: str
    type: str
    prompt: str | None
    fields: Sequence[dict[str, Any]]
    choices: Sequence[str]
    metadata: dict[str, Any]
    since: datetime
    until: datetime | None
