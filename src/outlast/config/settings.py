"""Settings: what they mean, their defaults and bounds, and where each value comes from.

A setting comes from the engine's arguments, else `OUTLAST_<NAME>` in the environment, else `[tool.outlast]`
in the nearest `pyproject.toml`, else its default. A `Config` refuses to exist when it is wrong.
"""

from __future__ import annotations

import copy
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypedDict

from outlast.config.service import (
    Queue,
    RateLimit,
    parse_limits,
    parse_queues,
    read_concurrency_limits,
    read_queues,
    read_rate_limits,
)
from outlast.config.values import DAY_S, WHOLE, Duration, checked_name, duration_s, one_of, shown, whole
from outlast.errors import ConfigError, did_you_mean

DEFAULT_URL = "sqlite:///outlast.db"
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,47}\Z")


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
    residents_max: int
    residents_age: Duration
    pooler: Literal["none", "transaction"]
    connect_timeout: Duration
    statement_timeout: Duration
    telemetry: Literal["auto", "off"]
    log_capture: Literal["auto", "all", "off"]
    log_level: str
    log_print: bool
    log_passthrough: bool
    log_lines_max: int
    log_chars_max: int
    resident_objects: int


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
    residents_max: int = 1_000
    """Waiting workflows whose code stays in this process's memory, to go on from there; the others run again from the
    beginning, through what they have recorded. 0: none stays."""
    residents_age: float = 600.0
    """Seconds that one stays at most; 0: none stays."""
    pooler: str = "none"
    """`transaction` when Postgres is behind a transaction pooler: no prepared statements, no LISTEN."""
    connect_timeout: float = 10.0
    """Seconds to reach the database before that is an error."""
    statement_timeout: float = 30.0
    """Seconds that one statement may take before it is given up."""
    telemetry: str = "auto"
    """`auto`: OpenTelemetry spans and metrics when its API is installed and a provider is set before the engine is
    opened; `off`: never."""
    log_capture: str = "auto"
    """Whose steps' lines are kept: `auto` those of workflows, `all` those of jobs and machines, too, `off` none."""
    log_level: str = "INFO"
    """Lowest level that is kept: DEBUG, INFO, WARNING, ERROR or CRITICAL."""
    log_print: bool = True
    """Whether what steps print is kept, too."""
    log_passthrough: bool = True
    """Whether what is kept also goes where it would go without: to the handlers of logging, to standard output."""
    log_lines_max: int = 1_000
    """Lines kept of one instance; the oldest go first."""
    log_chars_max: int = 10_000
    """Characters kept of one line."""
    resident_objects: int = 10_000
    """Objects in memory at most; those that were not called for longest leave first. An object at work stays.

    As many that have left wait for their `shutdown_after`; of more, those that left first are given up sooner."""

    def __post_init__(self) -> None:
        if not isinstance(self.url, str) or not self.url:
            raise ConfigError("url must be text such as sqlite:///app.db or postgresql://user@host/name")
        for key, least_s in _DURATIONS.items():
            value = getattr(self, key)
            if value is None and key in _MAY_BE_NONE:
                continue
            object.__setattr__(self, key, duration_s(value, name=key, least_s=least_s))
        for key, (least, most) in _COUNTS.items():
            whole(key, getattr(self, key), least, most)
        if isinstance(self.log_level, str):
            object.__setattr__(self, "log_level", self.log_level.upper())
        for key, words in _WORDS.items():
            one_of(key, getattr(self, key), words)
        if self.maintenance is not None and not isinstance(self.maintenance, bool):
            raise ConfigError(f"maintenance must be true, false or None, not {shown(self.maintenance)}")
        for key in ("log_print", "log_passthrough"):
            if not isinstance(getattr(self, key), bool):
                raise ConfigError(f"{key} must be true or false, not {shown(getattr(self, key))}")
        checked_name(self.name, what="name")
        if not isinstance(self.schema, str) or not _IDENTIFIER.match(self.schema):
            raise ConfigError(f"schema must be a-z, 0-9 and _, at most 48 characters, not {shown(self.schema)}")
        if self.schema.startswith(("pg_", "sqlite_")) or self.schema == "sqlite":
            raise ConfigError(
                f"schema must not begin with pg_ or sqlite, which the databases keep: {shown(self.schema)}"
            )
        object.__setattr__(self, "queues", read_queues(self.queues))
        object.__setattr__(self, "concurrency_limits", read_concurrency_limits(self.concurrency_limits))
        object.__setattr__(self, "rate_limits", read_rate_limits(self.rate_limits))
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
    "residents_age": 0.0,
    "retention": 0.0,
    "prune_interval": 0.01,
    "connect_timeout": 0.1,
    "statement_timeout": 0.1,
}
_MAY_BE_NONE = ("retention", "renew_interval")
_COUNTS = {
    "prune_batch": (1, 1_000_000),
    "commit_batch": (1, 10_000),
    "payload_bytes_max": (1_024, 67_108_864),
    "max_crashes": (1, 1_000_000),
    "threads": (1, 10_000),
    "residents_max": (0, 1_000_000),
    "log_lines_max": (1, 1_000_000),
    "log_chars_max": (10, 1_000_000),
    "resident_objects": (1, 100_000_000),
}
_SWITCHES = ("maintenance", "log_print", "log_passthrough")
_WORDS = {
    "doorbell": ("auto", "local"),
    "pooler": ("none", "transaction"),
    "telemetry": ("auto", "off"),
    "log_capture": ("auto", "all", "off"),
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
}


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
            raise ConfigError(f"unknown option {shown(key)}{did_you_mean(key, known)}")
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
        if not WHOLE.fullmatch(text.strip()):
            raise ConfigError(f"{variable} must be a whole number, not {text[:80]!r}")
        return int(text.strip())  # more counts as white space there than here.
    if key in _SWITCHES:
        if text.lower() not in ("1", "0", "true", "false", "yes", "no"):
            raise ConfigError(f"{variable} must be true or false, not {shown(text)}")
        return text.lower() in ("1", "true", "yes")
    if key == "queues":
        return parse_queues(text, name=variable)
    if key in ("concurrency_limits", "rate_limits"):
        return parse_limits(text, name=variable)
    return _none_if_said(key, text)


