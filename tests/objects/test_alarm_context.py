"""What the handler of an alarm is told of its alarm: the name, the failed attempts so far, and when it was due."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from outlast import AlarmContext, Engine, Object, alarm, backoff, handler, minutes
from outlast.testing import (
    assert_alarm_scheduled,
    assert_persisted,
    by_hand,
    clock_of,
    drain_alarms,
    fire_alarm,
    perform_alarm,
)
from tests.objects.gates import until

SEEN: list[AlarmContext] = []


@pytest.fixture(autouse=True)
def _new() -> None:
    SEEN.clear()


@pytest.fixture
async def hand(store_url: str) -> AsyncIterator[Engine]:
    """An engine that is run by hand."""
    async with by_hand(url=store_url) as engine:
        yield engine


class Mailer(Object, name="context.Mailer"):
    sent: list[str] = []

    @handler
    async def set(self, name: str, delay: float, every: float | None = None) -> None:
        self.schedule_alarm(name, delay, every=every)

    @handler
    async def with_argument(self, ctx: str) -> str:
        return ctx

    @alarm(max_attempts=4, backoff=backoff.constant(60))
    async def mail(self, ctx: AlarmContext) -> None:
        SEEN.append(ctx)
        if ctx.attempt < 2:
            raise ConnectionError("no route")
        self.sent.append(f"{ctx.name}, attempt {ctx.attempt}")

    @alarm(max_attempts=2, backoff=backoff.constant(60))
    def on_a_thread(self, *, ctx: AlarmContext) -> None:
        SEEN.append(ctx)
        raise ConnectionError("no route")

    async def on_alarm(self, name: str, ctx: AlarmContext) -> None:
        self.sent.append(f"{name}: {ctx.name}, attempt {ctx.attempt}")


class Plain:
    state: dict[str, Any]

    def handle_get(self, name: str) -> int | None:
        return self.state.get(name)

    def handle_alarm(self, name: str, ctx: AlarmContext) -> None:
        SEEN.append(ctx)
        if not ctx.attempt:
            raise ConnectionError("no route")
        self.state[name] = ctx.attempt


async def test_a_handler_sees_how_often_it_has_failed_and_when_it_was_due(hand: Engine) -> None:
    mailer = hand.object(Mailer, "a")
    await mailer.set("mail", 60)
    dues: list[datetime] = []

    for _ in range(3):
        dues.append((await assert_alarm_scheduled(hand, mailer, "mail")).due_at)
        clock_of(hand).jump_to(dues[-1] + minutes(10))
        assert await drain_alarms(hand, with_scheduled=False) == 1

    assert SEEN == [AlarmContext("mail", attempt, due) for attempt, due in enumerate(dues)]
    assert dues[0].tzinfo is not None
    await assert_persisted(hand, mailer, sent=["mail, attempt 2"])


async def test_a_recurring_alarm_begins_anew_with_its_next_time(hand: Engine) -> None:
    mailer = hand.object(Mailer, "a")
    await mailer.set("on_a_thread", 60, every=3600)

    for _ in range(3):
        with pytest.raises(ConnectionError):
            await fire_alarm(hand, mailer, "on_a_thread")

    assert [ctx.attempt for ctx in SEEN] == [0, 1, 0]
    assert SEEN[2].due_at - SEEN[0].due_at > timedelta(minutes=59)


async def test_in_a_worker_the_attempts_are_told_too(engine: Engine) -> None:
    plain: Any = engine.object(Plain, "a")
    await engine.schedule_alarm(plain, "whatever", 0)

    assert await until(lambda: plain.get("whatever")) == 1
    assert [ctx.attempt for ctx in SEEN] == [0, 1]
    assert SEEN[0].due_at < SEEN[1].due_at


async def test_the_one_that_takes_all_alarms_may_ask_for_it_too(hand: Engine) -> None:
    mailer = hand.object(Mailer, "a")
    await mailer.set("anything", 1)

    await fire_alarm(hand, mailer, "anything")

    await assert_persisted(hand, mailer, sent=["anything: anything, attempt 0"])


async def test_a_call_s_handler_may_have_an_argument_of_that_name(hand: Engine) -> None:
    assert await hand.object(Mailer, "a").with_argument("mine") == "mine"


async def test_a_performed_alarm_is_told_the_attempt_that_the_test_says() -> None:
    with pytest.raises(ConnectionError):
        await perform_alarm(Mailer, "mail")
    done = await perform_alarm(Mailer, "mail", {"sent": ["x"]}, attempt=3)

    assert done.state == {"sent": ["x", "mail, attempt 3"]}
    assert [ctx.attempt for ctx in SEEN] == [0, 3]
    assert SEEN[0].due_at <= SEEN[1].due_at
