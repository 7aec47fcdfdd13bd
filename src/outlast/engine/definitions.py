"""What callers say of schedules, checked, as the columns of its row."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypedDict, cast

from msgspec.structs import replace

from outlast._kernel.cron import Cron, Dst
from outlast._kernel.looks import cron_of, policy_of, switched_off, switched_on
from outlast._kernel.requests import Startable, checked_priority
from outlast._kernel.schedules import CatchUp, Overlap, Policy
from outlast._kernel.tags import tags_text
from outlast._model import NewInstance, ScheduleRow
from outlast.config import checked_name
from outlast.engine.checks import checked_flag
from outlast.errors import ConfigError, did_you_mean

_CLOCK: Final = ("cron", "zone", "dst")
_DEFINITION: Final = (
    *("program", "version", "step", "state", "timeout_s", "queue", "priority"),
    *_CLOCK,
    *("catch_up", "window_s", "overlap", "queued_max", "jitter_s", "grace_s", "tags"),
)
"""The columns that a definition fills; the others tell how far its schedule has come."""
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ScheduleChanges(TypedDict, total=False):
    """What `update_schedule` changes. Each is described in `Engine.schedule`."""

    what: Startable[Any]
    cron: str | Cron
    zone: str
    dst: Dst
    catch_up: CatchUp
    window: float | timedelta
    overlap: Overlap
    jitter: float | timedelta
    queue: str
    priority: int
    tags: Mapping[str, str] | None
    enabled: bool


def blank(name: str, run: NewInstance) -> ScheduleRow:
    """A schedule that makes such runs, and has no times and no policy yet."""
    policy = Policy()
    return ScheduleRow(
        name,
        run.program,
        run.version,
        run.step,
        run.state,
        run.timeout_s,
        run.queue,
        run.priority,
        "",
        "UTC",
        "auto",
        policy.catch_up,
        policy.window_s,
        policy.overlap,
        policy.queued_max,
        policy.jitter_s,
        policy.grace_s,
        enabled=False,
        decided=_NEVER,
        next_tick=None,
        tags=run.tags,
    )


def timed(row: ScheduleRow, cron: str | Cron, zone: str, dst: Dst) -> ScheduleRow:
    """The row with other times. Raises: ConfigError."""
    if isinstance(cron, Cron) and (zone, dst) not in (("UTC", "auto"), (cron.zone, cron.dst)):
        raise ConfigError("a Cron has its own zone and dst: give them there, and not here")
    made = cron if isinstance(cron, Cron) else Cron(cron, zone, dst)
    return replace(row, cron=made.expression, zone=made.zone, dst=made.dst)


def governed(
    row: ScheduleRow, catch_up: CatchUp, window: float | timedelta, overlap: Overlap, jitter: float | timedelta
) -> ScheduleRow:
    """The row with another policy. Raises: ConfigError."""
    policy = Policy(catch_up, window, overlap, row.queued_max, jitter, row.grace_s)  # type: ignore[arg-type]
    return replace(
        row,
        catch_up=policy.catch_up,
        window_s=policy.window_s,
        overlap=policy.overlap,
        jitter_s=policy.jitter_s,
    )


def redefined(known: ScheduleRow, row: ScheduleRow, now: datetime) -> ScheduleRow:
    """The known schedule as `row` defines it: with other times from now on, else going on from where it stands."""
    made = replace(known, **{name: getattr(row, name) for name in _DEFINITION})
    if known.enabled and any(getattr(known, name) != getattr(made, name) for name in _CLOCK):
        return replace(made, decided=now, next_tick=cron_of(made).next_after(now))
    return made


def changed(row: ScheduleRow, run: NewInstance | None, now: datetime, changes: ScheduleChanges) -> ScheduleRow:
    """The row with these changes. `run` is what it starts from now on, or None. Raises: ConfigError."""
    made = row
    if run is not None:
        made = replace(
            row, program=run.program, version=run.version, step=run.step, state=run.state, timeout_s=run.timeout_s
        )
    if "queue" in changes:
        made = replace(made, queue=checked_name(changes["queue"], what="queue"))
    if "priority" in changes:
        made = replace(made, priority=checked_priority(changes["priority"]))
    if "tags" in changes:
        made = replace(made, tags=tags_text(changes["tags"]))
    cron = changes.get("cron", row.cron)
    if isinstance(cron, Cron):
        made = timed(made, cron, changes.get("zone", cron.zone), changes.get("dst", cron.dst))
    elif changes.keys() & set(_CLOCK):
        made = timed(made, cron, changes.get("zone", row.zone), changes.get("dst", cast(Dst, row.dst)))
    former = policy_of(row)
    made = governed(
        made,
        changes.get("catch_up", former.catch_up),
        changes.get("window", former.window_s),
        changes.get("overlap", former.overlap),
        changes.get("jitter", former.jitter_s),
    )
    made = redefined(row, made, now)
    enabled = checked_flag("enabled", changes.get("enabled", row.enabled))
    if enabled == row.enabled:
        return made
    return switched_on(made, now) if enabled else switched_off(made)


def checked_changes(changes: ScheduleChanges) -> ScheduleChanges:
    """Changes with names that are known. Raises: ConfigError."""
    known = ScheduleChanges.__annotations__
    if unknown := changes.keys() - known.keys():
        name = sorted(unknown)[0]
        raise ConfigError(f"a schedule has no {name!r} that can be changed{did_you_mean(name, known)}")
    return changes
