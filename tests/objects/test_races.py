"""Races: lost replies, nodes that are buried, listings that are out of date, handlers that raise anything."""

import asyncio
import contextvars
import itertools
import time
from typing import Any

import pytest

from outlast import Engine, Object, alarm, errors, handler
from outlast.errors import StoreUnavailable
from tests.engine.given import Ear, Engines, Spoilt, Table, Tally, soon
from tests.objects.given import Gate, bury, doubt, node_of, ring, tell, until

going_on = asyncio.Event()
begun = Tally()


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Each test has a loop of its own, and so an event of its own."""
    global going_on, begun
    going_on, begun = asyncio.Event(), Tally()


class Box(Object, name="races.Box", queue_limit=5):
    count: int = 0
    rung: int = 0

    @handler
    async def add(self, amount: int = 1) -> int:
        begun.add(amount)
        self.count += amount
        return self.count

    @handler(read_only=True)
    async def get(self) -> int:
        return self.count

    @handler(read_only=True)
    async def rings(self) -> int:
        return self.rung

    @handler(read_only=True)
    async def get_slowly(self) -> int:
        begun.add()
        await going_on.wait()
        return self.count

    @handler
    async def add_slowly(self, amount: int = 1) -> int:
        begun.add(amount)
        self.count += amount
        try:
            await going_on.wait()
        except asyncio.CancelledError:
            begun.add("cancelled")  # and goes on all the same.
        return self.count

    @handler
    async def cancel_slowly(self) -> None:
        begun.add()
        await going_on.wait()
        self.cancel_alarm("ring")

    @handler
    async def set_again_slowly(self) -> None:
        begun.add()
        await going_on.wait()
        self.schedule_alarm("ring", 3600.0)

    @handler
    async def raise_(self, kind: str) -> None:
        self.count += 1_000
        raise KINDS[kind]()

    @handler
    def raise_on_a_thread(self, kind: str) -> None:
        self.count += 1_000
        raise KINDS[kind]()

    @alarm
    async def ring(self) -> None:
        self.rung += 1


class Own(BaseException):
    """No Exception."""


KINDS = {
    each.__name__: each for each in (Own, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)
} | {"StopIteration": StopIteration}


class Heavy(Object, name="races.Heavy"):
    count: int = 0

    async def after_load(self) -> None:
        begun.add()
        raise LookupError("it does not load")

    @handler
    async def add(self) -> int:
        self.count += 1
        return self.count


# Answers of an owner that is none any more.


async def test_a_read_that_goes_on_while_the_node_dies_and_comes_back_gives_no_old_answer(
    engines: Engines, table: Table
) -> None:
    one, two = await engines.open(), await engines.open()
    box = one.object(Box, "a")
    await box.add(1)
    reading = asyncio.create_task(box.get_slowly())
    await begun.reaches(2)

    ear = Ear(one)
    bury(one, table)
    assert await soon(two.object(Box, "a").add(1)) == 2
    tell(one)
    await until(lambda: node_of(one).is_sure)
    going_on.set()

    assert ear.all("node.buried")
    assert await soon(reading) == 2


async def test_a_read_that_goes_on_while_the_engine_closes_gives_no_old_answer(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    box = one.object(Box, "a")
    await box.add(1)
    reading = asyncio.create_task(box.get_slowly())
    await begun.reaches(2)

    await one.close()
    assert await soon(two.object(Box, "a").add(1)) == 2
    going_on.set()

    with pytest.raises(errors.OwnershipLost):
        await soon(reading)


async def test_a_read_behind_a_commit_whose_reply_is_late_gives_no_old_answer(engines: Engines, table: Table) -> None:
    one, two = await engines.open(), await engines.open()
    box, saves = one.object(Box, "a"), Gate(one._store.objects, "save")
    saves.hold()
    adding = asyncio.create_task(box.add(1))
    await saves.reached()
    bury(one, table)
    assert await soon(two.object(Box, "a").add(1)) == 2

    doubt(one)
    reading = asyncio.create_task(box.get())
    await asyncio.sleep(0)
    saves.open()

    assert await soon(adding) == 1
    with pytest.raises(errors.OwnershipLost):
        await soon(reading)


async def test_a_node_whose_lease_is_in_doubt_asks_who_owns_the_object_before_it_answers(
    engines: Engines, table: Table
) -> None:
    one, two = await engines.open(), await engines.open()
    box = one.object(Box, "a")
    await box.add(1)
    bury(one, table)
    assert await soon(two.object(Box, "a").add(1)) == 2
    doubt(one)

    assert await soon(box.get()) == 2
    two_box = two.object(Box, "a")
    doubt(two)
    assert await soon(two_box.get()) == 2


async def test_a_node_in_doubt_asks_before_it_answers_what_changed_nothing(engines: Engines, table: Table) -> None:
    one, two = await engines.open(), await engines.open()
    box = one.object(Box, "a")
    await box.add(1)
    bury(one, table)
    assert await soon(two.object(Box, "a").add(1)) == 2
    doubt(one)

    with pytest.raises(errors.OwnershipLost):
        await soon(box.add(0))
    assert await soon(box.add(0)) == 2


async def test_a_handler_that_ignores_the_loss_of_its_object_leaves_nothing(engines: Engines, table: Table) -> None:
    one, two = await engines.open(), await engines.open()
    adding = asyncio.create_task(one.object(Box, "a").add_slowly(5))
    await begun.reaches(1)

    bury(one, table)
    assert await soon(two.object(Box, "a").add(1)) == 1
    tell(one)
    await begun.reaches(3)

    with pytest.raises(errors.OwnershipLost) as caught:
        await soon(adding)
    assert caught.value.happened is False
    assert await soon(one.object(Box, "a").get()) == 1


# Commits of which nobody knows.


async def test_a_commit_that_is_under_way_when_the_node_is_buried_may_have_happened(
    engines: Engines, table: Table
) -> None:
    one = await engines.open()
    box, saves = one.object(Box, "a"), Gate(one._store.objects, "save")
    saves.hold()
    adding = asyncio.create_task(box.add(1))
    await saves.reached()
    behind = asyncio.create_task(box.add(1))
    await begun.reaches(2)

    bury(one, table)
    tell(one)

    with pytest.raises(errors.OwnershipLost) as caught:
        await soon(adding)
    assert caught.value.happened is None
    with pytest.raises(errors.OwnershipLost) as caught:
        await soon(behind)
    assert caught.value.happened is False
    saves.open()
    assert await soon(box.get()) == 1


async def test_a_commit_that_was_refused_after_its_reply_was_lost_may_have_happened(
    engines: Engines, table: Table
) -> None:
    one, two = await engines.open(), await engines.open()
    box, save, tries = one.object(Box, "a"), one._store.objects.save, itertools.count(1)

    async def lose_reply(*values: Any) -> Any:
        answer = await save(*values)
        if next(tries) == 1:
            bury(one, table)
            other = two.object(Box, "a").add(1)
            assert await asyncio.create_task(other, context=contextvars.Context()) == 2
            raise StoreUnavailable("the connection was lost")
        return answer

    one._store.objects.save = lose_reply  # type: ignore[method-assign]

    with pytest.raises(errors.OwnershipLost) as caught:
        await soon(box.add(1))

    assert caught.value.happened is None


async def test_a_commit_that_was_refused_at_once_did_not_happen(engines: Engines, table: Table) -> None:
    one, two = await engines.open(), await engines.open()
    box = one.object(Box, "a")
    await box.add(1)
    bury(one, table)
    assert await soon(two.object(Box, "a").add(1)) == 2

    with pytest.raises(errors.OwnershipLost) as caught:
        await soon(box.add(1))

    assert caught.value.happened is False
    assert await soon(box.get()) == 2


async def test_a_commit_that_fails_for_no_known_reason_is_told_and_others_go_on(engine: Engine) -> None:
    box, saves = engine.object(Box, "a"), Spoilt(engine._store.objects, "save")
    assert await box.add(1) == 1
    saves.refuse(1, lambda: RuntimeError("a driver's own trouble"))

    with pytest.raises(errors.CallError, match="a driver's own trouble"):
        await soon(box.add(1))

    assert await soon(box.add(1)) == 2


async def test_one_that_the_database_refuses_costs_no_other_its_changes(engine: Engine) -> None:
    saves = Gate(engine._store.objects, "save")
    real = saves._real

    async def refuse(node: str, batch: Any) -> Any:
        if any(each.id == "bad" for each in batch):
            raise errors.StoreError("not this one")
        return await real(node, batch)

    saves._real = refuse
    saves.hold(before=True)
    first = asyncio.create_task(engine.object(Box, "first").add(1))
    await saves.reached()
    rest = [asyncio.create_task(engine.object(Box, id).add(1)) for id in ("a", "b", "bad", "c")]
    await begun.reaches(5)
    saves.open()

    assert await soon(first) == 1
    answers = await soon(asyncio.gather(*rest, return_exceptions=True))
    assert [answers[0], answers[1], answers[3]] == [1, 1, 1]
    assert isinstance(answers[2], errors.CallError)
    assert answers[2].happened is False


# Calls and alarms of listings that are out of date.


async def test_a_call_that_is_answered_while_it_is_being_listed_is_not_taken_again(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    assert await one.object(Box, "a").add(1) == 1
    saves, lists = Gate(one._store.objects, "save"), Gate(one._store.calls, "waiting")
    saves.hold(before=True)
    calling = asyncio.create_task(two.object(Box, "a").add(1))
    await begun.reaches(2)
    lists.hold()
    ring(one)
    await lists.reached()

    saves.open()
    assert await soon(calling) == 2
    lists.open()
    await lists.passes(2, ring=lambda: ring(one))

    assert await soon(one.object(Box, "a").get()) == 2


async def test_an_alarm_that_has_rung_while_it_is_being_listed_does_not_ring_again(engine: Engine) -> None:
    box = engine.object(Box, "a")
    assert await box.add(1) == 1
    ear, saves, lists = Ear(engine), Gate(engine._store.objects, "save"), Gate(engine._store.alarms, "due")
    saves.hold(before=True)
    await engine.schedule_alarm(box, "ring", 0.0)
    await saves.reached()
    lists.hold()
    ring(engine)
    await lists.reached()

    saves.open()
    await ear.hears("object.saved")
    lists.open()
    await lists.passes(2, ring=lambda: ring(engine))

    assert await soon(box.rings()) == 1


async def test_a_call_that_another_owner_has_answered_since_it_was_listed_is_not_taken(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    one.object(Box, "a")
    add = two.object(Box, "a").add
    lists, others = Gate(one._store.calls, "waiting"), Gate(two._store.calls, "waiting")
    lists.hold(before=True)
    others.hold(before=True)
    ring(one)
    ring(two)
    await lists.reached()
    await others.reached()
    await add.send(1)
    lists.open()
    lists.hold()
    await lists.reached()  # it has seen the call, which is nobody's.
    ear = Ear(two)
    others.open()
    await ear.hears("object.saved")
    await two.stop_object(two.object(Box, "a"))

    lists.open()
    await lists.passes(2, ring=lambda: ring(one))

    assert await soon(one.object(Box, "a").get()) == 1


async def test_an_alarm_that_has_rung_elsewhere_since_it_was_listed_does_not_ring_again(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    box = two.object(Box, "a")
    await box.add(1)
    await two.stop_object(box)
    lists, others = Gate(one._store.alarms, "due"), Gate(two._store.alarms, "due")
    one.object(Box, "a")
    lists.hold(before=True)
    others.hold(before=True)
    ring(one)
    ring(two)
    await lists.reached()
    await others.reached()
    await two.schedule_alarm(box, "ring", 0.0)
    lists.open()
    lists.hold()
    await lists.reached()
    ear = Ear(two)
    others.open()
    await ear.hears("object.saved")
    await two.stop_object(box)

    lists.open()
    await lists.passes(2, ring=lambda: ring(one))

    assert await soon(one.object(Box, "a").rings()) == 1


@pytest.mark.parametrize("method", ["cancel_slowly", "set_again_slowly"])
async def test_an_alarm_that_was_cancelled_or_set_again_while_it_waited_does_not_ring(
    engine: Engine, method: str
) -> None:
    box = engine.object(Box, "a")
    changing = asyncio.create_task(getattr(box, method)())
    await begun.reaches(1)
    resident = engine._crew.keeper.memory._residents["races.Box", "a"]  # type: ignore[union-attr]
    await engine.schedule_alarm(box, "ring", 0.0)
    await until(lambda: len(resident._mailbox) == 1)

    going_on.set()
    await soon(changing)

    assert await soon(box.rings()) == 0
    left = await engine.list_alarms(box)
    assert len(left) == (method == "set_again_slowly")


async def test_calls_that_find_the_mailbox_full_are_taken_when_there_is_room(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    assert await one.object(Box, "a").add(1) == 1
    busy = asyncio.create_task(one.object(Box, "a").add_slowly(0))
    await begun.reaches(2)
    lists = Gate(one._store.calls, "waiting")
    for _ in range(12):
        await two.object(Box, "a").add.send(1)
    await lists.passes(1, ring=lambda: ring(one))

    going_on.set()
    await soon(busy)
    await begun.reaches(14)

    assert await soon(one.object(Box, "a").get()) == 13


async def test_a_stored_call_whose_time_is_over_is_not_begun(engines: Engines) -> None:
    one, two = await engines.open(), await engines.open()
    busy = asyncio.create_task(one.object(Box, "a").add_slowly(0))
    await begun.reaches(1)
    resident = one._crew.keeper.memory._residents["races.Box", "a"]  # type: ignore[union-attr]
    late = two.object(Box, "a").add.with_options(timeout=1.5, idempotency_key="k")

    with pytest.raises(errors.CallTimeout) as caught:
        await soon(late(1))
    assert caught.value.happened is None
    (item,) = resident._mailbox
    await until(lambda: time.monotonic() > item.until)
    going_on.set()
    await soon(busy)

    assert await soon(one.object(Box, "a").get()) == 0


async def test_a_call_with_a_key_can_be_made_again_when_its_time_was_over(engines: Engines) -> None:
    submitter = await engines.open(queues={})
    add = submitter.object(Box, "a").add
    with pytest.raises(errors.CallTimeout):
        await soon(add.with_options(timeout=0.05, idempotency_key="k")(1))

    one = await engines.open()
    one.object(Box, "a")
    again = add.with_options(timeout=8.0, idempotency_key="k")

    assert await soon(again(1)) == 1
    assert await soon(again(1)) == 1
    assert await soon(one.object(Box, "a").get()) == 1


# Trouble in the object itself.


@pytest.mark.parametrize("where", ["raise_", "raise_on_a_thread"])
@pytest.mark.parametrize("kind", list(KINDS))
async def test_whatever_a_handler_raises_it_leaves_nothing_and_others_go_on(
    engine: Engine, where: str, kind: str
) -> None:
    box = engine.object(Box, "a")
    assert await box.add(1) == 1

    with pytest.raises((errors.CallError, Own, RuntimeError)):
        await soon(getattr(box, where)(kind))

    assert await soon(box.add(1)) == 2
    assert await engine.get_state(box) == {"count": 2, "rung": 0}


async def test_an_object_that_does_not_load_is_not_tried_again_at_once(engine: Engine) -> None:
    heavy, ear, activations = engine.object(Heavy, "a"), Ear(engine), Gate(engine._store.objects, "activate")
    lists = Gate(engine._store.calls, "waiting")
    await heavy.add.send()
    await ear.hears("object.released")

    await lists.passes(3, ring=lambda: ring(engine))

    assert activations.calls == 1
    with pytest.raises(LookupError, match="does not load"):
        await soon(heavy.add())


async def test_a_lease_that_is_good_again_without_a_word_lets_calls_begin(engine: Engine) -> None:
    box, keeper = engine.object(Box, "a"), engine._crew.keeper  # type: ignore[union-attr]
    assert await box.add(1) == 1
    node, real = keeper._node, keeper.memory._residents["races.Box", "a"]
    looks = iter([node(), ""])

    keeper._node = lambda: next(looks, node())

    assert await soon(box.add(1)) == 2
    assert real.task is None or not real.gone