def _none_if_said(key: str, value: Any) -> Any:
    """None where a text says so: neither the environment nor TOML has another word for it."""
    return None if key in _MAY_BE_NONE and isinstance(value, str) and value.strip().lower() == "none" else value


def _from_pyproject(folder: Path) -> dict[str, Any]:
    table = _pyproject_table(folder)
    known = (*option_names(), "app")
    for key in table:
        if key not in known:
            raise ConfigError(f"unknown option {shown(key)} in [tool.outlast]{did_you_mean(key, known)}")
    return {key: _none_if_said(key, value) for key, value in table.items() if key != "app"}


def app_from_pyproject(folder: Path) -> str | None:
    """The `app` that `[tool.outlast]` names, as `module` or `module:engine`, or None. Raises: ConfigError."""
    app = _pyproject_table(folder).get("app")
    if app is not None and not isinstance(app, str):
        raise ConfigError(f'app in [tool.outlast] must be text such as "shop.jobs:engine", not {shown(app)}')
    return app


def _pyproject_table(folder: Path) -> dict[str, Any]:
    """`[tool.outlast]` of the nearest `pyproject.toml`, or nothing."""
    path = next((found for place in (folder, *folder.parents) if (found := place / "pyproject.toml").is_file()), None)
    if path is None:
        return {}
    try:
        document = _parsed_toml(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ConfigError(f"cannot read {path.name}: its lists and tables are too deep") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path.name}: {error}") from error
    tools = document.get("tool", {})
    table = tools.get("outlast", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError("[tool.outlast] must be a table")
    return copy.deepcopy(table)


@lru_cache(maxsize=1)  # the file of a large project takes milliseconds, for each engine that is made.
def _parsed_toml(text: str) -> dict[str, Any]:
    return tomllib.loads(text)
