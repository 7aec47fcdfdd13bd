"""What the runtime and objects know of each other, and the rules of alarms. No clock, no await."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol

from outlast._kernel.cron import Cron
from outlast._kernel.failures import failure_text
from outlast._model import AlarmMove, AlarmRow, NewCall, ObjectKey
from outlast._world import instant, instant_us
from outlast.errors import ConfigError, DefinitionError

_EVERY_MAX_S: Final = 100 * 365 * 86_400.0
"""No alarm is set to recur less often."""
CHAIN: Final[ContextVar[tuple[ObjectKey, ...]]] = ContextVar("outlast_call_chain", default=())
"""The objects whose calls led to what runs now, outermost first."""
BUILT_IN: Final = "~"
"""What the names of handlers begin with that every object has."""
STOP: Final = "~stop"
"""Gives the object up once what waits before it is done."""
DELETE: Final = "~delete"
"""Deletes the object."""
START: Final = "~start"
"""Does nothing: it is enough to arrive."""


@dataclass(slots=True)
class Orders:
    """What a handler wants besides a new state; committed with it.

    Attributes:
        clears: Whether all alarms are cancelled first.
        cancelled: Names of alarms that are cancelled.
        alarms: Alarms that are set, by name.
        sends: One-way calls that go out.
    """

    clears: bool = False
    cancelled: set[str] = field(default_factory=set)
    alarms: dict[str, AlarmRow] = field(default_factory=dict)
    sends: list[NewCall] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.clears or self.cancelled or self.alarms or self.sends)

    def set(self, alarm: AlarmRow) -> None:
        """Sets an alarm; one of the same name is replaced."""
        self.alarms[alarm.name] = alarm

    def cancel(self, name: str) -> None:
        """Cancels an alarm."""
        self.alarms.pop(name, None)
        self.cancelled.add(name)

    def cancel_all(self) -> None:
        """Cancels every alarm, those set here before included."""
        self.alarms.clear()
        self.cancelled.clear()
        self.clears = True

    def fold(self, later: Orders) -> None:
        """Adds what a later handler wants."""
        if later.clears:
            self.cancel_all()
        for name in later.cancelled:
            self.cancel(name)
        self.alarms.update(later.alarms)
        self.sends += later.sends


class Handling(Protocol):
    """One handler of a type.

    Attributes:
        name: What it is called.
        read_only: Whether it may not change the state.
        is_async: Whether it is an `async def`; a plain `def` runs on a thread.
    """

    @property
    def name(self) -> str: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def is_async(self) -> bool: ...

    def read_args(self, text: str) -> Mapping[str, Any]:
        """Arguments by name. Raises: EncodingError."""

    def write_args(self, args: Mapping[str, Any]) -> str:
        """The same, as JSON text."""

    def write_result(self, value: Any) -> str:
        """A result as JSON text. Raises: EncodingError."""

    def read_result(self, text: str) -> Any:
        """The same, back."""

    def copy_result(self, value: Any) -> Any:
        """A result as its caller gets it, which nothing in the object's state is a part of. Raises: EncodingError."""


class Body(Protocol):
    """An object in memory."""

    @property
    def orders(self) -> Orders:
        """What its handler has ordered so far."""

    def run(self, handling: Handling, args: Mapping[str, Any]) -> Any:
        """Calls a handler: its value, or a coroutine of it."""

    def after_load(self) -> Any:
        """Calls the object's own `after_load`: None, or a coroutine. To be run before any handler."""

    def dump(self) -> str:
        """Its state as text. Raises: EncodingError."""

    def settle(self, text: str) -> None:
        """Takes the text that `dump` gave as its state: it reads back. Raises: EncodingError."""

    def restore(self, text: str) -> None:
        """Makes its state what the text says, and forgets its orders."""

    def take_orders(self) -> Orders:
        """Its orders, which it forgets."""


class Surroundings(Protocol):
    """What an object may ask for while it runs."""

    def now_us(self) -> int:
        """The time, microseconds since 1970."""

    def new_id(self) -> str:
        """A new id."""

    def object(self, kind: Any, id: str, orders: Callable[[], Orders]) -> Any:
        """A reference to an object, whose one-way calls become orders."""


