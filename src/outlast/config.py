"""Settings: what they mean, their defaults and bounds, and where each value comes from.

A setting comes from the engine's arguments, else `OUTLAST_<NAME>` in the environment, else `[tool.outlast]`
in the nearest `pyproject.toml`, else its default. A `Config` refuses to exist when it is wrong.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypedDict

from outlast.errors import ConfigError, did_you_mean

Duration = float | int | timedelta
"""Seconds, or a timedelta."""

DEFAULT_URL = "sqlite:///outlast.db"
DAY_S = 86_400.0
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY_S}
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,47}\Z")
_WHOLE = re.compile(r"[0-9]{1,18}")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*((?:\d+(?:\.\d+)?)?(?:ms|s|m|h|d))(?:\s+burst\s+(\d+(?:\.\d+)?))?")
_NAME_MAX = 200
_SHOWN_MAX = 100


def seconds(count: float) -> timedelta:
    """A duration of `count` seconds."""
    return timedelta(seconds=count)


def minutes(count: float) -> timedelta:
    """A duration of `count` minutes."""
    return timedelta(minutes=count)


def hours(count: float) -> timedelta:
    """A duration of `count` hours."""
    return timedelta(hours=count)


def days(count: float) -> timedelta:
    """A duration of `count` days of 24 hours."""
    return timedelta(days=count)


def duration_s(value: object, *, name: str, least_s: float = 0.0, most_s: float = 100 * 365 * DAY_S) -> float:
    """A duration as float seconds.

    Args:
        value: A timedelta, a number of seconds, or text such as "90", "250ms", "5m", "1.5h", "2d".
        name: What to call it in the error.
        least_s: Smallest value allowed, in seconds.
        most_s: Largest value allowed, in seconds (default: a hundred years).

    Raises: ConfigError.
    """
    number: float
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, int) and not isinstance(value, bool):
        number = math.inf if abs(value) > most_s else float(value)  # A huge one would not fit into a float.
    elif isinstance(value, float):
        number = value
    elif isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*", value)):
        number = float(match[1]) * _UNITS_S[match[2] or "s"]
    else:
        raise ConfigError(f'{name} must be seconds, a timedelta, or text such as "250ms" or "5m", not {shown(value)}')
    if not math.isfinite(number) or not least_s <= number <= most_s:
        raise ConfigError(f"{name} must be between {least_s:g} and {most_s:g} seconds, not {shown(value)}")
    return number


def shown(value: object) -> str:
    """A value as it is quoted in an error: never long, never raising."""
    try:
        text = repr(value)
    except Exception:  # A number of 5,000 digits, for one, refuses.
        return f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def checked_name(value: object, *, what: str) -> str:
    """A name of a program, queue or key: 1 to 200 printable characters, no white space at the ends.

    Raises: ConfigError.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{what} must be text, not {shown(value)}")
    if not 1 <= len(value) <= _NAME_MAX or not value.isprintable() or value != value.strip():
        raise ConfigError(
            f"{what} must be 1 to {_NAME_MAX} printable characters without white space at the ends, not {shown(value)}"
        )
    return value


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
        _whole("concurrency", self.concurrency, 1, 100_000)
        if self.prefetch is not None:
            _whole("prefetch", self.prefetch, 0, 100_000)
        _whole("min_demand", self.min_demand, 1, 100_000)


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
        _positive("allowed", self.allowed)
        object.__setattr__(self, "period", duration_s(self.period, name="period", least_s=0.001))
        if self.burst is not None:
            _positive("burst", self.burst)

    @property
    def period_s(self) -> float:
        """The period in seconds."""
        return float(self.period)  # type: ignore[arg-type]  # It is by now.

    @property
    def burst_max(self) -> float:
        """The burst in effect."""
        return float(self.allowed if self.burst is None else self.burst)


class Options(TypedDict, total=False):
    """The engine's keyword arguments. Each is described in `Config`."""

    name: str
    schema: str
    queues: Mapping[str, int | Queue]
    concurrency_limits: Mapping[str, int]
    rate_limits: Mapping[str, RateLimit | str]
    lease: Duration
    renew_interval: Duration | None
    poll_interval: Duration
    max_poll_interval: Duration
    reap_interval: Duration
    drain_timeout: Duration
    cancel_timeout: Duration
    retention: Duration | None
    prune_interval: Duration
    prune_batch: int
    maintenance: bool | None
    doorbell: Literal["auto", "local"]
    commit_batch: int
    payload_bytes_max: int
    max_crashes: int
    threads: int
    pooler: Literal["none", "transaction"]
    connect_timeout: Duration
    statement_timeout: Duration


