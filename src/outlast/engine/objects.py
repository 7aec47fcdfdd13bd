"""Objects, from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from outlast._codec import decode_any, encode
from outlast._kernel.cron import Cron
from outlast._kernel.failures import read_error
from outlast._kernel.objects import DELETE, START, STOP, Handling, Orders
from outlast._model import AlarmRow, ObjectRow
from outlast._runtime.crew import Crew
from outlast._world import instant
from outlast.config import checked_name, shown
from outlast.engine.checks import checked_limit, checked_words
from outlast.engine.reading import readable
from outlast.engine.schedules import Schedules
from outlast.errors import CallCycle, CallTimeout, ConfigError, HandlerFailed, NotFound, OwnershipLost
from outlast.objects import (
    ORDERED,
    CallOptions,
    HandlerOf,
    Object,
    ObjectKind,
    PendingAlarm,
    Ref,
    alarm_row,
    make_kind,
)
from outlast.workflows import current_flow, current_step
from outlast.workflows.steps import Step, make_step

T = TypeVar("T")

LIFE_TIMEOUT_S: Final = 30.0
"""Seconds that starting, stopping or deleting an object may take."""
ALARMS_MAX: Final = 1_000
STEP_TRIES: Final = 3
"""Times that a workflow's step calls an object that gave no answer; the key makes it happen once."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as it is stored.

    Attributes:
        type, id: Which.
        version: Of the code that wrote the state.
        state: The committed state, as plain data.
        node: The process that owns it, or None.
        commits: How often it was written since it was made.
        created_at, updated_at: Aware instants in UTC.
    """

    type: str
    id: str
    version: int
    state: Any
    node: str | None
    commits: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ObjectCounts:
    """How many objects of a type there are.

    Attributes:
        type: Their name.
        objects: All of them.
        owned: Those that a living process owns.
    """

    type: str
    objects: int
    owned: int


class Objects(Schedules):
    """The operations on objects."""

    def object(self, cls: type[T], id: str) -> T:
        """An object by its class and id, to call handlers of. Cheap; nothing happens before the first call.

            counter = engine.object(Counter, "user-123")
            await counter.increment(5)

        The first call activates it, here or wherever it lives. In a workflow's code a call is a recorded step.

        Args:
            cls: A class that inherits `Object`; or a plain class whose methods are called `handle_...`.
            id: Any text up to 200 characters.

        Raises: DefinitionError, ConfigError.
        """
        return self._ref(self._kind_of(cls), id)  # type: ignore[return-value]

    def _ref(self, kind: ObjectKind, id: str) -> Ref:
        return Ref(kind, id, self)

    def _make_ref(self, cls: Any, id: str, orders: Callable[[], Orders]) -> Any:
        return Ref(self._kind_of(cls), id, _Inside(self, orders))

    def _kind_of(self, cls: Any) -> ObjectKind:
        return self._known_kind(kind_of(cls))

    def _name_of(self, cls: type | str) -> str:
        return checked_name(cls, what="an object's class") if isinstance(cls, str) else self._kind_of(cls).name

    def _known_kind(self, kind: ObjectKind) -> ObjectKind:
        """The same, known to this engine from now on."""
        if self._types.find(kind.name) is not kind:
            self._types.add(kind)
            if self._crew is not None:
                self._crew.doorbell.heard("o:*")  # calls and alarms of such objects may have been waiting.
        return kind

    # Calls: `objects.Caller`.

    def call_object(
        self,
        ref: Ref,
        handler: HandlerOf,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: CallOptions,
    ) -> Awaitable[Any]:
        """See `RemoteHandler.__call__`."""
        kind, given = self._known_kind(ref.outlast_kind), handler.args_of(args, kwargs)
        if current_flow() is not None:
            return self._recorded(kind, handler, ref.id, given, options, one_way=False)
        return self._call(
            self._running(), kind, ref.id, handler, given, options.timeout_s, options.idempotency_key, options.keep_s
        )

    def _call(
        self,
        crew: Crew,
        kind: ObjectKind,
        id: str,
        handler: Handling | str,
        args: Mapping[str, Any],
        timeout_s: float | None,
        key: str | None = None,
        keep_s: float = 86_400.0,
    ) -> Awaitable[Any]:
        return crew.keeper.call(
            kind,
            id,
            handler,
            args,
            timeout_s=kind.timeout_s if timeout_s is None else timeout_s,
            key=key,
            keep_s=keep_s,
        )

    def send_object(
        self,
        ref: Ref,
        handler: HandlerOf,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: CallOptions,
    ) -> Awaitable[None]:
        """See `RemoteHandler.send`."""
        kind, given = self._known_kind(ref.outlast_kind), handler.args_of(args, kwargs)
        if current_flow() is not None:
            return self._recorded(kind, handler, ref.id, given, options, one_way=True)
        crew = self._running()
        return crew.keeper.send(crew.keeper.new_send(kind, ref.id, handler, given, options.idempotency_key))

    def _recorded(
        self,
        kind: ObjectKind,
        handler: HandlerOf,
        id: str,
        args: Mapping[str, Any],
        options: CallOptions,
        *,
        one_way: bool,
    ) -> Awaitable[Any]:
        """A call from a workflow's code, as a step: made once however often that code runs."""
        made = _step_of(self, kind, handler, one_way=one_way)
        plain = decode_any(handler.write_args(args)) if args else {}
        answer: Awaitable[Any] = made(id, plain, options.timeout_s, options.idempotency_key)
        return answer

    # Life.

    async def ensure_started(self, object: Any) -> str:
        """Brings an object into memory, wherever it lives, as a call would. Returns the node that owns it.

        Raises: CallError, StoreError; what its `after_load` raises.
        """
        ref, crew = self._checked_ref(object), self._running()
        await self._call(crew, ref.outlast_kind, ref.id, START, {}, LIFE_TIMEOUT_S)
        return await self.whereis(object) or ""

    async def whereis(self, object: Any) -> str | None:
        """The node that owns an object, or None: nobody does, or there is no such object."""
        ref = self._checked_ref(object)
        self._running()
        row = await self._store.objects.get(ref.outlast_kind.name, ref.id)
        return None if row is None else row.node

    async def stop_object(self, object: Any) -> None:
        """Lets an object finish the calls that wait for it, and gives it up: the next call may activate it elsewhere.

        Nothing happens when nobody owns it. Raises: CallError, StoreError.
        """
        ref, crew = self._checked_ref(object), self._running()
        if await self.whereis(object) is not None:
            await self._call(crew, ref.outlast_kind, ref.id, STOP, {}, LIFE_TIMEOUT_S)

    async def delete_object(self, object: Any) -> bool:
        """Deletes an object with its state and alarms, after the calls that wait for it now; a later call makes a new
        one. Returns whether there was one. Raises: CallError, StoreError.
        """
        ref, crew = self._checked_ref(object), self._running()
        kind = ref.outlast_kind
        if await self._store.objects.get(kind.name, ref.id) is None:
            return False
        await self._call(crew, kind, ref.id, DELETE, {}, LIFE_TIMEOUT_S)
        return True

    async def get_state(self, object: Any) -> dict[str, Any]:
        """The committed state of an object by field, typed; wherever it lives, and without waking it.

        Raises: NotFound: it was never called. EncodingError: the state does not fit the class.
        """
        ref = self._checked_ref(object)
        self._running()
        kind = ref.outlast_kind
        row = await self._store.objects.get(kind.name, ref.id)
        if row is None:
            raise NotFound(f"no {kind.name} has the id {ref.id!r}: it was never called, or was deleted")
        return kind.state_of(row.version, row.state)

    async def get_object(self, cls: type | str, id: str) -> ObjectInfo:
        """An object as it is stored, by its class or the name of it, and without waking it. Raises: NotFound."""
        name = self._name_of(cls)
        self._running()
        row = await self._store.objects.get(name, checked_name(id, what="an object's id"))
        if row is None:
            raise NotFound(f"no {name} has the id {id!r}: it was never called, or was deleted")
        return _info(row)

    async def list_objects(
        self, cls: type | str, *, after: str = "", limit: int = 50, owned: bool | None = None
    ) -> Sequence[ObjectInfo]:
        """Objects of a class by id.

        Args:
            cls: The class, or its name.
            after: The last id of the page before.
            limit: At most 1,000.
            owned: Only those that a living process owns, or only the others.

        Raises: ConfigError.
        """
        name = self._name_of(cls)
        self._running()
        rows = await self._store.objects.list(
            name, after=checked_words("after", after) or "", limit=checked_limit(limit), owned=owned
        )
        return [_info(row) for row in rows]

    async def count_objects(self) -> Sequence[ObjectCounts]:
        """How many objects of each type there are. Reads the whole table of objects."""
        self._running()
        return [ObjectCounts(*each) for each in sorted(await self._store.objects.counts())]

    # Alarms.

    async def schedule_alarm(
        self,
        object: Any,
        name: str,
        delay: float | timedelta | None = None,
        *,
        at: datetime | None = None,
        every: float | timedelta | None = None,
        cron: str | Cron | None = None,
        zone: str = "UTC",
    ) -> None:
        """Sets an alarm of an object from outside; as `Object.schedule_alarm`, which commits it with the state.

        Raises: ConfigError, StoreError.
        """
        ref, crew = self._checked_ref(object), self._running()
        row = alarm_row(
            ref.outlast_kind, ref.id, name, delay, at=at, every=every, cron=cron, zone=zone, around=crew.keeper
        )
        await crew.patiently(lambda: self._store.alarms.set([row]))
        crew.doorbell.objects("*")

    async def cancel_alarm(self, object: Any, name: str) -> bool:
        """Cancels an alarm of an object. Returns whether it was set. Raises: StoreError."""
        ref, crew = self._checked_ref(object), self._running()
        checked_name(name, what="an alarm's name")
        return bool(await crew.patiently(lambda: self._store.alarms.cancel(ref.outlast_kind.name, ref.id, name)))

    async def cancel_all_alarms(self, object: Any) -> int:
        """Cancels all alarms of an object. Returns how many there were. Raises: StoreError."""
        ref, crew = self._checked_ref(object), self._running()
        return await crew.patiently(lambda: self._store.alarms.cancel(ref.outlast_kind.name, ref.id, None))

    async def list_alarms(self, object: Any, *, limit: int = ALARMS_MAX) -> Sequence[PendingAlarm]:
        """The alarms of an object, the earliest first; failed ones last.

        Args:
            object: Which; or what `list_objects` says of it; or a class or its name: all its objects.
            limit: How many at most.
        """
        self._running()
        if isinstance(object, str):
            rows = await self._store.alarms.list(checked_name(object, what="an object's class"), None, limit)
        elif isinstance(object, ObjectInfo):
            rows = await self._store.alarms.list(object.type, object.id, limit)
        elif isinstance(object, type):
            rows = await self._store.alarms.list(self._kind_of(object).name, None, limit)
        else:
            ref = self._checked_ref(object)
            rows = await self._store.alarms.list(ref.outlast_kind.name, ref.id, limit)
        return [_pending(row) for row in rows]

    def _checked_ref(self, object: Any) -> Ref:
        if isinstance(object, Ref):
            self._known_kind(object.outlast_kind)
            return object
        raise ConfigError(f"an object is what engine.object(Class, id) returns, not {shown(object)}")


