"""How queues are served, and what limits there are: given as objects, numbers or text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from outlast.config.values import WHOLE, Duration, checked_name, duration_s, positive, shown, whole
from outlast.errors import ConfigError, did_you_mean

_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*((?:\d+(?:\.\d+)?)?(?:ms|s|m|h|d))(?:\s+burst\s+(\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Queue:
    """How this engine serves one queue.

    Attributes:
        concurrency: Steps of this queue that run at once in this process; 1 or more.
        prefetch: Instances claimed beyond the running ones, so that short steps never wait for the database.
            None (default) lets the engine measure: none for slow steps, up to a thousand for very short ones,
            never more than about a tenth of a second of work.
        min_demand: Claim only when this many can be taken at once (default 1); ignored when nothing runs.
    """

    concurrency: int = 10
    prefetch: int | None = None
    min_demand: int = 1

    def __post_init__(self) -> None:
        whole("concurrency", self.concurrency, 1, 100_000)
        if self.prefetch is not None:
            whole("prefetch", self.prefetch, 0, 100_000)
        whole("min_demand", self.min_demand, 1, 100_000)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How often steps may begin: a bucket of `burst` tokens at most, which gets `allowed` of them in each `period`.

    Attributes:
        allowed: Tokens that come in a period; a step takes one, or its `weight`.
        period: Seconds, a timedelta, or text such as "1m".
        burst: Tokens that pile up while nothing runs; None (default): as many as `allowed`.
    """

    allowed: float
    period: Duration | str = 1.0
    burst: float | None = None

    def __post_init__(self) -> None:
        positive("allowed", self.allowed)
        object.__setattr__(self, "period", duration_s(self.period, name="period", least_s=0.001))
        if self.burst is not None:
            positive("burst", self.burst)

    @property
    def period_s(self) -> float:
        """The period in seconds."""
        return float(self.period)  # type: ignore[arg-type]  # It is by now.

    @property
    def burst_max(self) -> float:
        """The burst in effect."""
        return float(self.allowed if self.burst is None else self.burst)


def parse_queues(text: str, *, name: str = "queues") -> dict[str, int]:
    """Queues from text such as "default:10,email:5"; a name alone means 10; "none" means no queues.

    Raises: ConfigError.
    """
    if text.strip().lower() in ("", "none"):
        return {}
    queues: dict[str, int] = {}
    for part in text.split(","):
        queue, colon, count = part.strip().rpartition(":")
        if not colon:
            queue, count = part.strip(), "10"
        if not WHOLE.fullmatch(count):
            raise ConfigError(f'{name} must look like "default:10,email:5", not {shown(text)}')
        if queue in queues:
            raise ConfigError(f"{name} names queue {queue!r} twice")
        queues[queue] = int(count)
    return queues


def parse_limits(text: str, *, name: str) -> dict[str, Any]:
    """Limits from text such as "gpu:3,cpu:8" or "api:100/s,mail:5/m burst 1". Raises: ConfigError."""
    limits: dict[str, Any] = {}
    for part in text.split(","):
        limit, colon, value = part.strip().partition(":")
        if not colon or not limit.strip() or limit.strip() in limits:
            raise ConfigError(f'{name} must look like "api:100/s,gpu:3", each name once, not {text[:80]!r}')
        limits[limit.strip()] = int(value.strip()) if WHOLE.fullmatch(value.strip()) else value.strip()
    return limits


def read_queues(value: object) -> dict[str, Queue]:
    """Queues as given to an engine, checked. Raises: ConfigError."""
    if not isinstance(value, Mapping):
        raise ConfigError(f'queues must map names to concurrency, such as {{"default": 10}}, not {shown(value)}')
    queues: dict[str, Queue] = {}
    for name, how in value.items():
        checked_name(name, what="a queue's name")
        try:
            queues[name] = _queue(how)
        except ConfigError as error:
            raise ConfigError(f"queue {shown(name)}: {error}") from None
    return queues


def read_concurrency_limits(value: object) -> dict[str, int]:
    """Concurrency limits as given to an engine, checked. Raises: ConfigError."""
    if not isinstance(value, Mapping):
        raise ConfigError(f'concurrency_limits must map names to numbers, such as {{"gpu": 3}}, not {shown(value)}')
    for name, slots in value.items():
        _limit_name(name)
        whole(f"concurrency_limits[{shown(name)}]", slots, 1, 100_000)
    return dict(value)


def read_rate_limits(value: object) -> dict[str, RateLimit]:
    """Rate limits as given to an engine, as objects. Raises: ConfigError."""
    if not isinstance(value, Mapping):
        raise ConfigError(f'rate_limits must map names to limits, such as {{"api": "100/s"}}, not {shown(value)}')
    limits: dict[str, RateLimit] = {}
    for name, limit in value.items():
        _limit_name(name)
        try:
            limits[name] = _rate_limit(limit)
        except (ConfigError, TypeError) as error:
            raise ConfigError(f"rate limit {shown(name)}: {error}") from None
    return limits


def _rate_limit(limit: object) -> RateLimit:
    if isinstance(limit, RateLimit):
        return limit
    if isinstance(limit, Mapping):
        return RateLimit(**limit)
    match = _RATE.fullmatch(limit.strip()) if isinstance(limit, str) else None
    if match is None:
        raise ConfigError(f'a rate limit looks like "100/s", "5/250ms" or "1000/h burst 50", not {shown(limit)}')
    period = match[2] if match[2][0].isdigit() else f"1{match[2]}"
    return RateLimit(float(match[1]), period, None if match[3] is None else float(match[3]))


def _limit_name(name: object) -> None:
    if "[" in checked_name(name, what="a limit's name") or "]" in str(name):
        raise ConfigError(f"a limit's name must not hold [ or ], which mark a partition: {shown(name)}")


def _queue(how: object) -> Queue:
    if isinstance(how, Queue):
        return how
    if not isinstance(how, Mapping):
        return Queue(concurrency=how)  # type: ignore[arg-type]  # It is checked there.
    known = [item.name for item in fields(Queue)]
    for key in how:
        if key not in known:
            raise ConfigError(f"unknown option {shown(key)}{did_you_mean(key, known)}")
    return Queue(**how)
