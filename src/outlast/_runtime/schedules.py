"""The actor that fires schedules. Any number of processes may run it: a tick has one run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from outlast._kernel.looks import Look, look, runs_of
from outlast._model import Glance, RunStand, ScheduleRow
from outlast._runtime.doorbell import Doorbell
from outlast._runtime.events import Events
from outlast._store.contract import Schedules
from outlast._world import World
from outlast.errors import ConfigError

LOOK_MAX: Final = 500
"""Schedules looked at in one go."""
WATCH_S: Final = 5.0
"""Seconds between looks at runs that have not ended,"""
WATCH_SOON_S: Final = 0.5
"""and the same while a tick waits for their end."""
BROKEN_S: Final = 1.0
"""Seconds until the next look where a schedule that is due cannot be fired here."""


class Scheduler:
    """Fires the ticks that are due, and sleeps until the next is. Sees how runs end; switches off what fails."""

    name = "scheduler"

    def __init__(
        self, schedules: Schedules, doorbell: Doorbell, *, poll_s: float, events: Events, world: World
    ) -> None:
        self._schedules = schedules
        self._doorbell = doorbell
        self._poll_s = poll_s
        self._events = events
        self._world = world
        self._watch_at = float("-inf")
        self._broken: dict[str, int] = {}

    async def beat(self) -> float:
        """Fires what is due."""
        glance = await self._schedules.glance()
        watch = glance.watched and (glance.queued or self._world.monotonic() >= self._watch_at)
        if watch or _is_due(glance):
            moved = await self.look(glance.now, watch=watch)
            glance = await self._schedules.glance()
            if _is_due(glance):  # more ticks than one look decides, or one that is broken.
                return 0.0 if moved else min(BROKEN_S, self._poll_s)
        return self._wait_s(glance)

    def _wait_s(self, glance: Glance) -> float:
        waits_s = [self._poll_s]
        if glance.next_tick is not None:
            waits_s.append(max(0.0, (glance.next_tick - glance.now).total_seconds()))
        if glance.watched:
            waits_s.append(WATCH_SOON_S if glance.queued else WATCH_S)
        return min(waits_s)

    async def look(self, now: datetime, *, watch: bool) -> int:
        """Looks at schedules that are due by `now`, and with `watch` at those with runs. Returns how many it wrote."""
        if watch:
            self._watch_at = self._world.monotonic() + WATCH_S
        rows = await self._schedules.due(now, LOOK_MAX, watch=watch)
        runs = [id for row in rows for id in _runs_of(row)]
        stands = {stand.id: stand for stand in await self._schedules.stands(runs)} if runs else {}
        return sum([await self._look_at(row, stands, now) for row in rows])

    async def _look_at(self, row: ScheduleRow, stands: dict[str, RunStand], now: datetime) -> bool:
        try:
            found = look(row, stands, now, self._world.new_id)
        except Exception as error:  # also what an edited row makes of dates: the other schedules fire.
            if self._broken.get(row.name) != row.revision:
                self._broken[row.name] = row.revision
                self._events.emit("schedule.broken", schedule=row.name, error=str(error))
            return False
        if found.row is row:
            return False
        runs = [fired.run for fired in found.fired]
        written = await (self._schedules.fire(found.row, runs) if runs else self._schedules.change(found.row))
        if written:
            self._tell(found)
        return written

    def _tell(self, found: Look) -> None:
        emit, name = self._events.emit, found.row.name
        for tick, run in found.fired:
            emit("schedule.fired", schedule=name, tick=tick.isoformat(), id=run.id, queue=run.queue)
        if found.missed_from is not None:
            emit("schedule.missed", schedule=name, tick=found.missed_from.isoformat(), reason="late")
        for tick in found.overlapped:
            emit("schedule.missed", schedule=name, tick=tick.isoformat(), reason="overlap")
        if found.switched_off:
            emit("schedule.disabled", schedule=name, failures=found.row.consecutive_failures)
        if found.fired:
            self._doorbell.work([found.row.queue])
            self._doorbell.timer()  # with jitter it is due later.


def _runs_of(row: ScheduleRow) -> Sequence[str]:
    """Its runs; none where they cannot be read, which the look at this very schedule tells."""
    try:
        return runs_of(row)
    except ConfigError:
        return ()


def _is_due(glance: Glance) -> bool:
    return glance.next_tick is not None and glance.next_tick <= glance.now
