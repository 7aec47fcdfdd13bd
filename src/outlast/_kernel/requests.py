"""What `engine.start` and `Spawn` are told: which program, with which arguments, and under which options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, Protocol, TypedDict, TypeVar, Unpack

from outlast._kernel.identity import checked_key, scope_text
from outlast._kernel.tags import tags_text
from outlast._world import instant_us
from outlast.config import checked_name, duration_s, shown
from outlast.errors import ArgumentError, ConfigError, did_you_mean

_PRIORITY_MAX: Final = 2**31 - 1
_WEIGHT_MAX: Final = 1e9
_PARTITIONS: Final = 2**63

R_co = TypeVar("R_co", covariant=True)

LimitName = str | tuple[str, str | int]
"""A limit by name, or by name and partition: `("gpu", "eu-1")`."""


@dataclass(frozen=True, slots=True)
class StartRequest(Generic[R_co]):
    """What `.new(...)` describes: which program, at which step, with which state (JSON text)."""

    program: Any
    step: str
    state: str
    read_result: Callable[[str], R_co]


class Startable(Protocol[R_co]):
    """Anything that `engine.start` and `Spawn` take."""

    def start_request(self) -> StartRequest[R_co]:
        """The request, as data."""


@dataclass(frozen=True, slots=True)
class StartOptions:
    """How to start, checked, in the form of the row. `queue` None: the program's own."""

    queue: str | None = None
    priority: int = 0
    delay_s: float | None = None
    due_us: int | None = None
    correlation_key: str | None = None
    correlation_scope: str | None = None
    concurrency_key: str | None = None
    rate_limit: str | None = None
    rate_weight: float = 1.0
    fair_key: str | None = None
    fair_weight: float = 1.0
    tags: str | None = None


PLAIN: Final = StartOptions()


class StartingMany(TypedDict, total=False):
    """The options of `engine.start_many`. Each is described in `Engine.start`."""

    schedule_in: float | timedelta | None
    schedule_at: datetime | None
    priority: int
    queue: str | None
    concurrency_key: LimitName | None
    rate_limit: LimitName | None
    weight: float
    fair_key: str | None
    fair_weight: float
    tags: Mapping[str, str] | None


class Starting(StartingMany, total=False):
    """The options of `engine.start` and of a `Child`. Each is described in `Engine.start`."""

    correlation_key: str | None
    correlation_scope: str | Iterable[str]


def start_options(**given: Unpack[Starting]) -> StartOptions:
    """The options of a start, checked. Raises: ConfigError: one is wrong. ArgumentError: there is no such option."""
    if not given:
        return PLAIN
    if unknown := given.keys() - Starting.__annotations__.keys():
        name = sorted(unknown)[0]
        raise ArgumentError(f"a start has no option {name!r}{did_you_mean(name, Starting.__annotations__)}")
    queue, key, fair_key = given.get("queue"), given.get("correlation_key"), given.get("fair_key")
    concurrency_key, rate_limit = given.get("concurrency_key"), given.get("rate_limit")
    delay_s, due_us = due(given.get("schedule_in"), given.get("schedule_at"))
    return StartOptions(
        queue=None if queue is None else checked_name(queue, what="queue"),
        priority=checked_priority(given.get("priority", 0)),
        delay_s=delay_s,
        due_us=due_us,
        correlation_key=None if key is None else checked_key(key),
        correlation_scope=None if key is None else scope_text(given.get("correlation_scope", "live")),
        concurrency_key=None if concurrency_key is None else limit_text(concurrency_key, what="concurrency_key"),
        rate_limit=None if rate_limit is None else limit_text(rate_limit, what="rate_limit"),
        rate_weight=checked_weight(given.get("weight", 1.0), what="weight"),
        fair_key=None if fair_key is None else checked_name(fair_key, what="fair_key"),
        fair_weight=checked_weight(given.get("fair_weight", 1.0), what="fair_weight"),
        tags=tags_text(given.get("tags")),
    )


def many_options(**given: Unpack[StartingMany]) -> StartOptions:
    """The options of starts that share them, checked. Raises: as `start_options`. ArgumentError: one belongs to one."""
    for name in ("correlation_key", "correlation_scope"):
        if name in given:
            raise ArgumentError(f"start_many has no option {name!r}: a key belongs to one instance; use start")
    return start_options(**given)


def due(schedule_in: float | timedelta | None, schedule_at: datetime | None) -> tuple[float | None, int | None]:
    """When it may first run: a delay in seconds, or an instant in microseconds since 1970. Raises: ConfigError."""
    if schedule_in is not None and schedule_at is not None:
        raise ConfigError("give schedule_in or schedule_at, not both")
    if schedule_in is not None:
        delay_s = duration_s(schedule_in, name="schedule_in")
        return (delay_s or None), None
    return None, moment_us("schedule_at", schedule_at)


def moment_us(name: str, moment: datetime | None) -> int | None:
    """An aware instant as microseconds since 1970, or None. Raises: ConfigError."""
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ConfigError(f"{name} must be a datetime with a time zone, such as datetime.now(UTC), not {shown(moment)}")
    return instant_us(moment)


def checked_priority(priority: int) -> int:
    """A priority. Raises: ConfigError."""
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > _PRIORITY_MAX:
        raise ConfigError(f"priority must be a whole number (a lower one goes first), not {shown(priority)}")
    return priority


def checked_weight(weight: float, *, what: str) -> float:
    """A weight: a number above 0. Raises: ConfigError."""
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight <= _WEIGHT_MAX:
        raise ConfigError(f"{what} must be a number above 0, not {shown(weight)}")
    return float(weight)


def limit_text(value: LimitName, *, what: str) -> str:
    """A limit as the row stores it: `name` or `name[partition]`. Raises: ConfigError."""
    name, partition = (value, None) if isinstance(value, str) else _parts(value, what)
    text = checked_name(name, what=what)
    if partition is None:
        if text.endswith("]"):
            raise ConfigError(f"{what} must not end with ]; write a partition as ({text.split('[')[0]!r}, ...)")
        return text
    is_number = isinstance(partition, int) and not isinstance(partition, bool) and abs(partition) < _PARTITIONS
    if not (is_number or (isinstance(partition, str) and "]" not in partition)) or "[" in text:
        raise ConfigError(f"{what}: a partition must be text without ] or a whole number, not {shown(value)}")
    return checked_name(f"{text}[{partition}]", what=what)


def _parts(value: object, what: str) -> tuple[Any, Any]:
    if not isinstance(value, tuple) or len(value) != 2 or value[1] is None:
        raise ConfigError(f"{what} must be a name or (name, partition), not {shown(value)}")
    return value
