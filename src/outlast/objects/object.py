"""The base class of objects."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

from outlast._kernel.backoff import exponential
from outlast._kernel.cron import Cron
from outlast._kernel.objects import BUILT_IN, OBJECTS
from outlast._model import AlarmRow
from outlast._world import instant, instant_us
from outlast.config import checked_name, duration_s, shown
from outlast.config.values import whole
from outlast.errors import ConfigError, DefinitionError, did_you_mean
from outlast.objects.handlers import Alarm, Handler
from outlast.objects.kind import ALARM_ATTEMPTS, CATCH_ALL, AlarmOf, HandlerOf, ObjectBody, ObjectKind, default_of

T = TypeVar("T")

RESERVED: Final = frozenset(
    {
        "after_load",
        "alarm",
        "cancel_alarm",
        "cancel_all_alarms",
        "id",
        "list_alarms",
        "object",
        CATCH_ALL,
        "outlast_body",
        "outlast_caller",
        "outlast_kind",
        "schedule_alarm",
    }
)
"""Names that a field, a handler or an alarm cannot have."""
LENT: Final = ("cancel_alarm", "cancel_all_alarms", "object", "schedule_alarm")
"""Methods of `Object` that objects of plain classes have, too."""
HIBERNATE_S: Final = 300.0
CALL_TIMEOUT_S: Final = 5.0
QUEUE_LIMIT: Final = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class PendingAlarm:
    """An alarm of an object.

    Attributes:
        type, id: The object.
        name: Its name.
        due_at: When it rings, an aware instant in UTC.
        attempt: Failures of its handler so far.
        every: Seconds between its times, or None.
        cron: Its cron expression, or None.
        error: The last failure: a mapping with `type`, `message` and `traceback`, or None.
        failed: Whether it has failed for good, and will not ring.
    """

    type: str
    id: str
    name: str
    due_at: datetime
    attempt: int
    every: float | None
    cron: str | None
    error: dict[str, Any] | None
    failed: bool


@dataclass_transform(kw_only_default=True)
class Object:
    """The base of objects: state with handlers, one instance for each id, wherever it is called from.

    The annotated fields of the class are its durable state, each with a default. Class arguments:
        name: Its name in the database (default: the class's name).
        version: A whole number from 1 (default 1); raise it when the state changes its shape, with `@upgrade`.
        hibernate_after: Seconds (or a timedelta) without a call after which it leaves the memory (default 5 minutes);
            None: never.
        shutdown_after: Seconds without a call after which its node gives it up, so that it may live elsewhere; None
            (default): never.
        queue_limit: Calls that may wait for one object (default 10,000); more get `MailboxFull`.
        call_timeout: Seconds that a caller waits for an answer, unless it says otherwise (default 5).
        retention: Seconds that an object is kept after it was used last and has left the memory; None (default): for
            ever. One with an alarm still to ring, or with a call that waits, stays.
    """

    outlast_kind: ClassVar[ObjectKind]

    @property
    def id(self) -> str:
        """The object's id."""
        return _body(self).id

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        version: int = 1,
        hibernate_after: float | timedelta | None = HIBERNATE_S,
        shutdown_after: float | timedelta | None = None,
        queue_limit: int = QUEUE_LIMIT,
        call_timeout: float | timedelta = CALL_TIMEOUT_S,
        retention: float | timedelta | None = None,
        **rest: Any,
    ) -> None:
        super().__init_subclass__(**rest)
        cls.outlast_kind = make_kind(
            cls,
            name=name,
            version=version,
            hibernate_after=hibernate_after,
            shutdown_after=shutdown_after,
            queue_limit=queue_limit,
            call_timeout=call_timeout,
            retention=retention,
        )
        if "<locals>" not in cls.__qualname__:
            OBJECTS.add(cls.outlast_kind)

    def __init__(self) -> None:
        raise DefinitionError(
            f"{type(self).__name__} lives in the database: engine.object({type(self).__name__}, id) refers to one"
        )

    async def after_load(self) -> None:
        """Runs when the object comes into memory, before any call; also for a new one. What it changes is saved."""

    def object(self, cls: type[T], id: str) -> T:
        """Another object. One-way calls (`send`) of it go out with this handler's commit, or not at all.

        Raises: ConfigError, CallCycle (when it is called).
        """
        body = _body(self)
        made: T = body.around.object(cls, id, lambda: body.orders)
        return made

    def schedule_alarm(
        self,
        name: str,
        delay: float | timedelta | None = None,
        *,
        at: datetime | None = None,
        every: float | timedelta | None = None,
        cron: str | Cron | None = None,
        zone: str = "UTC",
    ) -> None:
        """Sets the object's alarm of this name, in place of one that is set; committed together with the state.

        Args:
            name: A method marked with `@alarm`, or any name when the class has `on_alarm(self, name)`.
            delay: Seconds (or a timedelta) from now.
            at: An aware instant, instead.
            every: Seconds (or a timedelta) between its times; the first comes after `delay`, or after the same time.
            cron: A cron expression for its times, instead; see `Cron`.
            zone: The expression's time zone.

        Raises: ConfigError.
        """
        body = _body(self)
        row = alarm_row(body.kind, body.id, name, delay, at=at, every=every, cron=cron, zone=zone, around=body.around)
        body.orders.set(row)

    def cancel_alarm(self, name: str) -> None:
        """Cancels the alarm of this name, if it is set; committed together with the state."""
        _body(self).orders.cancel(checked_name(name, what="an alarm's name"))

    def cancel_all_alarms(self) -> None:
        """Cancels every alarm of this object; committed together with the state."""
        _body(self).orders.cancel_all()