class _Inside:
    """Carries calls that a handler makes: one-way ones become orders, committed with its state."""

    def __init__(self, engine: Objects, orders: Callable[[], Orders]) -> None:
        self._engine = engine
        self._orders = orders

    def call_object(
        self, ref: Ref, handler: HandlerOf, args: tuple[Any, ...], kwargs: dict[str, Any], options: CallOptions
    ) -> Awaitable[Any]:
        return self._engine.call_object(ref, handler, args, kwargs, options)

    def send_object(
        self, ref: Ref, handler: HandlerOf, args: tuple[Any, ...], kwargs: dict[str, Any], options: CallOptions
    ) -> Awaitable[None]:
        keeper = self._engine._running().keeper
        given = handler.args_of(args, kwargs)
        call = keeper.new_send(ref.outlast_kind, ref.id, handler, given, options.idempotency_key)
        self._orders().sends.append(call)
        return ORDERED


_MANUAL: Final[WeakKeyDictionary[type, ObjectKind]] = WeakKeyDictionary()


def kind_of(cls: Any) -> ObjectKind:
    """What objects of a class are; that of a plain class with `handle_...` methods is made once.

    Raises: ConfigError, DefinitionError.
    """
    if not isinstance(cls, type) or cls is Object:
        raise ConfigError(f"an object's class is expected, not {shown(cls)}")
    kind: ObjectKind | None = cls.__dict__.get("outlast_kind") or _MANUAL.get(cls)
    if kind is None:
        kind = _MANUAL[cls] = make_kind(cls)
    return kind


