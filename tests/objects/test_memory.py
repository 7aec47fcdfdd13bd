"""Many more objects than there is room for in memory: what stays there, what is remembered, and what each costs."""

import asyncio
from collections import Counter
from typing import Any, Final

from outlast import Engine, Object, handler
from tests.engine.given import Engines
from tests.objects.gates import Aging, residents

MANY: Final = 300
ROOM: Final = 20
CALLERS: Final = 10


class Cell(Object, name="memory.Cell", hibernate_after=None):
    count: int = 0

    @handler
    async def add(self) -> int:
        self.count += 1
        return self.count


class Leaves(Cell, name="memory.Leaves", hibernate_after=10, shutdown_after=1_000):
    pass


class Asked:
    """What a method of a store's noun was asked for: how often, and of each object how often."""

    def __init__(self, noun: Any, method: str, place: int) -> None:
        self.calls = 0
        self.keys: Counter[tuple[str, str]] = Counter()
        self._real, self._place = getattr(noun, method), place
        setattr(noun, method, self._ask)

    async def _ask(self, *values: Any) -> Any:
        self.calls += 1
        self.keys.update((item.type, item.id) for item in values[self._place])
        return await self._real(*values)


async def touch(engine: Engine, cls: type[Cell], count: int) -> int:
    """Calls each object once, from several tasks. The most that were in memory after a call."""
    numbers, most = iter(range(count)), 0

    async def caller() -> None:
        nonlocal most
        for number in numbers:
            await engine.object(cls, str(number)).add()
            most = max(most, residents(engine))

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return most


async def test_stored_objects_that_are_called_once_each_are_loaded_and_written_once_and_leave(engines: Engines) -> None:
    async with engines.new() as before:
        await touch(before, Cell, MANY)
    engine = await engines.open(resident_objects=ROOM)
    loaded, saved = Asked(engine._store.objects, "activate", 1), Asked(engine._store.objects, "save", 1)

    most = await touch(engine, Cell, MANY)

    assert most <= ROOM + CALLERS
    assert residents(engine) <= ROOM + 1
    assert set(loaded.keys.values()) == set(saved.keys.values()) == {1}
    assert len(loaded.keys) == len(saved.keys) == MANY
    assert loaded.calls <= MANY
    assert saved.calls <= MANY
    assert await engine.object(Cell, "0").add() == 3


async def test_of_those_that_have_left_no_more_are_remembered_than_have_room(aging: Aging) -> None:
    engine, passes = await aging(resident_objects=ROOM, programs=[Leaves])

    await touch(engine, Leaves, 3 * ROOM)
    await passes(11)

    (counts,) = await engine.count_objects()
    assert (residents(engine), counts.objects, counts.owned) == (0, 3 * ROOM, ROOM)
    assert engine._crew is not None
    assert len(engine._crew.keeper.memory._left) == ROOM
    last = f"{3 * ROOM - 1}"
    assert await engine.whereis(engine.object(Leaves, "0")) is None
    assert await engine.whereis(engine.object(Leaves, last)) is not None
    assert [await engine.object(Leaves, id).add() for id in ("0", last)] == [2, 2]

    await passes(2_000)

    (counts,) = await engine.count_objects()
    assert counts.owned == 0