def _body(instance: Any) -> ObjectBody:
    body: ObjectBody | None = instance.__dict__.get("outlast_body")
    if body is None:
        raise ConfigError("only a handler of an object can do this")
    return body


def alarm_row(
    kind: ObjectKind,
    id: str,
    name: str,
    delay: float | timedelta | None,
    *,
    at: datetime | None,
    every: float | timedelta | None,
    cron: str | Cron | None,
    zone: str,
    around: Any,
) -> AlarmRow:
    """What somebody says of an alarm, as its row. Raises: ConfigError."""
    checked_name(name, what="an alarm's name")
    if kind.ringing(name) is None:
        raise ConfigError(
            f"{kind.name} has no alarm {name!r}{did_you_mean(name, kind.alarms)}: mark a method with @alarm, "
            f"or define {CATCH_ALL}(self, name)"
        )
    ways = sum(given is not None for given in (delay, at, cron)) + (every is not None and delay is None and at is None)
    if ways != 1 or (cron is not None and every is not None):
        raise ConfigError("an alarm needs one of delay, at, every and cron (every may have a first delay or at)")
    delay_s = None if delay is None else duration_s(delay, name="delay")
    every_s = None if every is None else duration_s(every, name="every", least_s=0.001)
    due_us: int | None = None
    expression: str | None = None
    if at is not None:
        if at.tzinfo is None:
            raise ConfigError("at must be an aware instant: give it a time zone")
        due_us = instant_us(at.astimezone(UTC))
    elif cron is not None:
        made = cron if isinstance(cron, Cron) else Cron(cron, zone)
        expression, zone = made.expression, made.zone
        due_us = instant_us(made.next_after(instant(around.now_us())))
    elif delay_s is None:
        delay_s = every_s
    return AlarmRow(
        kind.name,
        id,
        name,
        around.new_id(),
        due_us=due_us,
        delay_s=delay_s,
        every_s=every_s,
        cron=expression,
        zone=zone if expression else None,
    )


def make_kind(
    cls: type,
    *,
    name: str | None = None,
    version: int = 1,
    hibernate_after: float | timedelta | None = HIBERNATE_S,
    shutdown_after: float | timedelta | None = None,
    queue_limit: int = QUEUE_LIMIT,
    call_timeout: float | timedelta = CALL_TIMEOUT_S,
    retention: float | timedelta | None = None,
) -> ObjectKind:
    """What a class says of its objects. Raises: DefinitionError, ConfigError."""
    called = checked_name(cls.__name__ if name is None else name, what="an object's name")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise DefinitionError(f"object {called!r}: version must be a whole number from 1, not {shown(version)}")
    whole("queue_limit", queue_limit, 1, 10_000_000)
    fields, defaults = _fields_of(cls, called)
    handlers, alarms, catch_all = _methods_of(cls, called)
    if not handlers and not alarms:
        raise DefinitionError(f"object {called!r} has no handler: mark methods with @handler")
    return ObjectKind(
        cls,
        name=called,
        version=version,
        fields=fields,
        defaults=defaults,
        handlers=handlers,
        alarms=alarms,
        catch_all=catch_all,
        upgrades=_upgrades_of(cls, called, version),
        hibernate_s=None if hibernate_after is None else duration_s(hibernate_after, name="hibernate_after"),
        shutdown_s=None if shutdown_after is None else duration_s(shutdown_after, name="shutdown_after"),
        queue_limit=queue_limit,
        timeout_s=duration_s(call_timeout, name="call_timeout", least_s=0.001),
        retention_s=None if retention is None else duration_s(retention, name="retention"),
        lent={method: vars(Object)[method] for method in LENT if not hasattr(cls, method)},
    )


