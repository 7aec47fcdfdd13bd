"""Schedules: what is started again and again, by the clocks of a time zone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Unpack

from msgspec.structs import replace

from outlast._kernel.cron import Cron, Dst
from outlast._kernel.looks import new_run, runs_of, switched_off, switched_on, with_runs
from outlast._kernel.program import Program
from outlast._kernel.requests import Startable, StartOptions, checked_priority
from outlast._kernel.schedules import CatchUp, Overlap, checked_schedule_name
from outlast._kernel.tags import tags_text
from outlast._model import NewInstance, Schedule, ScheduleRow
from outlast.config import checked_name, days
from outlast.engine.checks import checked_flag, checked_limit, checked_words, request_of
from outlast.engine.definitions import (
    ScheduleChanges,
    blank,
    changed,
    checked_changes,
    governed,
    redefined,
    timed,
)
from outlast.engine.handles import Handle
from outlast.engine.journals import Journals
from outlast.engine.operations import Tried
from outlast.engine.reading import read_schedule
from outlast.errors import ConfigError, NotFound

ONE_DAY: Final = days(1)


class Schedules(Journals):
    """Schedules."""

    async def schedule(
        self,
        what: Startable[Any],
        cron: str | Cron,
        *,
        name: str | None = None,
        zone: str = "UTC",
        dst: Dst = "auto",
        catch_up: CatchUp = "last",
        window: float | timedelta = ONE_DAY,
        overlap: Overlap = "allow",
        jitter: float | timedelta = 0,
        queue: str | None = None,
        priority: int = 0,
        tags: Mapping[str, str] | None = None,
        enabled: bool = True,
    ) -> Schedule:
        """Starts this whenever a cron expression says so: stored, once per tick in the whole cluster.

        A schedule of that name is replaced, and goes on from where it stands: enabled or not as it was, and with the
        ticks since its last one, unless `cron`, `zone` or `dst` are others now. So this can be called at every start.

        Args:
            what: A description made by `.new(...)`, or a machine. Each run gets these arguments.
            cron: Five fields (minute, hour, day of month, month, day of week), six with seconds first, or @daily and
                the like; or a `Cron`, which has its own `zone` and `dst`.
            name: What it is called, at most 150 characters; the program's name by default.
            zone: Name of the time zone whose clocks count, such as "Europe/Berlin".
            dst: What becomes of times that a change of clocks skips or repeats; see `Cron`.
            catch_up: Of ticks that nobody could fire for more than a minute (no worker was alive), which are made up
                for: "none", "last" (the newest, unless a later tick is on time), "all".
            window: How old such a tick may be, in seconds or as a timedelta.
            overlap: What becomes of a tick while earlier runs have not ended: "allow" starts it beside them, "skip"
                drops it, "queue" starts it when they have ended (100 wait at most).
            jitter: Each run begins up to so much later, always the same for a tick.
            queue: Where runs go; the program's own queue by default.
            priority: Of runs; a lower number goes first.
            tags: What runs are found by; see `start`.
            enabled: Whether a new schedule fires; one that is there already stays as it is.

        Raises: ConfigError, EncodingError, StoreError, EngineStateError.
        """
        crew = self._running()
        run = self._run(what, queue, priority, tags_text(tags))
        row = timed(blank(checked_schedule_name(run.program if name is None else name), run), cron, zone, dst)
        row = replace(governed(row, catch_up, window, overlap, jitter), enabled=checked_flag("enabled", enabled))
        stored = await crew.patiently(lambda: self._put(row))
        crew.doorbell.schedule()
        return read_schedule(stored)

    async def schedules(
        self,
        *,
        enabled: bool | None = None,
        program: str | None = None,
        queue: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[Schedule]:
        """Schedules by name, one page.

        Args:
            enabled: Only those that fire (True), or do not (False).
            program, queue: Only with this very value.
            after: The last name of the page before.
            limit: At most this many, up to 1,000.

        Raises: ConfigError.
        """
        self._running()
        rows = await self._store.schedules.list(
            enabled=enabled,
            program=checked_words("program", program),
            queue=checked_words("queue", queue),
            after=checked_words("after", after) or "",
            limit=checked_limit(limit),
        )
        return [read_schedule(row) for row in rows]

    async def get_schedule(self, name: str) -> Schedule:
        """The schedule as it stands. Raises: NotFound."""
        self._running()
        return read_schedule(await self._row(name))

    async def update_schedule(self, name: str, **changes: Unpack[ScheduleChanges]) -> Schedule:
        """Changes what is named, and nothing else; another `cron`, `zone` or `dst` counts from now on.

        Raises: NotFound, ConfigError, EncodingError, StoreError.
        """
        what = checked_changes(changes).get("what")
        run = None if what is None else self._run(what, None, 0)
        return await self._changed(name, lambda row, now: changed(row, run, now, changes))

    async def enable_schedule(self, name: str) -> Schedule:
        """Lets it fire from now on, whatever switched it off; what was missed is not made up for. Raises: NotFound."""
        return await self._changed(name, lambda row, now: row if row.enabled else switched_on(row, now))

    async def disable_schedule(self, name: str) -> Schedule:
        """Lets it fire no more; runs that exist go on, ticks that wait for their end are dropped. Raises: NotFound."""
        return await self._changed(name, lambda row, _: switched_off(row) if row.enabled else row)

    async def delete_schedule(self, name: str) -> None:
        """Deletes it; its runs stay. Raises: NotFound."""
        crew = self._running()
        call = Tried(lambda: self._store.schedules.delete(checked_schedule_name(name)))
        if not await crew.patiently(call) and not call.again:
            raise _not_found(name)

    async def trigger_schedule(self, name: str, what: Startable[Any] | None = None) -> Handle[Any]:
        """Starts a run now, enabled or not and whatever runs; the next tick stays as it is.

        Args:
            name: The schedule.
            what: Other arguments for this run: a description of the same program.

        Raises: NotFound, ConfigError, StoreError.
        """
        crew, id = self._running(), self._world.new_id()
        request = None if what is None else request_of(what)

        async def trigger() -> ScheduleRow:
            while True:
                row = await self._row(name)
                if id in runs_of(row):  # an earlier try has stored it, and its reply was lost.
                    return row
                if request is not None and request.program.name != row.program:
                    raise ConfigError(f"schedule {name!r} starts {row.program!r}, not {request.program.name!r}")
                run = new_run(row, id)
                if what is not None:
                    run = replace(self._run(what, row.queue, row.priority, row.tags), id=id)
                now = (await self._store.schedules.glance()).now
                if await self._store.schedules.fire(with_runs(row, [id], now), [run]):
                    return row

        row = await crew.patiently(trigger)
        crew.doorbell.work([row.queue])
        if self._events.wanted:
            self._events.emit("schedule.triggered", schedule=row.name, id=id, queue=row.queue)
            self._events.emit("instance.started", id=id, program=row.program, queue=row.queue)
        program = self._catalogue.find(row.program, row.version)
        return Handle(self, id, getattr(program, "read_result", None))

    async def _begin(self) -> None:
        """Those that programs declare are there before this engine works."""
        await super()._begin()
        if self.config.queues:
            await self._declare_schedules()

    async def _declare_schedules(self) -> None:
        newest: dict[str, Program] = {}
        for program in self._catalogue:
            if program.name not in newest or newest[program.name].version < program.version:
                newest[program.name] = program
        for program in newest.values():
            if isinstance(cron := getattr(program, "schedule", None), Cron):
                await self.schedule(program.new(), cron)  # type: ignore[attr-defined]

    def _run(self, what: Startable[Any], queue: str | None, priority: int, tags: str | None = None) -> NewInstance:
        """What a schedule starts, as a row to insert."""
        options = StartOptions(
            queue=None if queue is None else checked_name(queue, what="queue"),
            priority=checked_priority(priority),
            tags=tags,
        )
        return self._running().starts.row(request_of(what), options)

    async def _put(self, row: ScheduleRow) -> ScheduleRow:
        """Stores a definition under its name."""
        schedules = self._store.schedules
        while True:
            known = await schedules.get(row.name)
            now = (await schedules.glance()).now
            if known is None:
                made = switched_on(row, now) if row.enabled else replace(row, decided=now)
                stored = await schedules.add(made)
            else:
                made = redefined(known, row, now)
                stored = made == known or await schedules.change(made)
            if stored:
                return await self._row(row.name)

    async def _changed(self, name: str, change: Callable[[ScheduleRow, datetime], ScheduleRow]) -> Schedule:
        crew, schedules = self._running(), self._store.schedules

        switched = False

        async def write() -> ScheduleRow:
            nonlocal switched
            while True:
                row = await self._row(name)
                made = change(row, (await schedules.glance()).now)
                switched = switched or made.enabled != row.enabled
                if made == row or await schedules.change(made):
                    return await self._row(name)

        row = await crew.patiently(write)
        if switched:
            self._events.emit("schedule.switched", schedule=row.name, enabled=row.enabled)
        crew.doorbell.schedule()
        return read_schedule(row)

    async def _row(self, name: str) -> ScheduleRow:
        row = await self._store.schedules.get(checked_schedule_name(name))
        if row is None:
            raise _not_found(name)
        return row


def _not_found(name: str) -> NotFound:
    return NotFound(f"no schedule is called {name!r}")