@dataclass(frozen=True, slots=True)
class Config:
    """One engine's settings. Durations are given as seconds or timedeltas and kept as float seconds."""

    url: str = field(default=DEFAULT_URL, repr=False)
    """`sqlite:///relative.db`, `sqlite:////absolute.db`, `sqlite://` (in memory), or `postgresql://...`."""
    name: str = "outlast"
    """What logs call this engine."""
    schema: str = "outlast"
    """Postgres schema that holds the tables: a-z, 0-9 and `_`, at most 48 characters."""
    queues: Mapping[str, Queue] = field(default_factory=lambda: {"default": Queue()})
    """Queues to serve, each with its concurrency or a `Queue`. Empty: this engine only submits."""
    concurrency_limits: Mapping[str, int] = field(default_factory=dict)
    """How many steps of one concurrency key run at once in the whole cluster, by the key's name; 1 for a name that is
    not here. Where processes say different things, the lowest holds."""
    rate_limits: Mapping[str, RateLimit] = field(default_factory=dict)
    """Rate limits by name, each a `RateLimit` or text: "100/s", "5/m", "10/250ms", "1000/h burst 50". Where processes
    say different things, the one that started last is right."""
    lease: float = 30.0
    """Seconds without renewal after which other nodes take over this process's instances."""
    renew_interval: float | None = None
    """Seconds between renewals; None is a third of the lease, which is also the most allowed."""
    poll_interval: float = 1.0
    """Seconds between looks for work when no doorbell rings."""
    max_poll_interval: float = 5.0
    """An idle queue doubles its poll interval up to here."""
    reap_interval: float = 5.0
    """Seconds between looks for dead nodes; never longer than the lease in effect."""
    drain_timeout: float = 5.0
    """Shutdown, first phase: seconds that running steps have to end by themselves."""
    cancel_timeout: float = 5.0
    """Shutdown, second phase: seconds that cancelled steps have to unwind. They run again elsewhere, at no attempt's
    cost."""
    retention: float | None = DAY_S
    """Seconds that finished instances are kept (a program may say otherwise); None keeps them for ever."""
    prune_interval: float = 60.0
    """Seconds between rounds of deleting what is past its retention."""
    prune_batch: int = 10_000
    """Rows deleted at most in one transaction of a round."""
    maintenance: bool | None = None
    """Whether this engine also promotes due work, reclaims from dead nodes and prunes. None: when it serves queues.
    Some engine must."""
    doorbell: str = "auto"
    """`auto` wakes other processes (LISTEN/NOTIFY, or SQLite's change counter); `local` only this one. Polling is
    always on."""
    commit_batch: int = 500
    """Outcomes, or starts, that share one commit at most."""
    payload_bytes_max: int = 262_144
    """Largest encoded size of arguments, results and payloads, in bytes."""
    max_crashes: int = 5
    """Times that a process may die holding an instance before it is quarantined."""
    threads: int = 32
    """Threads for steps written as plain `def`."""
    pooler: str = "none"
    """`transaction` when Postgres is behind a transaction pooler: no prepared statements, no LISTEN."""
    connect_timeout: float = 10.0
    """Seconds to reach the database before that is an error."""
    statement_timeout: float = 30.0
    """Seconds that one statement may take before it is given up."""

    def __post_init__(self) -> None:
        if not isinstance(self.url, str) or not self.url:
            raise ConfigError("url must be text such as sqlite:///app.db or postgresql://user@host/name")
        for key, least_s in _DURATIONS.items():
            value = getattr(self, key)
            if value is None and key in ("retention", "renew_interval"):
                continue
            object.__setattr__(self, key, duration_s(value, name=key, least_s=least_s))
        for key, (least, most) in _COUNTS.items():
            _whole(key, getattr(self, key), least, most)
        for key, words in _WORDS.items():
            _one_of(key, getattr(self, key), words)
        if self.maintenance is not None and not isinstance(self.maintenance, bool):
            raise ConfigError(f"maintenance must be true, false or None, not {shown(self.maintenance)}")
        checked_name(self.name, what="name")
        if not isinstance(self.schema, str) or not _IDENTIFIER.match(self.schema):
            raise ConfigError(f"schema must be a-z, 0-9 and _, at most 48 characters, not {shown(self.schema)}")
        if self.schema.startswith(("pg_", "sqlite_")) or self.schema == "sqlite":
            raise ConfigError(
                f"schema must not begin with pg_ or sqlite, which the databases keep: {shown(self.schema)}"
            )
        object.__setattr__(self, "queues", _queues(self.queues))
        object.__setattr__(self, "concurrency_limits", _concurrency_limits(self.concurrency_limits))
        object.__setattr__(self, "rate_limits", _rate_limits(self.rate_limits))
        # A hair of tolerance: a third of 0.3 is a little less than 0.1.
        if self.renew_interval is not None and self.renew_interval > self.lease / 3 * (1 + 1e-9):
            raise ConfigError(
                f"renew_interval ({self.renew_interval:g} s) must be at most a third of lease ({self.lease:g} s)"
            )
        if self.max_poll_interval < self.poll_interval:
            raise ConfigError(
                f"max_poll_interval ({self.max_poll_interval:g} s) must not be below "
                f"poll_interval ({self.poll_interval:g} s)"
            )

    @property
    def renew_s(self) -> float:
        """Seconds between renewals, in effect."""
        return self.lease / 3 if self.renew_interval is None else self.renew_interval