def _step_of(engine: Objects, kind: ObjectKind, handler: HandlerOf, *, one_way: bool) -> Step[Any, Any]:
    async def call(id, arguments, timeout_s, key):  # type: ignore[no-untyped-def]
        crew = engine._running()
        args = handler.read_args(encode(arguments, what="arguments")) if arguments else {}
        step = current_step()
        assert step is not None
        key = key or step.idempotency_key
        if one_way:
            await crew.keeper.send(crew.keeper.new_send(kind, id, handler, args, key))
            return None
        for tries in range(STEP_TRIES):
            try:
                return await engine._call(crew, kind, id, handler, args, timeout_s, key)
            except (CallTimeout, OwnershipLost) as error:
                if tries == STEP_TRIES - 1 or isinstance(error, (HandlerFailed, CallCycle)):
                    raise
        raise AssertionError

    call.__name__ = f"{kind.name}.{handler.name}"
    call.__annotations__ = {
        "id": str,
        "arguments": dict[str, Any],
        "timeout_s": float | None,
        "key": str | None,
        "return": None if one_way else handler.result_hint,
    }
    return make_step(call)


def _info(row: ObjectRow) -> ObjectInfo:
    return ObjectInfo(
        row.type, row.id, row.version, readable(row.state), row.node, row.commits, row.created_at, row.updated_at
    )


def _pending(row: AlarmRow) -> PendingAlarm:
    return PendingAlarm(
        row.type,
        row.id,
        row.name,
        instant(row.due_us or 0),
        row.attempt,
        row.every_s,
        row.cron,
        read_error(row.error),
        row.failed_us is not None,
    )
