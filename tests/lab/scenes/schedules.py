"""Schedules: ticks, and who fires them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from outlast._kernel.identity import scope_text
from outlast._kernel.schedules import tick_key
from outlast._model import NewInstance, ScheduleRow
from tests.lab.answers import Fired
from tests.lab.check import Rows
from tests.lab.scenes.scene import Scene, cancel, operation, promote, rare, settle, take
from tests.lab.stepping import Actor
from tests.store.given import NODE
from tests.store.outcomes import ended

T0 = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Ticks(Scene):
    """A schedule with a run that runs, a tick that has come, and one behind it."""

    async def prepare(self) -> None:
        given = self.given
        await self.begin(NODE, "bob", "cyd", "dan")
        row = ScheduleRow(
            "nightly",
            "greet",
            1,
            "run",
            "{}",
            None,
            "default",
            0,
            "0 * * * *",
            "UTC",
            "auto",
            "all",
            86_400.0,
            "allow",
            100,
            0.0,
            60.0,
            True,
            T0,
            T0 + HOUR,
        )
        await self.store.schedules.add(row)
        first = self._run(T0)
        planned = await self.store.schedules.get("nightly")
        assert planned is not None
        assert await self.store.schedules.fire(self._moved(planned, T0, first), [first])
        (self.run,) = await given.taken()
        stored = await self.store.schedules.get("nightly")
        assert stored is not None
        self.row = stored
        self.runs = [[self._run(T0 + HOUR), self._run(T0 + 2 * HOUR)] for _ in range(3)]

    def _run(self, tick: datetime) -> NewInstance:
        return self.given.new(correlation_key=tick_key("nightly", tick), correlation_scope=scope_text("always"))

    def _moved(self, row: ScheduleRow, to: datetime, *runs: NewInstance, **columns: Any) -> ScheduleRow:
        made = msgspec.json.encode([run.id for run in runs]).decode()
        return msgspec.structs.replace(row, decided=to, next_tick=to + HOUR, runs=made, **columns)

    async def _fire(self, who: Actor, row: ScheduleRow, count: int) -> Fired:
        runs = self.runs[who.number][:count]
        was_first = await who.store.schedules.fire(self._moved(row, T0 + count * HOUR, *runs), runs)
        return Fired(row.revision, was_first)

    @operation
    async def fire(self, who: Actor) -> Any:
        return await self._fire(who, self.row, 1)

    @operation
    async def fire_two(self, who: Actor) -> Any:
        return await self._fire(who, self.row, 2)

    @operation
    async def look_and_fire(self, who: Actor) -> Any:
        rows = await who.store.schedules.due(T0 + HOUR, 10, watch=True)
        return [await self._fire(who, row, 1) for row in rows if row.decided <= T0]

    @rare
    async def fire_twice(self, who: Actor) -> Any:
        """A reply was lost: the same is asked for again."""
        await self._fire(who, self.row, 1)
        return await self._fire(who, self.row, 1)

    @operation
    async def switch_off(self, who: Actor) -> Any:
        row = await who.store.schedules.get("nightly")
        return row and await who.store.schedules.change(msgspec.structs.replace(row, enabled=False))

    @rare
    async def note_end(self, who: Actor) -> Any:
        changed = msgspec.structs.replace(self.row, runs="[]", consecutive_failures=1)
        return await who.store.schedules.change(changed)

    @operation
    async def delete(self, who: Actor) -> Any:
        return await who.store.schedules.delete("nightly")

    @operation
    async def run_done(self, who: Actor) -> Any:
        return await settle(who, ended(self.run))

    @rare
    async def stop_run(self, who: Actor) -> Any:
        return await cancel(who, self.run.id)

    @operation
    async def promote(self, who: Actor) -> Any:
        return await promote(who)

    @operation
    async def take(self, who: Actor) -> Any:
        return await take(who)

    def verify(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        ids = {row["id"] for row in rows["instances"]}
        ticks = {row["correlation_key"] for row in rows["instances"]}
        for row in rows["schedules"]:
            decided = datetime.fromisoformat(row["decided_at"])
            tick = T0
            while tick <= decided:
                if tick_key("nightly", tick) not in ticks:
                    yield f"tick: {tick} is decided, and has no run"
                tick += HOUR
            late = [key for key in ticks if key > tick_key("nightly", decided)]
            yield from (f"tick: {key} has a run, and is not decided" for key in late)
            missing = set(msgspec.json.decode(row["runs"])) - ids
            yield from (f"tick: run {id} is named by the schedule and does not exist" for id in missing)
        told = [
            name for name, result in zip(names, results, strict=True) if isinstance(result, Fired) and result.was_first
        ]
        if told and "delete" not in names and not any(row["revision"] > self.row.revision for row in rows["schedules"]):
            yield f"tick: {told} was told to have fired it"
