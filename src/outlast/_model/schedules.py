"""Schedules: what is stored of them, and what people see."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec


class ScheduleRow(msgspec.Struct, frozen=True):
    """A schedule as the store keeps it. The field order is that of the statements.

    Attributes:
        name: Its name.
        program, version, step, state, timeout_s, queue, priority: What its runs are made of.
        cron, zone, dst: When it fires.
        catch_up, window_s, overlap, queued_max, jitter_s, grace_s: See `_kernel.schedules.Policy`.
        enabled: Whether it fires.
        decided: The last tick that is decided.
        next_tick: The first that is not; None: there is none.
        runs: JSON array of the ids of runs not yet seen ended, oldest first.
        queued: JSON array of ticks (microseconds since 1970) that wait until those have ended.
        last_run_at, last_instance: The last run.
        consecutive_failures, last_error, last_error_at: How runs ended; the error as stored with the run.
        disabled_at: When failures switched it off.
        created_at, updated_at: Written by the store.
        revision: Changes with every write.
        tags: What its runs are found by, a JSON object; or None.
    """

    name: str
    program: str
    version: int
    step: str
    state: str
    timeout_s: float | None
    queue: str
    priority: int
    cron: str
    zone: str
    dst: str
    catch_up: str
    window_s: float
    overlap: str
    queued_max: int
    jitter_s: float
    grace_s: float
    enabled: bool
    decided: datetime
    next_tick: datetime | None
    runs: str = "[]"
    queued: str = "[]"
    last_run_at: datetime | None = None
    last_instance: str | None = None
    consecutive_failures: int = 0
    last_error: str | None = None
    last_error_at: datetime | None = None
    disabled_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    revision: int = 0
    tags: str | None = None


class Glance(NamedTuple):
    """What a look at all schedules is to begin with.

    Attributes:
        now: The store's clock.
        next_tick: The first tick of those enabled; None: there is none.
        watched: Whether some have runs that were not seen ended.
        queued: Whether some have ticks that wait for these.
    """

    now: datetime
    next_tick: datetime | None
    watched: bool
    queued: bool


class RunStand(NamedTuple):
    """How a run stands: its status, and when and with which error it ended."""

    id: str
    status: str
    error: str | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it stood when it was read.

    Attributes:
        name: Its name, unique.
        program, version: What it starts.
        state: The arguments, as stored JSON data.
        queue, priority: Where its runs go.
        cron, zone, dst: When it fires; see `Cron`.
        explanation: The same as a sentence.
        catch_up, window_s, overlap, jitter_s: What it does about missed ticks and long runs; see `Engine.schedule`.
        enabled: Whether it fires.
        next_run_at: The next tick, without jitter; None: it is disabled, or there will be none.
        last_run_at, last_instance: When its last run was stored, and its id; or None.
        running: Ids of its runs that had not ended at the last look, oldest first.
        queued: Ticks that wait until those have ended, oldest first.
        consecutive_failures: Runs that failed since the last one that was done.
        last_error, last_error_at: `{"type", "message", "traceback"}` of the last failure and when it was, or None.
        auto_disabled_at: When failures switched it off, or None.
        created_at, updated_at: Aware instants in UTC.
        tags: What its runs are found by.
    """

    name: str
    program: str
    version: int
    state: Any
    queue: str
    priority: int
    cron: str
    zone: str
    dst: str
    explanation: str
    catch_up: str
    window_s: float
    overlap: str
    jitter_s: float
    enabled: bool
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_instance: str | None
    running: tuple[str, ...]
    queued: tuple[datetime, ...]
    consecutive_failures: int
    last_error: dict[str, Any] | None
    last_error_at: datetime | None
    auto_disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime
    tags: dict[str, str] = field(default_factory=dict)