class ObjectType(Protocol):
    """What objects of a type are, and how they behave.

    Attributes:
        name, version: What is stored.
        older_versions: Versions whose state it can read besides its own.
        hibernate_s: Seconds without a call after which it leaves the memory; None: never.
        shutdown_s: Seconds without a call after which its node gives it up; None: never.
        queue_limit: Calls that may wait for one object.
        timeout_s: Seconds that a caller waits, unless it says otherwise.
        retention_s: Seconds that an object is kept after its last change; None: for ever.
        source: Where it is defined.
    """

    name: str
    source: str
    version: int
    hibernate_s: float | None
    shutdown_s: float | None
    queue_limit: int
    timeout_s: float
    retention_s: float | None

    @property
    def older_versions(self) -> Sequence[int]: ...

    def blank(self) -> str:
        """The state of an object that was never called."""

    def load(self, id: str, version: int, text: str, around: Surroundings) -> Body:
        """An object from its stored state. Raises: EncodingError."""

    def handling(self, name: str) -> Handling | None:
        """A handler by name."""

    def ringing(self, alarm: str) -> Handling | None:
        """The handler of an alarm."""

    def alarm_args(self, alarm: AlarmRow) -> Mapping[str, Any]:
        """What the handler of an alarm is called with."""

    def retry_s(self, alarm: str, failures: int, dice: Random) -> float | None:
        """Seconds until an alarm whose handler has failed so often is tried again; None: it is not."""


class ObjectTypes:
    """Types by name. A process knows one version of each."""

    def __init__(self, types: Iterable[ObjectType] = ()) -> None:
        self._types: dict[str, ObjectType] = {}
        self._names: list[str] = []
        for kind in types:
            self.add(kind)

    def add(self, kind: ObjectType) -> None:
        """Knows a type from now on. Raises: DefinitionError: another class has its name."""
        known = self._types.get(kind.name)
        if known is kind:
            return
        if known is not None and known.source != kind.source:
            raise DefinitionError(
                f"object {kind.name!r} is defined twice ({known.source} and {kind.source}); give one of them name=..."
            )
        self._types[kind.name] = kind
        self._names = sorted(self._types)

    def find(self, name: str) -> ObjectType | None:
        """A type by name."""
        return self._types.get(name)

    def names(self) -> list[str]:
        """All of them, sorted."""
        return self._names

    def __iter__(self) -> Iterator[ObjectType]:
        return iter(list(self._types.values()))


OBJECTS: Final = ObjectTypes()
"""Types defined at module level anywhere in this process. Definitions only: engines hold no state here."""


def after_ring(alarm: AlarmRow, now_us: int) -> AlarmMove:
    """What becomes of an alarm whose handler has run: one that recurs is due again at its next time after now; times
    that have passed meanwhile are left out. Where nobody can tell that time, since somebody has edited the row, or the
    zone is not known here, it stays as failed: else it would ring without end."""
    if alarm.cron is None and (alarm.every_s is None or alarm.due_us is None):
        return AlarmMove(alarm.name, alarm.revision)
    try:
        return AlarmMove(alarm.name, alarm.revision, due_us=_following_us(alarm, now_us))
    except (ConfigError, ValueError, OverflowError) as error:
        return AlarmMove(alarm.name, alarm.revision, attempt=alarm.attempt + 1, error=failure_text(error), failed=True)


def _following_us(alarm: AlarmRow, now_us: int) -> int:
    """The next time of an alarm that recurs. Raises: ConfigError, ValueError, OverflowError: there is none."""
    if alarm.cron is not None:
        return instant_us(Cron(alarm.cron, alarm.zone or "UTC").next_after(instant(now_us)))
    every_s, due_us = alarm.every_s or 0.0, alarm.due_us or 0
    if not 0 < every_s <= _EVERY_MAX_S:
        raise ConfigError(f"alarm {alarm.name!r} cannot ring every {every_s:g} s")
    every_us = max(1, round(every_s * 1_000_000))
    return due_us + (max(0, (now_us - due_us) // every_us) + 1) * every_us


def after_failure(alarm: AlarmRow, error: str, retry_s: float | None, now_us: int) -> AlarmMove:
    """What becomes of an alarm whose handler has failed: it is tried again, or stays as failed; one that recurs goes on
    with its next time."""
    attempt = alarm.attempt + 1
    if retry_s is not None:
        return AlarmMove(alarm.name, alarm.revision, delay_s=retry_s, attempt=attempt, error=error)
    if alarm.cron is not None or alarm.every_s is not None:
        following = after_ring(alarm, now_us)
        return (
            following
            if following.failed
            else AlarmMove(alarm.name, alarm.revision, due_us=following.due_us, error=error)
        )
    return AlarmMove(alarm.name, alarm.revision, attempt=attempt, error=error, failed=True)