def _fields_of(cls: type, name: str) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception as error:
        raise DefinitionError(f"object {name!r}: its annotations cannot be resolved: {error}") from None
    fields: dict[str, Any] = {}
    defaults: dict[str, Callable[[], Any]] = {}
    for field, kind in hints.items():
        if typing.get_origin(kind) is ClassVar or kind is ClassVar:
            continue
        if field in RESERVED or field.startswith("_"):
            raise DefinitionError(f"object {name!r}: a field cannot be called {field!r}")
        found = inspect.getattr_static(cls, field, _MISSING)
        if isinstance(found, dataclasses.Field):
            if found.default_factory is not dataclasses.MISSING:
                defaults[field] = found.default_factory
            elif found.default is not dataclasses.MISSING:
                defaults[field] = default_of(found.default)
            else:
                found = _MISSING
        elif found is not _MISSING:
            defaults[field] = default_of(found)
        elif field == "state" and not issubclass(cls, Object):
            found = defaults[field] = dict
        if found is _MISSING:
            raise DefinitionError(
                f"object {name!r}: field {field!r} needs a default, for an object exists from its first call"
            )
        fields[field] = kind
    if not fields:
        defaults["state"] = dict
    return fields, defaults


def _methods_of(cls: type, name: str) -> tuple[dict[str, HandlerOf], dict[str, AlarmOf], AlarmOf | None]:
    handlers: dict[str, HandlerOf] = {}
    alarms: dict[str, AlarmOf] = {}
    catch_all: AlarmOf | None = None
    for attribute in dir(cls):
        found = inspect.getattr_static(cls, attribute)
        manual = _manual(cls, attribute, found)
        if isinstance(found, Handler) or manual == "handler":
            called = attribute.removeprefix("handle_") if manual else attribute
            _check_name(name, "handler", called)
            function = found if manual else found.function
            read_only = not manual and found.read_only
            who = f"handler {called!r} of object {name!r}"
            handlers[called] = HandlerOf(called, function, who=who, read_only=read_only)
        elif isinstance(found, Alarm):
            _check_name(name, "alarm", attribute)
            _check_parameters(name, attribute, found.function, 1)
            alarms[attribute] = AlarmOf(attribute, found, who=f"alarm {attribute!r} of object {name!r}")
        elif manual == "alarm":
            _check_parameters(name, attribute, found, 2)
            mark = Alarm(found, ALARM_ATTEMPTS, exponential())
            catch_all = AlarmOf(CATCH_ALL, mark, who=f"{attribute} of object {name!r}")
    return handlers, alarms, catch_all


def _manual(cls: type, attribute: str, found: Any) -> str:
    """What a method is that nothing marks: `handle_name` of a plain class is a handler, `handle_alarm` takes alarms."""
    if not inspect.isfunction(found):
        return ""
    if attribute == CATCH_ALL or (attribute == "handle_alarm" and not issubclass(cls, Object)):
        return "alarm"
    return "handler" if attribute.startswith("handle_") and not issubclass(cls, Object) else ""


def _check_name(name: str, what: str, called: str) -> None:
    if called in RESERVED or called.startswith(("_", BUILT_IN)):
        raise DefinitionError(f"object {name!r}: {what} {called!r} must be called otherwise: the name is taken")


def _check_parameters(name: str, attribute: str, function: Callable[..., Any], count: int) -> None:
    wanted = "(self) or (self, ctx)" if count == 1 else "(self, name) or (self, name, ctx)"
    signature = inspect.signature(function)
    others = [each for each in signature.parameters.values() if each.name != "ctx"]
    try:
        signature.replace(parameters=others).bind(*[None] * count)
    except TypeError:
        raise DefinitionError(f"object {name!r}: alarm {attribute!r} must take {wanted}") from None


def _upgrades_of(cls: type, name: str, version: int) -> dict[int, Callable[[Any], Any]]:
    found: dict[int, Callable[[Any], Any]] = {}
    for attribute in vars(cls).values():
        plain = attribute.__func__ if isinstance(attribute, staticmethod) else attribute
        since = getattr(plain, "outlast_upgrade", None)
        if not isinstance(since, int):
            continue
        if since in found or since >= version:
            raise DefinitionError(
                f"object {name!r} version {version}: an upgrade from version {since} "
                + ("is written twice" if since in found else "leads nowhere")
            )
        found[since] = plain
    if found and sorted(found) != list(range(min(found), version)):
        raise DefinitionError(f"object {name!r}: upgrades must follow one another up to version {version}")
    return found


_MISSING: Final = dataclasses.MISSING
