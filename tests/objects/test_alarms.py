"""Alarms: set with the state, rung once due, tried again when they fail, and kept through everything."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from outlast import Cron, Engine, Object, alarm, backoff, days, errors, handler, hours, minutes
from outlast.testing import (
    assert_alarm_scheduled,
    assert_persisted,
    by_hand,
    clock_of,
    drain_alarms,
    fire_alarm,
    refute_alarm_scheduled,
)
from tests.engine.given import Ear, Engines, Tally, soon
from tests.objects.gates import Gate, until

GATE = Gate()
RANG = Tally()


@pytest.fixture(autouse=True)
def _new() -> None:
    GATE.shut()
    RANG.__init__()  # type: ignore[misc]


@pytest.fixture
async def hand(store_url: str) -> AsyncIterator[Engine]:
    """An engine that is run by hand."""
    async with by_hand(url=store_url) as engine:
        yield engine


class Bell(Object, name="alarms.Bell"):
    rang: list[str] = []

    @handler
    async def set(self, name: str, delay: float) -> None:
        self.schedule_alarm(name, delay)

    @handler
    async def set_both(self) -> None:
        self.schedule_alarm("ring", 10)
        self.schedule_alarm("ring", 20)

    @handler
    async def set_at(self, at: datetime) -> None:
        self.schedule_alarm("ring", at=at)

    @handler
    async def every(self, seconds: float, first: float | None = None) -> None:
        self.schedule_alarm("ring", first, every=seconds)

    @handler
    async def cron(self, expression: str, zone: str = "UTC") -> None:
        self.schedule_alarm("ring", cron=expression, zone=zone)

    @handler
    async def cancel(self, name: str) -> None:
        self.cancel_alarm(name)

    @handler
    async def cancel_all(self) -> None:
        self.cancel_all_alarms()

    @handler
    async def move(self) -> None:
        self.cancel_all_alarms()
        self.schedule_alarm("tick", 5)

    @handler
    async def hold(self) -> None:
        await GATE.hold()
        self.cancel_alarm("ring")

    @alarm
    async def ring(self) -> None:
        RANG.add(self.id)
        self.rang.append("ring")

    @alarm
    def tick(self) -> None:
        self.rang.append("tick")
        self.schedule_alarm("tick", minutes(1))

    @alarm(max_attempts=3, backoff=backoff.constant(60))
    async def flaky(self) -> None:
        RANG.add()
        self.rang.append("never")
        if RANG.count < 3:
            raise LookupError(f"not yet: {RANG.count}")
        self.rang[-1:] = ["flaky"]

    @alarm(max_attempts=2, backoff=backoff.constant(60))
    async def broken(self) -> None:
        raise LookupError("broken")

    @alarm
    async def stops_itself(self) -> None:
        self.cancel_alarm("stops_itself")
        self.rang.append("last")


class Catches(Object, name="alarms.Catches"):
    names: list[str] = []

    @handler
    async def set(self, name: str) -> None:
        self.schedule_alarm(name, 5)

    @alarm
    async def own(self) -> None:
        self.names.append("its own")

    async def on_alarm(self, name: str) -> None:
        self.names.append(name)


async def test_an_alarm_rings_when_it_is_due_and_is_gone(hand: Engine) -> None:
    bell = hand.object(Bell, "a")
    await bell.set("ring", 60)
    await assert_alarm_scheduled(hand, bell, "ring", within=60)

    assert await drain_alarms(hand, with_scheduled=False) == 0
    clock_of(hand).jump(61)
    assert await drain_alarms(hand, with_scheduled=False) == 1

    await assert_persisted(hand, bell, rang=["ring"])
    await refute_alarm_scheduled(hand, bell)


async def test_it_rings_by_itself_in_a_worker(engine: Engine) -> None:
    bell = engine.object(Bell, "a")

    await bell.set("ring", 0.01)

    await RANG.reaches(1)
    await until(lambda: _rang(engine, bell, ["ring"]))


async def test_an_alarm_of_the_same_name_takes_the_place_of_the_other(hand: Engine) -> None:
    bell = hand.object(Bell, "a")
    await bell.set("ring", 3600)
    await bell.set_both()
    await hand.schedule_alarm(bell, "ring", 30)

    (only,) = await hand.list_alarms(bell)
    assert only.due_at - clock_of(hand).now() <= timedelta(seconds=30)


async def test_an_alarm_may_have_an_instant(hand: Engine) -> None:
    bell = hand.object(Bell, "a")
    at = clock_of(hand).now().replace(microsecond=0) + days(3)

    await bell.set_at(at)

    assert (await assert_alarm_scheduled(hand, bell, "ring")).due_at == at


async def test_alarms_are_listed_by_their_time(hand: Engine) -> None:
    one, two = hand.object(Bell, "1"), hand.object(Bell, "2")
    await one.set("ring", 300)
    await one.set("tick", 100)
    await two.set("ring", 200)

    assert [each.name for each in await hand.list_alarms(one)] == ["tick", "ring"]
    assert [(each.id, each.name) for each in await hand.list_alarms(Bell)] == [
        ("1", "tick"),
        ("2", "ring"),
        ("1", "ring"),
    ]
    assert await hand.list_alarms("alarms.Bell", limit=1) == (await hand.list_alarms(one))[:1]


async def test_alarms_are_cancelled_by_the_object_and_from_outside(hand: Engine) -> None:
    bell = hand.object(Bell, "a")
    for name in ("ring", "tick", "flaky"):
        await bell.set(name, 60)

    await bell.cancel("ring")
    await bell.cancel("ring")
    assert await hand.cancel_alarm(bell, "tick")
    assert not await hand.cancel_alarm(bell, "tick")
    assert [each.name for each in await hand.list_alarms(bell)] == ["flaky"]
    await bell.set("ring", 60)
    assert await hand.cancel_all_alarms(bell) == 2
    await bell.set("ring", 60)
    await bell.cancel_all()
    assert await hand.list_alarms(bell) == []


async def test_what_is_set_after_all_were_cancelled_stays(hand: Engine) -> None:
    bell = hand.object(Bell, "a")
    await bell.set("ring", 60)

    await bell.move()

    assert [each.name for each in await hand.list_alarms(bell)] == ["tick"]


async def test_alarms_are_set_from_outside_also_for_an_object_that_was_never_called(engine: Engine) -> None:
    bell = engine.object(Bell, "new")

    await engine.schedule_alarm(bell, "ring", 0)

    await RANG.reaches(1)
    await until(lambda: engine.list_objects(Bell))
    await until(lambda: _rang(engine, bell, ["ring"]))


class Sealed(Object, name="alarms.Sealed"):
    seal: ClassVar[str] = ""

    async def after_load(self) -> None:
        if self.seal:
            raise ValueError(self.seal)

    @handler
    async def set(self) -> None:
        self.schedule_alarm("ring", 1)

    @alarm
    async def ring(self) -> None:
        RANG.add()


async def test_draining_ends_with_the_error_of_an_object_that_cannot_be_loaded(
    hand: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = hand.object(Sealed, "a")
    await sealed.set()
    await hand.stop_object(sealed)
    monkeypatch.setattr(Sealed, "seal", "the key is lost")

    with pytest.raises(Exception, match="the key is lost"):
        await drain_alarms(hand)

    monkeypatch.undo()
    assert await drain_alarms(hand) == 1


async def test_its_handler_may_set_it_again(hand: Engine) -> None:
    bell = hand.object(Bell, "a")
    await bell.set("tick", 5)

    for count in (1, 2, 3):
        clock_of(hand).jump(61)
        assert await drain_alarms(hand, with_scheduled=False) == 1
        await assert_persisted(hand, bell, rang=["tick"] * count)
    await assert_alarm_scheduled(hand, bell, "tick", within=60)


async def test_an_alarm_that_recurs_rings_again_and_again_and_leaves_out_what_was_missed(hand: Engine) -> None:
    bell = hand.object(Bell, "a")
    await bell.every(3600, first=10)
    first = await assert_alarm_scheduled(hand, bell, "ring", within=10)
    assert first.every == 3600

    clock_of(hand).jump(hours(3) + minutes(1))
    assert await drain_alarms(hand, with_scheduled=False) == 1

    following = await assert_alarm_scheduled(hand, bell, "ring")
    assert following.due_at == first.due_at + hours(4)
    await assert_persisted(hand, bell, rang=["ring"])


async def test_an_alarm_that_recurs_begins_after_its_own_time(hand: Engine) -> None:
    bell = hand.object(Bell, "a")
    await bell.every(3600)

    due = await assert_alarm_scheduled(hand, bell, "ring", within=3600)
    assert due.due_at > clock_of(hand).now() + minutes(59)


async def test_an_alarm_may_follow_the_calendar(hand: Engine) -> None:
    bell = hand.object(Bell, "a")
    await bell.cron("30 9 * * MON", zone="Europe/Berlin")
    due = await assert_alarm_scheduled(hand, bell, "ring")
    assert due.cron == "30 9 * * MON"
    assert due.due_at == Cron("30 9 * * MON", zone="Europe/Berlin").next_after(clock_of(hand).now())

    clock_of(hand).jump_to(due.due_at + minutes(1))
    assert await drain_alarms(hand, with_scheduled=False) == 1

    again = await assert_alarm_scheduled(hand, bell, "ring")
    assert timedelta(days=6, hours=22) < again.due_at - due.due_at < timedelta(days=7, hours=2)


async def test_a_recurring_alarm_rings_again_without_waiting_for_a_poll(engine: Engine) -> None:
    await engine.object(Bell, "a").every(0.02)

    await RANG.reaches(4)


async def test_a_recurring_alarm_can_be_stopped_by_its_own_handler(hand: Engine) -> None:
    bell = hand.object(Bell, "a")
    await hand.schedule_alarm(bell, "stops_itself", every=60)

    assert await drain_alarms(hand) == 1

    await assert_persisted(hand, bell, rang=["last"])
    await refute_alarm_scheduled(hand, bell)


async def test_an_alarm_that_fails_is_tried_again_and_leaves_no_state(hand: Engine) -> None:
    bell, ear = hand.object(Bell, "a"), Ear(hand)
    await bell.set("flaky", 1)

    for attempt in (1, 2):
        clock_of(hand).jump(61)
        assert await drain_alarms(hand, with_scheduled=False) == 1
        left = await assert_alarm_scheduled(hand, bell, "flaky", within=60)
        assert (left.attempt, left.error and left.error["message"]) == (attempt, f"not yet: {attempt}")
        await assert_persisted(hand, bell, rang=[])
        assert (await ear.hears("alarm.failed", count=attempt))["attempt"] == attempt
    clock_of(hand).jump(61)
    assert await drain_alarms(hand) == 1
    await assert_persisted(hand, bell, rang=["flaky"])
    assert await hand.list_alarms(bell) == []


async def test_after_its_last_attempt_it_stays_as_failed_until_it_is_set_again(hand: Engine) -> None:
    bell, ear = hand.object(Bell, "a"), Ear(hand)
    await bell.set("broken", 1)
    await bell.set("ring", 3600)

    assert await drain_alarms(hand) == 3

    (left,) = await hand.list_alarms(bell)
    assert (left.name, left.failed, left.attempt, (left.error or {})["type"]) == ("broken", True, 2, "LookupError")
    assert (await ear.hears("alarm.gave_up"))["handler"] == "broken"
    clock_of(hand).jump(days(30))
    assert await drain_alarms(hand) == 0
    await hand.schedule_alarm(bell, "broken", 5)
    assert not (await assert_alarm_scheduled(hand, bell, "broken", within=5)).failed


async def test_an_alarm_that_recurs_goes_on_with_its_next_time_after_its_last_attempt(hand: Engine) -> None:
    bell = hand.object(Bell, "a")
    await hand.schedule_alarm(bell, "broken", every=3600)
    first = await assert_alarm_scheduled(hand, bell, "broken")

    for _ in range(2):
        with pytest.raises(LookupError):
            await fire_alarm(hand, bell, "broken")

    following = await assert_alarm_scheduled(hand, bell, "broken")
    assert (following.attempt, (following.error or {})["message"]) == (0, "broken")
    assert following.due_at > first.due_at


async def test_one_method_may_take_all_alarms_that_have_no_own(hand: Engine) -> None:
    catches = hand.object(Catches, "a")
    for name in ("own", "any", "other"):
        await catches.set(name)
        await fire_alarm(hand, catches, name)

    await assert_persisted(hand, catches, names=["its own", "any", "other"])


async def test_alarms_outlive_the_process_that_set_them(engines: Engines) -> None:
    one = await engines.open()
    await one.object(Bell, "a").set("ring", 0.5)
    await one.close()
    two = await engines.open(programs=[Bell])

    await RANG.reaches(1)
    await until(lambda: _rang(two, two.object(Bell, "a"), ["ring"]))


async def test_an_alarm_rings_where_its_object_lives(engines: Engines) -> None:
    one, two = await engines.open(programs=[Bell]), await engines.open(programs=[Bell])
    owner = await one.ensure_started(one.object(Bell, "a"))

    await two.schedule_alarm(two.object(Bell, "a"), "ring", 0)

    await RANG.reaches(1)
    assert await two.whereis(two.object(Bell, "a")) == owner


async def test_an_alarm_that_waits_behind_a_handler_that_cancels_it_does_not_ring(engine: Engine) -> None:
    bell = engine.object(Bell, "a")
    held = asyncio.ensure_future(bell.hold())
    await GATE.reached()
    await engine.schedule_alarm(bell, "ring", 0)
    assert engine._crew is not None
    memory = engine._crew.keeper.memory

    async def waits() -> bool:
        return len(memory._residents["alarms.Bell", "a"]._mailbox) > 0

    await until(waits)
    GATE.open()
    await soon(held)

    assert await engine.list_alarms(bell) == []
    await bell.set("ring", 3600)
    assert RANG.count == 0


async def test_an_alarm_without_a_handler_here_waits_for_newer_code(hand: Engine) -> None:
    def make(*names: str) -> Any:
        async def ring(self: Any) -> None:
            self.count += 1

        body: dict[str, Any] = {name: alarm(ring) for name in names}
        body |= {"count": 0, "__annotations__": {"count": int}, "get": handler(_get)}
        return type("Newer", (Object,), body, name="alarms.Newer")

    newer, older = make("ring", "extra"), make("ring")
    await hand.schedule_alarm(hand.object(newer, "a"), "extra", 1)

    with pytest.raises(AttributeError, match="no handler or alarm 'extra' in this process"):
        await fire_alarm(hand, hand.object(older, "a"), "extra")

    assert (await assert_alarm_scheduled(hand, hand.object(newer, "a"), "extra")).attempt == 1
    await hand.stop_object(hand.object(newer, "a"))
    await fire_alarm(hand, hand.object(newer, "a"), "extra")
    assert await hand.get_state(hand.object(newer, "a")) == {"count": 1}


async def _get(self: Any) -> int:
    return self.count  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({}, "one of delay, at, every and cron"),
        ({"delay": 1, "at": datetime.now(UTC)}, "one of delay, at, every and cron"),
        ({"every": 5, "cron": "@daily"}, "one of delay, at, every and cron"),
        ({"at": datetime(2030, 1, 1)}, "aware"),  # noqa: DTZ001
        ({"delay": -1}, "delay"),
        ({"every": 0}, "every"),
        ({"cron": "every day"}, "five fields"),
        ({"cron": "@daily", "zone": "Mars/Olympus"}, "Mars/Olympus"),
    ],
)
async def test_a_wrong_time_is_refused(hand: Engine, how: dict[str, Any], told: str) -> None:
    bell = hand.object(Bell, "a")

    with pytest.raises(errors.ConfigError, match=told):
        await hand.schedule_alarm(bell, "ring", **how)

    assert await hand.list_alarms(bell) == []


async def test_an_alarm_that_the_class_does_not_have_is_refused(hand: Engine) -> None:
    bell = hand.object(Bell, "a")

    with pytest.raises(errors.ConfigError, match=r"no alarm 'rnig'; did you mean 'ring'"):
        await hand.schedule_alarm(bell, "rnig", 5)
    with pytest.raises(errors.ConfigError, match=r"no alarm 'rnig'"):
        await bell.set("rnig", 5)


async def _rang(engine: Engine, bell: Any, names: list[str]) -> bool:
    return bool((await engine.get_state(bell))["rang"] == names)
