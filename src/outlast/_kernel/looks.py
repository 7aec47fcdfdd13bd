"""What one look at a schedule makes of its row: ended runs are counted, ticks that are due get theirs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple, cast

import msgspec
from msgspec.structs import replace

from outlast._kernel.cron import Cron, Dst
from outlast._kernel.identity import scope_text
from outlast._kernel.schedules import CatchUp, Overlap, Policy, plan, tick_key
from outlast._kernel.states import DONE, FAILED, FINAL, UNDONE
from outlast._model import NewInstance, RunStand, ScheduleRow
from outlast._world import instant, instant_us
from outlast.errors import ConfigError

FAILURES_MAX: Final = 5
"""So many runs that fail in a row switch a schedule off."""
RUNS_MAX: Final = 1_000
"""Runs of one schedule that are watched at once; of more, the oldest are forgotten, and their failures not counted."""
_ALWAYS: Final = scope_text("always")


class Fired(NamedTuple):
    """A tick and its run."""

    tick: datetime
    run: NewInstance


class Look(NamedTuple):
    """What a look decides.

    Attributes:
        row: The row to write; the very one that was looked at where nothing changes.
        fired: Runs to store with it, in the order of their ticks.
        missed_from: The oldest tick that was dropped because it was missed; None: none was.
        overlapped: Ticks that were dropped because earlier runs had not ended.
        switched_off: Whether failures have just switched it off.
    """

    row: ScheduleRow
    fired: Sequence[Fired] = ()
    missed_from: datetime | None = None
    overlapped: Sequence[datetime] = ()
    switched_off: bool = False


def look(row: ScheduleRow, stands: Mapping[str, RunStand], now: datetime, new_id: Callable[[], str]) -> Look:
    """What becomes of a schedule now.

    Args:
        row: As it was read.
        stands: How its runs stand; one that is missing was deleted.
        now: The store's clock.
        new_id: Makes ids.

    Raises: ConfigError: its cron expression or its zone cannot be read here, or its runs cannot be read at all.
    """
    row = _seen(row, stands)
    if row.enabled and row.consecutive_failures >= FAILURES_MAX:
        return Look(switched_off(replace(row, disabled_at=now)), switched_off=True)
    running, waiting = runs_of(row), list(queued_of(row))
    ticks: list[tuple[datetime, datetime]] = []
    missed_from: datetime | None = None
    overlapped: Sequence[datetime] = ()
    if row.enabled and row.next_tick is not None and row.next_tick <= now:
        policy, live = policy_of(row), len(running) + len(waiting)
        made = plan(row.name, cron_of(row), policy, decided=row.decided, now=now, live=live)
        ticks = [(firing.tick, firing.start_at) for firing in made.firings if not firing.waits]
        waiting += [firing.tick for firing in made.firings if firing.waits]
        missed_from, overlapped = made.missed_from, made.overlapped
        row = replace(row, decided=made.decided, next_tick=made.next_tick)
    if waiting and not running and not ticks:
        tick = waiting.pop(0)
        ticks = [(tick, now)]
    fired = [Fired(tick, new_run(row, new_id(), tick=tick, start_at=start_at)) for tick, start_at in ticks]
    row = with_runs(row, [each.run.id for each in fired], now)
    if tuple(waiting) != queued_of(row):
        row = replace(row, queued=_json([instant_us(tick) for tick in waiting]))
    return Look(row, fired, missed_from, overlapped)


def _seen(row: ScheduleRow, stands: Mapping[str, RunStand]) -> ScheduleRow:
    """The row without the runs that have ended, and with their failures counted."""
    live: list[str] = []
    failures, error, error_at = row.consecutive_failures, row.last_error, row.last_error_at
    for id in runs_of(row):
        stand = stands.get(id)
        if stand is None:
            continue
        if stand.status not in FINAL:
            live.append(id)
        elif stand.status == DONE:
            failures = 0
        elif stand.status in (FAILED, *UNDONE):
            failures, error, error_at = failures + 1, stand.error, stand.finished_at
    if len(live) == len(runs_of(row)):
        return row
    return replace(row, runs=_json(live), consecutive_failures=failures, last_error=error, last_error_at=error_at)


def switched_off(row: ScheduleRow) -> ScheduleRow:
    """The row of a schedule that fires no more, and whose waiting ticks are dropped."""
    return replace(row, enabled=False, next_tick=None, queued="[]")


def switched_on(row: ScheduleRow, now: datetime) -> ScheduleRow:
    """The row of a schedule that fires from now on. Raises: ConfigError: its cron expression cannot be read here."""
    return replace(
        row,
        enabled=True,
        decided=now,
        next_tick=cron_of(row).next_after(now),
        consecutive_failures=0,
        disabled_at=None,
    )


def with_runs(row: ScheduleRow, ids: Sequence[str], now: datetime) -> ScheduleRow:
    """The row with runs that are stored now."""
    if not ids:
        return row
    runs = [*runs_of(row), *ids][-RUNS_MAX:]
    return replace(row, runs=_json(runs), last_run_at=now, last_instance=ids[-1])


def new_run(
    row: ScheduleRow,
    id: str,
    *,
    tick: datetime | None = None,
    start_at: datetime | None = None,
    state: str | None = None,
) -> NewInstance:
    """A run of a schedule. That of a tick has the tick's key for ever, so that the tick has no other."""
    return NewInstance(
        id,
        row.program,
        row.version,
        row.queue,
        row.priority,
        row.step,
        row.state if state is None else state,
        correlation_key=None if tick is None else tick_key(row.name, tick),
        correlation_scope=None if tick is None else _ALWAYS,
        due_us=None if start_at is None else instant_us(start_at),
        timeout_s=row.timeout_s,
        tags=row.tags,
    )


def runs_of(row: ScheduleRow) -> tuple[str, ...]:
    """Ids of the runs that were not seen ended, oldest first. Raises: ConfigError: somebody has edited them."""
    try:
        return msgspec.json.decode(row.runs, type=tuple[str, ...])
    except msgspec.DecodeError as error:
        raise ConfigError(f"the runs of schedule {row.name!r} cannot be read: {error}") from None


def queued_of(row: ScheduleRow) -> tuple[datetime, ...]:
    """Ticks that wait until those have ended, oldest first. Raises: ConfigError: somebody has edited them."""
    try:
        return tuple(map(instant, msgspec.json.decode(row.queued, type=tuple[int, ...])))
    except msgspec.DecodeError as error:
        raise ConfigError(f"the waiting ticks of schedule {row.name!r} cannot be read: {error}") from None


def cron_of(row: ScheduleRow) -> Cron:
    """When it fires. Raises: ConfigError."""
    return _cron(row.cron, row.zone, row.dst)


@lru_cache(maxsize=1_000)
def _cron(expression: str, zone: str, dst: str) -> Cron:
    return Cron(expression, zone, cast(Dst, dst))


def policy_of(row: ScheduleRow) -> Policy:
    """What it does about missed ticks and long runs."""
    return Policy(
        cast(CatchUp, row.catch_up),
        row.window_s,
        cast(Overlap, row.overlap),
        row.queued_max,
        row.jitter_s,
        row.grace_s,
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
