"""Objects under test: one handler alone, alarms by hand, and what is stored of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from outlast._codec import decode_any, encode
from outlast._kernel.objects import Orders
from outlast._model import AlarmRow, NewCall
from outlast._store.contract import Store
from outlast._world import SystemWorld, instant
from outlast.config import duration_s
from outlast.engine import ALARMS_MAX, Engine, kind_of
from outlast.errors import CallError, ConfigError, NotFound, did_you_mean
from outlast.objects import ORDERED, CallOptions, HandlerOf, ObjectKind, PendingAlarm, Ref
from outlast.testing.hand import hand_of
from outlast.testing.tally import TooManySteps

_SHOWN_MAX: Final = 400


@dataclass(frozen=True)
class Performed:
    """What one handler did, run alone.

    Attributes:
        result: What it returned.
        state: The fields as it left them.
        alarms: Alarms that it set, by name.
        cancelled: Names of alarms that it cancelled.
        cancelled_all: Whether it cancelled all that were set before.
        sends: One-way calls that it made, as (type, id, handler, arguments by name).
    """

    result: Any
    state: dict[str, Any]
    alarms: dict[str, PendingAlarm] = field(default_factory=dict)
    cancelled: frozenset[str] = frozenset()
    cancelled_all: bool = False
    sends: Sequence[tuple[str, str, str, dict[str, Any]]] = ()


async def perform_handler(
    cls: type,
    handler: str | Any,
    args: Sequence[Any] | Mapping[str, Any] = (),
    state: Mapping[str, Any] | None = None,
    *,
    id: str = "test",
) -> Performed:
    """Runs one handler on a state that you give, without engine and database.

        done = await perform_handler(Counter, "increment", [5], {"count": 1})
        assert (done.result, done.state) == (6, {"count": 6})

    Arguments, state and result are checked as in a call. `after_load` does not run. A call of another object is an
    error, one-way calls are told in `sends`.

    Args:
        cls: The object's class.
        handler: Its name, or `Counter.increment`.
        args: By position or by name.
        state: Fields; those left out have their defaults.
        id: The object's id.

    Raises: What the handler raises; ArgumentError, EncodingError, ConfigError.
    """
    kind = kind_of(cls)
    name = handler if isinstance(handler, str) else getattr(handler, "__name__", repr(handler))
    found = kind.handlers.get(name)
    if found is None:
        raise ConfigError(f"{kind.name} has no handler {name!r}{did_you_mean(name, kind.handlers)}")
    given = found.args_of((), dict(args)) if isinstance(args, Mapping) else found.args_of(tuple(args), {})
    return await _perform(kind, found, given, state, id)


async def perform_alarm(
    cls: type, name: str, state: Mapping[str, Any] | None = None, *, id: str = "test", attempt: int = 0
) -> Performed:
    """Runs the handler of one alarm on a state that you give, without engine and database; see `perform_handler`.

    Args:
        cls: The object's class.
        name: The alarm's name.
        state: Fields; those left out have their defaults.
        id: The object's id.
        attempt: Failed attempts before this one, as its `ctx` tells them; it is due now.

    Raises: What it raises; ConfigError: there is none.
    """
    kind = kind_of(cls)
    found = kind.ringing(name)
    if found is None:
        raise ConfigError(f"{kind.name} has no alarm {name!r}{did_you_mean(name, kind.alarms)}")
    row = AlarmRow(kind.name, id, name, "", due_us=SystemWorld().wall_us(), attempt=attempt)
    return await _perform(kind, found, kind.alarm_args(row), state, id)


async def _perform(
    kind: ObjectKind, handler: HandlerOf, args: Mapping[str, Any], state: Mapping[str, Any] | None, id: str
) -> Performed:
    if unknown := set(state or {}) - set(kind.field_names):
        raise ConfigError(f"{kind.name} has no field {min(unknown)!r}{did_you_mean(min(unknown), kind.field_names)}")
    alone = _Alone()
    before = encode(dict(state or {}), what=kind.what)
    body = kind.load(id, kind.version, before, alone)
    unchanged = body.dump()
    value = body.run(handler, args)
    if inspect.isawaitable(value):
        value = await value
    after = body.dump()
    if handler.read_only and (after != unchanged or body.orders):
        raise CallError(f"handler {handler.name!r} of {kind.name} is read_only, and has changed the state")
    body.settle(after)
    orders = body.take_orders()
    return Performed(
        handler.copy_result(value),
        kind.state_of(kind.version, after),
        {name: _pending(row, alone.now_us()) for name, row in orders.alarms.items()},
        frozenset(orders.cancelled),
        orders.clears,
        [(call.type, call.id, call.handler, decode_any(call.args)) for call in orders.sends],
    )


class _Alone:
    """The surroundings of a handler that runs alone. See `_kernel.objects.Surroundings`."""

    def __init__(self) -> None:
        self._world = SystemWorld()

    def now_us(self) -> int:
        """The time."""
        return self._world.wall_us()

    def new_id(self) -> str:
        """A new id."""
        return self._world.new_id()

    def object(self, kind: Any, id: str, orders: Callable[[], Orders]) -> Any:
        """A reference to an object that is not there."""
        return Ref(kind_of(kind), id, _Nobody(orders))


class _Nobody:
    """Carries no calls."""

    def __init__(self, orders: Callable[[], Orders]) -> None:
        self._orders = orders

    def call_object(
        self, ref: Ref, handler: HandlerOf, args: tuple[Any, ...], kwargs: dict[str, Any], options: CallOptions
    ) -> Any:
        """Refuses."""
        raise AssertionError(f"a handler that runs alone cannot call {ref!r}: use an engine that is run by_hand")

    def send_object(
        self, ref: Ref, handler: HandlerOf, args: tuple[Any, ...], kwargs: dict[str, Any], options: CallOptions
    ) -> Any:
        """Notes it."""
        text = handler.write_args(handler.args_of(args, kwargs))
        self._orders().sends.append(NewCall("", ref.outlast_kind.name, ref.id, handler.name, text))
        return ORDERED


async def assert_persisted(engine: Engine, object: Any, /, **expected: Any) -> dict[str, Any]:
    """That the object is stored, and these fields with these values; compared as stored data. Returns the fields."""
    try:
        state = await engine.get_state(object)
    except NotFound:
        raise AssertionError(f"{object!r} is not stored: it was never called, or was deleted") from None
    for name, wanted in expected.items():
        if name not in state:
            raise AssertionError(f"{object!r} has no field {name!r}{did_you_mean(name, state)}")
        if _plain(state[name]) != _plain(wanted):
            raise AssertionError(
                f"expected {name} of {object!r} to be stored as {wanted!r}; it is {state[name]!r}\n"
                f"  state  {_brief(state)}"
            )
    return state


async def scheduled_alarms(engine: Engine, object: Any = None) -> list[PendingAlarm]:
    """Alarms that are set and have not failed for good, the earliest first: of an object, of all objects of a class, or
    of all that the engine knows."""
    asked = engine._types.names() if object is None else [object]
    found = [alarm for each in asked for alarm in await engine.list_alarms(each)]
    return sorted((alarm for alarm in found if not alarm.failed), key=lambda alarm: alarm.due_at)


async def assert_alarm_scheduled(
    engine: Engine, object: Any, name: str, *, within: float | timedelta | None = None
) -> PendingAlarm:
    """That this alarm of the object is set. Returns it.

    Args:
        within: Seconds (or a timedelta) from the engine's now, in which it is to ring.
    """
    alarms = await scheduled_alarms(engine, object)
    found = next((alarm for alarm in alarms if alarm.name == name), None)
    if found is None:
        raise AssertionError(f"expected alarm {name!r} of {object!r} to be set; {_listed(alarms)}")
    if within is not None:
        now = instant(engine._running().keeper.now_us())
        if found.due_at > (latest := now + timedelta(seconds=duration_s(within, name="within"))):
            raise AssertionError(
                f"expected alarm {name!r} of {object!r} to ring until {latest.isoformat()}; it is due at "
                f"{found.due_at.isoformat()}"
            )
    return found


async def refute_alarm_scheduled(engine: Engine, object: Any, name: str | None = None) -> None:
    """That this alarm of the object is not set; without a name, that none is."""
    alarms = [alarm for alarm in await scheduled_alarms(engine, object) if name in (None, alarm.name)]
    if alarms:
        raise AssertionError(f"expected no alarm {name or ''!r} of {object!r}; {_listed(alarms)}")


async def fire_alarm(engine: Engine, object: Any, name: str) -> None:
    """Rings an alarm of an object now, due or not, and waits until what came of it is committed.

    The clock stays where it is. An alarm that its handler sets again stays set.

    Args:
        engine: One that is run `by_hand`.

    Raises: What its handler raises (the alarm will be tried again). AssertionError: it is not set. EngineStateError.
    """
    hand = hand_of(engine)
    ref = engine._checked_ref(object)
    kind = ref.outlast_kind
    rows = await hand.store.alarms.list(kind.name, ref.id, ALARMS_MAX)
    row = next((row for row in rows if row.name == name and row.failed_us is None), None)
    if row is None:
        raise AssertionError(
            f"there is no alarm {name!r} of {object!r} to fire; {_listed(await scheduled_alarms(engine, object))}"
        )
    await hand.crew.keeper.ring(kind, row)
    await hand.serve_calls()


async def drain_alarms(
    engine: Engine, object: Any = None, *, with_scheduled: bool = True, max_iterations: int = 100
) -> int:
    """Rings alarms, one at a time, the earliest first, until none is left. The clock stays where it is.

    A handler that raises is tried again at once, up to its `max_attempts`.

    Args:
        engine: One that is run `by_hand`.
        object: Only those of this object, or of objects of this class; all by default.
        with_scheduled: Whether those that are due later ring, too.
        max_iterations: More is an error: an alarm that recurs or sets itself again never comes to an end.

    Returns: How often one rang.

    Raises: TooManySteps, EngineStateError; why an object cannot be loaded.
    """
    hand = hand_of(engine)
    rung = 0
    while True:
        alarms = await scheduled_alarms(engine, object)
        if not with_scheduled:
            now = instant(hand.crew.keeper.now_us())
            alarms = [alarm for alarm in alarms if alarm.due_at <= now]
        if not alarms:
            return rung
        if rung >= max_iterations:
            raise TooManySteps(
                f"drain_alarms rang {rung:,} alarms, and {_listed(alarms)}. Does one recur, or set itself again? "
                "Ring it with fire_alarm, or leave out what is due later (with_scheduled=False)."
            )
        first = alarms[0]
        (row,) = await _rows(hand.store, first)
        kind = engine._types.find(first.type)
        assert kind is not None
        (error,) = await asyncio.gather(hand.crew.keeper.ring(kind, row), return_exceptions=True)
        if isinstance(error, Exception) and await _rows(hand.store, first) == [row]:
            raise error  # the handler has not even begun: the object cannot be loaded.
        rung += 1
        await hand.serve_calls()


async def _rows(store: Store, alarm: PendingAlarm) -> list[AlarmRow]:
    return [row for row in await store.alarms.list(alarm.type, alarm.id, ALARMS_MAX) if row.name == alarm.name]


async def assert_eventually(
    check: Callable[[], Any], *, timeout: float | timedelta = 5.0, interval: float | timedelta = 0.05
) -> Any:
    """That `check()` becomes true, or its AssertionError ceases, within a time. Returns what it returned.

    Args:
        check: A function, plain or `async def`.
        timeout: Seconds (or a timedelta) of real time.
        interval: Seconds (or a timedelta) between two looks.
    """
    loop = asyncio.get_running_loop()
    timeout_s, interval_s = duration_s(timeout, name="timeout"), duration_s(interval, name="interval")
    ends_at = loop.time() + timeout_s
    while True:
        found: Any = None
        failure: AssertionError | None = None
        try:
            found = check()
            if inspect.isawaitable(found):
                found = await found
        except AssertionError as error:
            failure = error
        if failure is None and found:
            return found
        if loop.time() >= ends_at:
            told = str(failure) if failure is not None else f"it returned {_brief(found)}"
            raise AssertionError(f"not within {timeout_s:g} s: {told}") from failure
        await asyncio.sleep(min(interval_s, max(0.0, ends_at - loop.time())))


def _pending(row: AlarmRow, now_us: int) -> PendingAlarm:
    due_at: datetime = instant(row.due_us if row.due_us is not None else now_us + round((row.delay_s or 0) * 1_000_000))
    return PendingAlarm(row.type, row.id, row.name, due_at, 0, row.every_s, row.cron, None, False)


def _plain(value: Any) -> Any:
    return decode_any(encode(value, what="the expected value"))


def _listed(alarms: Sequence[PendingAlarm]) -> str:
    if not alarms:
        return "none is set"
    return "set: " + ", ".join(f"{each.name!r} of {each.id!r} at {each.due_at.isoformat()}" for each in alarms[:5])


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
