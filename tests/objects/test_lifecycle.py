"""How objects come into memory and leave it, who owns them, how long callers wait, and what loading does."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from outlast import Engine, Object, alarm, errors, handler
from outlast._world import SystemWorld
from tests.engine.given import Ear, Engines, Spoilt, Tally, soon
from tests.objects.gates import Aging, Gate, is_resident, residents, until

GATE = Gate()
LOADS = Tally()


@pytest.fixture(autouse=True)
def _new() -> None:
    GATE.shut()
    LOADS.__init__()  # type: ignore[misc]


class Cell(Object, name="life.Cell", hibernate_after=10, queue_limit=3, call_timeout=60):
    count: int = 0

    @handler
    async def add(self, amount: int = 1) -> int:
        self.count += amount
        return self.count

    @handler(read_only=True)
    async def get(self) -> int:
        return self.count

    @handler
    async def hold(self) -> int:
        await GATE.hold()
        self.count += 1
        return self.count

    @handler(read_only=True)
    async def hold_reading(self) -> int:
        await GATE.hold()
        return self.count

    @alarm
    async def ring(self) -> None:
        self.count = 100


class Brief(Object, name="life.Brief", hibernate_after=None, shutdown_after=100):
    count: int = 0

    @handler
    async def add(self) -> int:
        self.count += 1
        return self.count


class Restless(Object, name="life.Restless", hibernate_after=0):
    count: int = 0

    @handler
    async def add(self) -> int:
        self.count += 1
        return self.count


class Both(Object, name="life.Both", hibernate_after=10, shutdown_after=100):
    @handler
    async def go(self) -> None: ...


# Starting, looking, stopping, deleting.


async def test_an_object_is_started_without_a_call(engine: Engine) -> None:
    cell = engine.object(Cell, "a")
    assert await engine.whereis(cell) is None

    node = await engine.ensure_started(cell)

    assert node == await engine.ensure_started(cell) == await engine.whereis(cell) == (await engine.nodes())[0].id
    assert is_resident(engine, cell)
    assert await engine.get_state(cell) == {"count": 0}


async def test_a_stopped_object_is_nobodys_and_keeps_its_state(engine: Engine) -> None:
    cell = engine.object(Cell, "a")
    await engine.stop_object(cell)
    await cell.add(2)

    await engine.stop_object(cell)

    assert await engine.whereis(cell) is None
    assert not is_resident(engine, cell)
    assert await engine.get_state(cell) == {"count": 2}
    assert await cell.add() == 3


async def test_calls_that_wait_are_served_before_a_stop_and_later_ones_after_it(engine: Engine) -> None:
    cell = engine.object(Cell, "a")
    held = asyncio.ensure_future(cell.hold())
    await GATE.reached()
    stop = asyncio.ensure_future(engine.stop_object(cell))
    await until(_waits(engine, 1))
    later = asyncio.ensure_future(cell.add())
    await until(_waits(engine, 2))
    GATE.open()

    assert await soon(asyncio.gather(held, stop, later)) == [1, None, 2]


async def test_a_stop_reaches_an_object_that_lives_elsewhere(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    await one.object(Cell, "a").add()

    await two.stop_object(two.object(Cell, "a"))

    assert await two.whereis(two.object(Cell, "a")) is None
    assert await two.object(Cell, "a").add() == 2


async def test_who_is_told_that_an_object_elsewhere_has_stopped_finds_it_free(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await engines.open(), await engines.open()
    await one.object(Cell, "a").add()

    with monkeypatch.context() as patch:
        patch.setattr(one._store.objects, "release", _never)  # it goes with the answer, or not at all.
        await soon(two.stop_object(two.object(Cell, "a")))

    assert await two.whereis(two.object(Cell, "a")) is None


async def _never(*_: Any) -> int:
    raise AssertionError("nothing is released after the answer")


async def test_a_deleted_object_is_gone_with_its_alarms_and_a_later_call_makes_a_new_one(engine: Engine) -> None:
    cell = engine.object(Cell, "a")
    await cell.add(5)
    await engine.schedule_alarm(cell, "ring", 3600)

    assert await engine.delete_object(cell)

    with pytest.raises(errors.NotFound, match=r"no life\.Cell has the id 'a': it was never called, or was deleted"):
        await engine.get_state(cell)
    with pytest.raises(errors.NotFound):
        await engine.get_object(Cell, "a")
    assert await engine.list_alarms(cell) == []
    assert not await engine.delete_object(cell)
    assert await cell.add() == 1


async def test_a_deletion_reaches_an_object_that_lives_elsewhere(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    await one.object(Cell, "a").add(5)

    assert await two.delete_object(two.object(Cell, "a"))

    assert await one.object(Cell, "a").add() == 1


async def test_calls_behind_a_deletion_make_a_new_object(engine: Engine) -> None:
    cell = engine.object(Cell, "a")
    held = asyncio.ensure_future(cell.hold())
    await GATE.reached()
    delete = asyncio.ensure_future(engine.delete_object(cell))
    await until(_waits(engine, 1))
    later = asyncio.ensure_future(cell.add())
    await until(_waits(engine, 2))
    GATE.open()

    assert await soon(asyncio.gather(held, delete, later)) == [1, True, 1]


async def test_objects_are_listed_page_by_page(engine: Engine) -> None:
    for id in ("c", "a", "b"):
        await engine.object(Cell, id).add()
    await engine.stop_object(engine.object(Cell, "b"))

    assert [each.id for each in await engine.list_objects(Cell)] == ["a", "b", "c"]
    assert [each.id for each in await engine.list_objects("life.Cell", after="a", limit=1)] == ["b"]
    assert [each.id for each in await engine.list_objects(Cell, owned=True)] == ["a", "c"]
    assert [each.id for each in await engine.list_objects(Cell, owned=False)] == ["b"]
    counted = {each.type: (each.objects, each.owned) for each in await engine.count_objects()}
    assert counted["life.Cell"] == (3, 2)
    with pytest.raises(errors.ConfigError, match="limit"):
        await engine.list_objects(Cell, limit=0)


async def test_ids_of_different_classes_are_different_objects(engine: Engine) -> None:
    await engine.object(Cell, "a").add(5)

    assert await engine.object(Brief, "a").add() == 1


async def test_state_lives_in_memory_too(engine: Engine) -> None:
    cell = engine.object(Cell, "a")
    await cell.add(1)
    reads = Spoilt(engine._store.objects, "activate")

    assert [await cell.add(), await cell.get()] == [2, 2]
    assert reads.calls == 0


# Leaving the memory.


async def test_an_idle_object_hibernates_and_its_node_goes_on_owning_it(aging: Aging) -> None:
    engine, passes = await aging(programs=[Cell])
    cell = engine.object(Cell, "a")
    await cell.add()
    owner = await engine.whereis(cell)

    await passes(9)
    assert is_resident(engine, cell)
    await passes(2)

    assert not is_resident(engine, cell)
    assert await engine.whereis(cell) == owner
    assert await cell.add() == 2


async def test_every_call_begins_the_time_anew(aging: Aging) -> None:
    engine, passes = await aging(programs=[Cell])
    cell = engine.object(Cell, "a")
    await cell.add()

    for call in (cell.get, cell.add, cell.get):
        await passes(9)
        await call()
    assert is_resident(engine, cell)
    await passes(11)
    assert not is_resident(engine, cell)


async def test_an_object_at_work_does_not_hibernate(aging: Aging) -> None:
    engine, passes = await aging(programs=[Cell])
    for id, hold in (("a", "hold"), ("b", "hold_reading")):
        cell: Any = engine.object(Cell, id)
        await cell.add()
        GATE.shut()
        held = asyncio.ensure_future(getattr(cell, hold)())
        await GATE.reached()

        await passes(50)

        assert is_resident(engine, cell)
        GATE.open()
        await soon(held)


async def test_an_object_that_never_hibernates_is_given_up_after_its_own_time(aging: Aging) -> None:
    engine, passes = await aging(programs=[Brief])
    brief = engine.object(Brief, "a")
    await brief.add()

    await passes(99)
    assert is_resident(engine, brief)
    await passes(2)

    assert not is_resident(engine, brief)
    assert await engine.whereis(brief) is None
    assert await brief.add() == 2


async def test_hibernating_objects_are_given_up_when_their_time_has_come(aging: Aging) -> None:
    engine, passes = await aging(programs=[Both])
    both = engine.object(Both, "a")
    await both.go()

    await passes(11)
    assert (is_resident(engine, both), await engine.whereis(both) is None) == (False, False)
    await passes(90)

    assert await engine.whereis(both) is None


async def test_an_object_may_hibernate_at_once(aging: Aging) -> None:
    engine, passes = await aging(programs=[Restless])
    restless = engine.object(Restless, "a")

    for count in (1, 2, 3):
        assert await restless.add() == count
        await passes(0.001)
        assert not is_resident(engine, restless)


async def test_many_that_stay_do_not_keep_others_from_leaving(aging: Aging) -> None:
    engine, passes = await aging(programs=[Cell, Brief])
    stay = [engine.object(Brief, str(number)) for number in range(1_200)]
    await asyncio.gather(*(each.add() for each in stay))
    cell = engine.object(Cell, "a")
    await cell.add()

    await passes(11)

    assert not is_resident(engine, cell)
    assert residents(engine) == 1_200
    assert engine._crew is not None
    assert await engine._crew.keeper.beat() > 0.0


async def test_above_the_cap_the_least_recently_used_leave(engines: Engines) -> None:
    engine = await engines.open(resident_objects=3)
    cells = [engine.object(Cell, str(number)) for number in range(5)]
    for cell in cells[:3]:
        await cell.add()
    await cells[0].get()

    await cells[3].add()
    await cells[4].add()

    assert [is_resident(engine, cell) for cell in cells] == [True, False, False, True, True]
    assert await cells[1].add() == 2


async def test_above_the_cap_an_object_at_work_stays_and_a_new_one_is_served(engines: Engines) -> None:
    engine = await engines.open(resident_objects=1)
    held = asyncio.ensure_future(engine.object(Cell, "a").hold())
    await GATE.reached()

    assert await soon(engine.object(Cell, "b").add()) == 1
    assert await soon(engine.object(Cell, "c").add()) == 1

    GATE.open()
    assert await soon(held) == 1
    assert await soon(engine.object(Cell, "d").add()) == 1
    assert residents(engine) == 1


async def test_a_closed_engine_owns_nothing(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    await one.object(Cell, "a").add()

    await one.close()

    assert await two.whereis(two.object(Cell, "a")) is None
    with pytest.raises(errors.EngineStateError):
        await one.object(Cell, "a").add()


async def test_what_waits_when_the_engine_closes_is_served_first(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    cell = one.object(Cell, "a")
    held = asyncio.ensure_future(cell.hold())
    await GATE.reached()
    closing = asyncio.ensure_future(one.close())
    await asyncio.sleep(0)
    GATE.open()
    await soon(closing)

    assert await soon(held) == 1
    assert await two.object(Cell, "a").add() == 2


# Waiting.


async def test_more_calls_than_the_queue_limit_are_refused_at_once(engine: Engine) -> None:
    cell = engine.object(Cell, "a")
    held = asyncio.ensure_future(cell.hold())
    await GATE.reached()
    waiting = [asyncio.ensure_future(cell.add()) for _ in range(3)]
    await until(_waits(engine, 3))

    with pytest.raises(errors.MailboxFull, match=r"3 calls wait for life\.Cell 'a'.*queue_limit") as caught:
        await cell.add()

    assert (caught.value.happened, caught.value.id, caught.value.handler) == (False, "a", "add")
    GATE.open()
    assert await soon(asyncio.gather(held, *waiting)) == [1, 2, 3, 4]


async def test_calls_that_were_given_up_do_not_fill_the_queue(engine: Engine) -> None:
    cell = engine.object(Cell, "a")
    held = asyncio.ensure_future(cell.hold())
    await GATE.reached()
    given_up = [asyncio.ensure_future(cell.add()) for _ in range(3)]
    await until(_waits(engine, 3))
    for each in given_up:
        each.cancel()
    await asyncio.wait(given_up)

    later = asyncio.ensure_future(cell.add(10))
    await asyncio.sleep(0)
    GATE.open()

    assert await soon(asyncio.gather(held, later)) == [1, 11]


async def test_a_stored_call_waits_where_it_is_while_the_queue_is_full(engines: Engines) -> None:
    one, two = await engines.open(poll_interval=0.02), await engines.open(poll_interval=0.02)
    cell = one.object(Cell, "a")
    held = asyncio.ensure_future(cell.hold())
    await GATE.reached()
    waiting = [asyncio.ensure_future(cell.add()) for _ in range(3)]
    await until(_waits(one, 3))
    far = asyncio.ensure_future(two.object(Cell, "a").add(10))
    await until(lambda: _stored(one))
    GATE.open()

    assert await soon(asyncio.gather(held, *waiting, far)) == [1, 2, 3, 4, 14]


async def test_a_call_that_had_not_begun_in_time_will_not(engine: Engine) -> None:
    cell = engine.object(Cell, "a")
    held = asyncio.ensure_future(cell.hold())
    await GATE.reached()

    with pytest.raises(errors.CallTimeout, match=r"no answer within 0\.01 s; it had not begun, and will not") as caught:
        await cell.add.with_options(timeout=0.01)(5)

    assert caught.value.happened is False
    GATE.open()
    assert await soon(held) == 1
    assert await cell.get() == 1


async def test_a_call_that_had_begun_goes_on_when_its_caller_gives_up(engine: Engine) -> None:
    cell = engine.object(Cell, "a")
    await cell.get()
    held = asyncio.ensure_future(cell.hold.with_options(timeout=timedelta(milliseconds=300))())
    await GATE.reached()

    with pytest.raises(errors.CallTimeout, match="it had begun, and goes on") as caught:
        await held

    assert caught.value.happened is None
    GATE.open()
    assert await soon(cell.get()) == 1


async def test_a_read_has_its_timeout_too(engine: Engine) -> None:
    cell = engine.object(Cell, "a")
    await cell.add()

    with pytest.raises(errors.CallTimeout) as caught:
        await soon(cell.hold_reading.with_options(timeout=0.01)())

    assert (caught.value.id, caught.value.handler) == ("a", "hold_reading")
    assert await cell.add() == 2


async def test_reads_share_an_object_and_a_write_waits_for_them(engine: Engine) -> None:
    cell = engine.object(Cell, "a")
    await cell.add()
    assert engine._crew is not None
    memory = engine._crew.keeper.memory
    reads = [asyncio.ensure_future(cell.hold_reading()) for _ in range(5)]
    await GATE.reached()
    write = asyncio.ensure_future(cell.add())
    for _ in range(20):
        await asyncio.sleep(0)

    resident = memory.find(("life.Cell", "a"))
    assert resident is not None
    assert resident._readers._count == 5
    assert not write.done()
    GATE.open()
    assert await soon(asyncio.gather(*reads)) == [1] * 5
    assert await soon(write) == 2


async def test_a_call_that_travels_has_its_timeout_too(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    await one.object(Cell, "a").add()

    with pytest.raises(errors.CallTimeout, match="may have happened") as caught:
        await two.object(Cell, "a").hold.with_options(timeout=0.05)()

    assert caught.value.happened is None
    GATE.open()


async def test_the_class_says_how_long_callers_wait(engine: Engine) -> None:
    class Hasty(Object, name="life.Hasty", call_timeout=0.01):
        @handler
        async def hold(self) -> None:
            await GATE.hold()

    with pytest.raises(errors.CallTimeout, match=r"0\.01 s"):
        await engine.object(Hasty, "a").hold()
    GATE.open()


async def test_wrong_call_options_are_refused(engine: Engine) -> None:
    add = engine.object(Cell, "a").add

    for wrong in ({"timeout": 0}, {"timeout": "soon"}, {"idempotency_key": ""}, {"keep": 5}):
        with pytest.raises(errors.ConfigError, match=next(iter(wrong))):
            add.with_options(**wrong)  # type: ignore[arg-type]


async def test_a_read_that_outlives_its_ownership_reads_again(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    cell = one.object(Cell, "a")
    await cell.add()
    held = asyncio.ensure_future(cell.hold_reading())
    await GATE.reached()
    assert one._crew is not None
    await one._store.objects.release((await one.whereis(cell)) or "", None)
    await two.object(Cell, "a").add(10)
    one._crew.keeper.bury()
    GATE.open()

    assert await soon(held) == 11


# Loading.


class Loads(Object, name="life.Loads"):
    count: int = 0
    loaded: int = 0

    async def after_load(self) -> None:
        LOADS.add(self.id)
        if self.id == "held":
            await GATE.hold()
        if self.id == "broken":
            raise LookupError("no such customer")
        if self.id != "same":
            self.loaded += 1
            self.schedule_alarm("ring", 3600)

    @handler
    async def add(self) -> int:
        self.count += 1
        return self.count

    @handler(read_only=True)
    async def seen(self) -> int:
        return self.loaded

    @alarm
    async def ring(self) -> None: ...


async def test_after_load_runs_once_before_the_first_call_and_is_saved(engine: Engine) -> None:
    loads = engine.object(Loads, "a")

    assert await loads.seen() == 1
    assert await engine.get_state(loads) == {"count": 0, "loaded": 1}
    assert [each.name for each in await engine.list_alarms(loads)] == ["ring"]
    assert (await loads.add(), await loads.seen(), LOADS.count) == (1, 1, 1)
    await engine.stop_object(loads)
    assert (await loads.seen(), LOADS.count) == (2, 2)


async def test_calls_wait_until_after_load_is_done(engine: Engine) -> None:
    loads = engine.object(Loads, "held")
    call, read = asyncio.ensure_future(loads.add()), asyncio.ensure_future(loads.seen())
    await GATE.reached()
    assert not call.done()
    GATE.open()

    assert await soon(asyncio.gather(call, read)) == [1, 1]
    assert LOADS.count == 1


async def test_what_after_load_leaves_is_committed_before_the_first_call(engine: Engine) -> None:
    saves = Spoilt(engine._store.objects, "save")
    await engine.object(Loads, "a").seen()
    assert saves.calls == 1
    await engine.object(Loads, "same").seen()
    assert saves.calls == 1


async def test_after_load_that_raises_fails_the_call_and_the_next_one_tries_again(engine: Engine) -> None:
    broken = engine.object(Loads, "broken")

    for count in (1, 2):
        with pytest.raises(LookupError, match="no such customer"):
            await broken.add()
        assert LOADS.count == count

    assert not is_resident(engine, broken)
    assert await engine.whereis(broken) is None


async def test_an_object_that_cannot_be_loaded_does_not_keep_its_process_busy(engines: Engines) -> None:
    engine = await engines.open(poll_interval=0.02)
    ear = Ear(engine)
    broken = engine.object(Loads, "broken")
    await broken.add.send()
    await engine.schedule_alarm(broken, "ring", 0)

    said = await ear.hears("object.load_failed")
    for _ in range(20):
        await engine.get_object(Loads, "broken")
        await asyncio.sleep(0.01)

    assert (said["type"], said["id"], said["error"]) == ("life.Loads", "broken", "LookupError: no such customer")
    assert LOADS.count <= 2


async def test_calls_that_cannot_be_served_do_not_keep_others_waiting(engines: Engines) -> None:
    submitter = await engines.open(queues={})
    await asyncio.gather(*(submitter.object(Loads, "broken").add.send() for _ in range(1_200)))
    await submitter.object(Loads, "fine").add.send()
    worker = await engines.open(programs=[Loads], poll_interval=0.05)

    async def served() -> bool:
        return any(each.state["count"] for each in await worker.list_objects(Loads))

    await until(served)
    assert LOADS.notes.count("broken") <= 3


async def test_hibernating_is_told(aging: Aging) -> None:
    engine, passes = await aging(programs=[Cell])
    ear = Ear(engine)
    await engine.object(Cell, "a").add()

    await passes(11)

    assert (await ear.hears("object.hibernated"))["id"] == "a"


async def test_a_caller_elsewhere_is_told_what_after_load_raised(engines: Engines) -> None:
    submitter, _ = await engines.open(queues={}), await engines.open(programs=[Loads])

    with pytest.raises(LookupError, match="no such customer"):
        await soon(submitter.object(Loads, "broken").add())


async def test_an_object_that_cannot_be_loaded_can_be_stopped_and_deleted(engine: Engine) -> None:
    broken = engine.object(Loads, "broken")
    with pytest.raises(LookupError):
        await broken.add()

    await engine.stop_object(broken)
    assert await engine.delete_object(broken)

    with pytest.raises(errors.NotFound):
        await engine.get_state(broken)


async def test_one_that_cannot_be_loaded_is_deleted_from_elsewhere_too(engines: Engines) -> None:
    submitter, worker = await engines.open(queues={}), await engines.open(programs=[Loads])
    with pytest.raises(LookupError):
        await worker.object(Loads, "broken").add()
    await worker.object(Loads, "broken").add.send()
    loads = LOADS.count

    assert await soon(submitter.delete_object(submitter.object(Loads, "broken")))

    assert LOADS.count <= loads + 1
    with pytest.raises(errors.NotFound):
        await submitter.get_state(submitter.object(Loads, "broken"))


# Retention.


class Kept(Object, name="life.Kept", retention=1, hibernate_after=5):
    count: int = 0

    @handler
    async def add(self) -> int:
        self.count += 1
        return self.count


class Later(SystemWorld):
    """A world in which stored times go ahead when told to, and local ones, too."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s

    def wall_us(self) -> int:
        return super().wall_us() + round(self.ahead_s * 1_000_000)

    def pinned_us(self) -> int | None:
        return self.wall_us()


async def test_an_object_past_its_retention_is_deleted_though_its_process_lives(engines: Engines) -> None:
    engine, world = engines.new(lease=86_400.0, programs=[Kept, Cell]), Later()
    engine._inhabit(engine.config, world)
    async with engine:
        await engine.object(Kept, "a").add()
        await engine.object(Cell, "a").add()
        assert engine._crew is not None
        world.ahead_s = 10.0
        await engine._crew.keeper.beat()
        assert await engine._store.objects.prune(100) == 0
        world.ahead_s = 12.0

        assert await engine._store.objects.prune(100) == 1
        assert [each.id for each in await engine.list_objects(Kept)] == []
        assert [each.id for each in await engine.list_objects(Cell)] == ["a"]
        assert await engine.object(Kept, "a").add() == 1


def _waits(engine: Engine, count: int, id: str = "a") -> Any:
    """Whether so many calls wait for an object."""

    async def waits() -> bool:
        assert engine._crew is not None
        return len(engine._crew.keeper.memory._residents["life.Cell", id]._mailbox) == count

    return waits


async def _stored(engine: Engine) -> bool:
    assert engine._crew is not None
    return bool(await engine._store.calls.waiting(engine._crew.keeper.node(), ["life.Cell"], 10))
