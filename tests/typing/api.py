"""Samples of the public face, checked by mypy and never run. A wrong sample carries the error it must have."""

from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from outlast import (
    AlarmContext,
    Cancel,
    Context,
    Engine,
    Handle,
    Instance,
    Object,
    Queue,
    Retry,
    alarm,
    backoff,
    handler,
    hours,
    job,
    minutes,
    sync,
)


@job
async def greet(name: str, times: int = 1) -> str:
    return name * times


@job
def add(a: int, b: int) -> int:
    return a + b


@job(queue="mail", max_attempts=10, backoff=backoff.exponential(base=1, cap=300), timeout=minutes(5), retention=None)
async def send(ctx: Context, to: str, *, subject: str) -> dict[str, str]:
    ctx.progress(0.5, "half")
    assert_type(ctx.attempt, int)
    assert_type(ctx.deadline, datetime | None)
    return {to: subject}


@job(name="plain", version=2, backoff=lambda attempt: attempt * 1.5, timeout=30, retention=timedelta(days=1))
def plain(ctx: Context, count: int) -> list[int]:
    return [count]


@job(max_attempts=3)
async def may_stop(id: int) -> int | Cancel | Retry:
    return Cancel("gone") if id < 0 else Retry(delay=hours(1), reason="later")


@job()
async def nothing() -> None: ...


async def results_are_those_of_the_function(engine: Engine) -> None:
    assert_type(await engine.start(greet.new("ann")), Handle[str])
    assert_type(await (await engine.start(greet.new("ann", times=2))).result(timeout=10), str)
    assert_type(await (await engine.start(add.new(1, b=2))).result(), int)
    assert_type(await (await engine.start(send.new("ann", subject="hi"))).result(), dict[str, str])
    assert_type(await (await engine.start(plain.new(3))).result(), list[int])
    assert_type(await (await engine.start(nothing.new())).result(), None)
    assert_type(await engine.start_many([greet.new("ann"), greet.new("bob")]), list[Handle[str]])


async def called_directly_they_are_the_functions() -> None:
    assert_type(await greet("ann", 2), str)
    assert_type(add(1, 2), int)
    assert_type(await send(Context(), "ann", subject="hi"), dict[str, str])
    assert_type(plain(Context(attempt=1), count=2), list[int])
    assert_type(await may_stop(1), int | Cancel | Retry)


def wrong_arguments_are_errors() -> None:
    greet.new()  # type: ignore[call-arg]
    greet.new(5)  # type: ignore[arg-type]
    greet.new("ann", times="2")  # type: ignore[arg-type]
    greet.new("ann", tims=2)  # type: ignore[call-arg]
    greet.new("ann", 2, 3)  # type: ignore[call-arg]
    add.new(1, None)  # type: ignore[arg-type]
    send.new("ann")  # type: ignore[call-arg]
    send.new("ann", "hi")  # type: ignore[call-arg]
    send.new(Context(), "ann", subject="hi")  # type: ignore[arg-type, misc]
    plain.new()  # type: ignore[call-arg]
    nothing.new(1)  # type: ignore[call-arg]


async def wrong_uses_are_errors(engine: Engine) -> None:
    await engine.start(greet)  # type: ignore[arg-type]
    await engine.start(greet("ann"))  # type: ignore[arg-type]
    await engine.start(greet.new("ann"), schedule_in="soon")  # type: ignore[arg-type]
    await engine.start(greet.new("ann"), prority=1)  # type: ignore[call-arg]
    number: int = await (await engine.start(greet.new("ann"))).result()  # type: ignore[assignment]
    del number


def wrong_options_are_errors() -> None:
    job(max_attempts="many")  # type: ignore[call-overload]
    job(quue="mail")  # type: ignore[call-overload]
    job(backoff=lambda: 1)  # type: ignore[arg-type, misc]
    job(retention=())  # type: ignore[call-overload]
    Engine(quues={})  # type: ignore[call-arg]
    Engine(lease="long")  # type: ignore[arg-type]
    Retry("soon")  # type: ignore[arg-type]


async def options(engine: Engine, connection: Any) -> None:
    await engine.start(
        greet.new("ann"),
        queue="mail",
        priority=-1,
        schedule_in=timedelta(minutes=5),
        correlation_key="welcome:ann",
        correlation_scope="live",
        on_conflict="return",
        connection=connection,
    )
    await engine.start(greet.new("ann"), schedule_at=datetime.now(UTC))


async def reading(engine: Engine) -> None:
    assert_type(await engine.get("id"), Instance)
    assert_type(await engine.find("key"), Instance | None)
    assert_type(engine.handle("id"), Handle[Any])


async def making() -> None:
    Engine()
    Engine("sqlite:///app.db", queues={"default": 10, "mail": Queue(5, prefetch=0)}, lease=minutes(1), retention=None)
    async with Engine("sqlite://", queues={}) as engine:
        assert_type(engine, Engine)


def without_a_loop() -> None:
    with sync.Engine("sqlite://") as engine:
        handle = engine.start(greet.new("ann"))
        assert_type(handle, sync.Handle[str])
        assert_type(handle.result(timeout=5), str)


class Counter(Object, hibernate_after=minutes(5), queue_limit=10):
    count: int = 0

    @handler
    async def increment(self, amount: int = 1) -> int:
        self.count += amount
        self.schedule_alarm("reset", hours(1))
        return self.count

    @handler(read_only=True)
    def shown(self) -> str:
        return str(self.count)

    @handler
    async def both(self, other: str) -> int:
        assert_type(await self.object(Counter, other).increment(2), int)
        return await self.increment()

    @alarm(max_attempts=3)
    async def reset(self) -> None:
        self.count = 0

    @alarm
    async def remind(self, ctx: AlarmContext) -> None:
        assert_type((ctx.name, ctx.attempt, ctx.due_at), tuple[str, int, datetime])


async def an_object_is_typed_as_its_class(engine: Engine) -> None:
    counter = engine.object(Counter, "a")
    assert_type(counter, Counter)
    assert_type(await counter.increment(5), int)
    assert_type(await counter.shown(), str)
    assert_type(await counter.increment.send(5), None)
    assert_type(await counter.increment.with_options(timeout=minutes(1), idempotency_key="k")(amount=5), int)
    assert_type(await engine.get_state(counter), dict[str, Any])
    assert_type(await engine.whereis(counter), str | None)
    await counter.increment("many")  # type: ignore[arg-type]
    await counter.incremen()  # type: ignore[attr-defined]
    await engine.object("Counter", "a")  # type: ignore[arg-type]


def without_a_loop_answers_are_there(engine: sync.Engine) -> None:
    assert_type(engine.get_state(engine.object(Counter, "a")), dict[str, Any])