_DURATIONS = {
    "lease": 0.2,
    "renew_interval": 0.01,
    "poll_interval": 0.001,
    "max_poll_interval": 0.001,
    "reap_interval": 0.01,
    "drain_timeout": 0.0,
    "cancel_timeout": 0.0,
    "retention": 0.0,
    "prune_interval": 0.01,
    "connect_timeout": 0.1,
    "statement_timeout": 0.1,
}
_COUNTS = {
    "prune_batch": (1, 1_000_000),
    "commit_batch": (1, 10_000),
    "payload_bytes_max": (1_024, 67_108_864),
    "max_crashes": (1, 1_000_000),
    "threads": (1, 10_000),
}
_WORDS = {"doorbell": ("auto", "local"), "pooler": ("none", "transaction")}


def option_names() -> tuple[str, ...]:
    """Every setting's name."""
    return tuple(item.name for item in fields(Config))


def make_config(url: str | None, options: Mapping[str, Any]) -> Config:
    """The settings in effect. Raises ConfigError, naming the option and the nearest known one."""
    return resolve(url, options)[0]


def resolve(
    url: str | None,
    options: Mapping[str, Any],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> tuple[Config, dict[str, str]]:
    """The settings in effect and, by name, the source of each: argument, environment, pyproject or default."""
    known = option_names()
    for key in options:
        if key not in known or key == "url":
            raise ConfigError(f"unknown option {key!r}{did_you_mean(key, known)}")
    given: dict[str, Any] = {} if url is None else {"url": url}
    given.update(options)
    values: dict[str, Any] = {}
    sources = dict.fromkeys(known, "default")
    layers = (
        ("pyproject", _from_pyproject(folder or Path.cwd())),
        ("environment", _from_environment(os.environ if environment is None else environment)),
        ("argument", given),
    )
    for source, layer in layers:
        for key, value in layer.items():
            values[key] = value
            sources[key] = source
    return Config(**values), sources


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in option_names():
        variable = "OUTLAST_DATABASE_URL" if key == "url" else f"OUTLAST_{key.upper()}"
        text = environment.get(variable)
        if text:
            found[key] = _parsed(key, text, variable)
    return found


def _parsed(key: str, text: str, variable: str) -> Any:
    if key in _COUNTS:
        if not _WHOLE.fullmatch(text.strip()):
            raise ConfigError(f"{variable} must be a whole number, not {text[:80]!r}")
        return int(text)
    if key == "maintenance":
        if text.lower() not in ("1", "0", "true", "false", "yes", "no"):
            raise ConfigError(f"{variable} must be true or false, not {text!r}")
        return text.lower() in ("1", "true", "yes")
    if key == "queues":
        return parse_queues(text, name=variable)
    if key in ("concurrency_limits", "rate_limits"):
        return _parse_limits(text, name=variable)
    if key in ("retention", "renew_interval") and text.lower() == "none":
        return None
    return text


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
        if not _WHOLE.fullmatch(count):
            raise ConfigError(f'{name} must look like "default:10,email:5", not {text!r}')
        if queue in queues:
            raise ConfigError(f"{name} names queue {queue!r} twice")
        queues[queue] = int(count)
    return queues


def _parse_limits(text: str, *, name: str) -> dict[str, Any]:
    """Limits from text such as "gpu:3,cpu:8" or "api:100/s,mail:5/m burst 1". Raises: ConfigError."""
    limits: dict[str, Any] = {}
    for part in text.split(","):
        limit, colon, value = part.strip().partition(":")
        if not colon or not limit.strip() or limit.strip() in limits:
            raise ConfigError(f'{name} must look like "api:100/s,gpu:3", each name once, not {text[:80]!r}')
        limits[limit.strip()] = int(value) if _WHOLE.fullmatch(value.strip()) else value.strip()
    return limits


def _from_pyproject(folder: Path) -> dict[str, Any]:
    table = _pyproject_table(folder)
    known = (*option_names(), "app")
    for key in table:
        if key not in known:
            raise ConfigError(f"unknown option {key!r} in [tool.outlast]{did_you_mean(key, known)}")
    return {key: value for key, value in table.items() if key != "app"}


def app_from_pyproject(folder: Path) -> str | None:
    """The `app` that `[tool.outlast]` names, as `module` or `module:engine`, or None. Raises: ConfigError."""
    app = _pyproject_table(folder).get("app")
    if app is not None and not isinstance(app, str):
        raise ConfigError(f'app in [tool.outlast] must be text such as "shop.jobs:engine", not {app!r}')
    return app


def _pyproject_table(folder: Path) -> dict[str, Any]:
    """`[tool.outlast]` of the nearest `pyproject.toml`, or nothing."""
    path = next((found for place in (folder, *folder.parents) if (found := place / "pyproject.toml").is_file()), None)
    if path is None:
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path.name}: {error}") from error
    tools = document.get("tool", {})
    table = tools.get("outlast", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError("[tool.outlast] must be a table")
    return table


def _queues(value: object) -> dict[str, Queue]:
    if not isinstance(value, Mapping):
        raise ConfigError(f'queues must map names to concurrency, such as {{"default": 10}}, not {shown(value)}')
    queues: dict[str, Queue] = {}
    for name, how in value.items():
        checked_name(name, what="a queue's name")
        try:
            queues[name] = _queue(how)
        except ConfigError as error:
            raise ConfigError(f"queue {name!r}: {error}") from None
    return queues


def _concurrency_limits(value: object) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise ConfigError(f'concurrency_limits must map names to numbers, such as {{"gpu": 3}}, not {shown(value)}')
    for name, slots in value.items():
        _limit_name(name)
        _whole(f"concurrency_limits[{name!r}]", slots, 1, 100_000)
    return dict(value)


def _rate_limits(value: object) -> dict[str, RateLimit]:
    if not isinstance(value, Mapping):
        raise ConfigError(f'rate_limits must map names to limits, such as {{"api": "100/s"}}, not {shown(value)}')
    limits: dict[str, RateLimit] = {}
    for name, limit in value.items():
        _limit_name(name)
        try:
            limits[name] = _rate_limit(limit)
        except (ConfigError, TypeError) as error:
            raise ConfigError(f"rate limit {name!r}: {error}") from None
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


def _positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1e9:
        raise ConfigError(f"{name} must be a number above 0, not {shown(value)}")


def _queue(how: object) -> Queue:
    if isinstance(how, Queue):
        return how
    if not isinstance(how, Mapping):
        return Queue(concurrency=how)  # type: ignore[arg-type]  # It is checked there.
    known = [item.name for item in fields(Queue)]
    for key in how:
        if key not in known:
            raise ConfigError(f"unknown option {key!r}{did_you_mean(str(key), known)}")
    return Queue(**how)


def _whole(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigError(f"{name} must be a whole number from {least:,} to {most:,}, not {shown(value)}")


def _one_of(name: str, value: object, words: tuple[str, ...]) -> None:
    if value not in words:
        hint = did_you_mean(str(value), words)
        raise ConfigError(f"{name} must be one of {', '.join(map(repr, words))}, not {shown(value)}{hint}")
