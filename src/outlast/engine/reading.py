"""Rows as callers see them."""

from __future__ import annotations

import logging
from typing import Any

from outlast._codec import decode_any
from outlast._kernel.failures import read_error
from outlast._kernel.looks import cron_of, queued_of, runs_of
from outlast._kernel.signatures import plain_object
from outlast._kernel.states import CANCELLED, DONE, FAILED, QUARANTINED
from outlast._model import (
    Ended,
    Instance,
    Letter,
    Line,
    LogLine,
    Progress,
    Row,
    Schedule,
    ScheduleRow,
    StoredSignal,
)
from outlast._world import instant
from outlast.errors import ConfigError, EncodingError, InstanceCancelled, InstanceFailed, InstanceQuarantined


def read_ended(ended: Ended, read_result: Any = None) -> Any:
    """The result of an ended instance. Raises: InstanceFailed, InstanceCancelled, InstanceQuarantined."""
    if ended.status == DONE:
        text = ended.result or "null"
        return decode_any(text) if read_result is None else read_result(text)
    error = read_error(ended.error)
    reason = str(error.get("message", "")) if error else ""
    kind = {CANCELLED: InstanceCancelled, QUARANTINED: InstanceQuarantined}.get(ended.status, InstanceFailed)
    what = f"{error['type']}: {reason}" if error and ended.status == FAILED else reason
    raise kind(f"instance {ended.id} ended as {ended.status!r}: {what}", id=ended.id, reason=reason, error=error)


def read_instance(row: Row) -> Instance:
    """A row as callers see it."""
    progress = None if row.progress is None else Progress(row.progress, row.progress_note or "")
    return Instance(
        id=row.id,
        program=row.program,
        version=row.version,
        step=row.step,
        queue=row.queue,
        priority=row.priority,
        status=row.status,
        attempt=row.attempt,
        crashes=row.crashes,
        epoch=row.epoch,
        state=readable(row.state),
        result=readable(row.result),
        error=read_error(row.error),
        progress=progress,
        correlation_key=row.correlation_key,
        created_at=row.created_at,
        due_at=row.due_at,
        claimed_at=row.claimed_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
        node=row.node,
        awaits=None if row.awaits is None else tuple(texts_of(readable(row.awaits))),
        wake_at=row.wake_at,
        parent=row.parent,
        round=row.round,
        child=row.child,
        concurrency_key=row.concurrency_key,
        rate_limit=row.rate_limit,
        rate_weight=row.rate_weight,
        blocked_on=row.blocked_on,
        fair_key=row.fair_key,
        fair_weight=row.fair_weight,
        tags={} if row.tags is None else _tags_of(row.tags),
        paused_at=row.paused_at,
        pause_reason=None if row.paused_at is None else row.pause_reason,
    )


def read_stored(letter: Letter) -> StoredSignal:
    """A stored signal as callers see it."""
    return StoredSignal(
        letter.id, letter.name, readable(letter.payload), letter.dedup_key, letter.sent_at, letter.consumed_at
    )


def read_line(line: Line) -> LogLine:
    """A stored line as callers see it."""
    at, level = instant(line.at_us), logging.getLevelName(line.level)
    fields = readable(line.fields)
    return LogLine(line.number, at, level, line.message, line.source, line.step, line.attempt, fields)


def read_schedule(row: ScheduleRow) -> Schedule:
    """A schedule as callers see it."""
    try:
        running, queued = runs_of(row), queued_of(row)
    except ConfigError:
        running = queued = ()
    try:
        explanation = cron_of(row).explain()
    except ConfigError as error:  # of a zone that this machine does not know, say.
        explanation = str(error)
    return Schedule(
        name=row.name,
        program=row.program,
        version=row.version,
        state=readable(row.state),
        queue=row.queue,
        priority=row.priority,
        cron=row.cron,
        zone=row.zone,
        dst=row.dst,
        explanation=explanation,
        catch_up=row.catch_up,
        window_s=row.window_s,
        overlap=row.overlap,
        jitter_s=row.jitter_s,
        enabled=row.enabled,
        next_run_at=row.next_tick,
        last_run_at=row.last_run_at,
        last_instance=row.last_instance,
        running=running,
        queued=queued,
        consecutive_failures=row.consecutive_failures,
        last_error=read_error(row.last_error),
        last_error_at=row.last_error_at,
        auto_disabled_at=row.disabled_at,
        created_at=row.created_at or row.decided,
        updated_at=row.updated_at or row.decided,
        tags={} if row.tags is None else _tags_of(row.tags),
    )


def texts_of(value: object) -> list[str]:
    """The texts in a list that was stored; none where somebody has stored something else."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _tags_of(text: str) -> dict[str, str]:
    return {name: value for name, value in plain_object(text).items() if isinstance(value, str)}


def readable(text: str | None) -> Any:
    """Stored JSON as plain data; the text itself where it is none."""
    if text is None:
        return None
    try:
        return decode_any(text)
    except EncodingError:
        return text  # an operator must be able to look at a row that cannot be decoded.
