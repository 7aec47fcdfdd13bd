"""Settings, their bounds, and where they come from."""

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from outlast import days, hours, minutes, seconds
from outlast.config import (
    DEFAULT_URL,
    Config,
    Queue,
    RateLimit,
    app_from_pyproject,
    checked_name,
    duration_s,
    make_config,
    option_names,
    parse_queues,
    resolve,
)
from outlast.errors import ConfigError

NAN, INF = float("nan"), float("inf")
NO_DURATION: list[Any] = ["soon", "5 minutes", "-5", "1e3", "", True, [], object(), b"5"]
OUT_OF_RANGE: list[Any] = [-1, -0.001, NAN, INF, -INF, 10**400, 10**5_000, 1e300, timedelta(days=-1), "9" * 500]

BAD: dict[str, list[Any]] = {
    "concurrency_limits": [{"gpu": 0}, {"gpu": True}, {"gpu": "3"}, {"g[": 1}, {"": 1}, ["gpu"], None, "gpu:3"],
    "rate_limits": [
        {"api": 100},
        {"api": "100"},
        {"api": "0/s"},
        {"api": "-1/s"},
        {"api": "1/y"},
        {"api": "1/0s"},
        {"api[1]": "1/s"},
        {"api": "1/s burst 0"},
        {"api": {"alowed": 1}},
        ["api"],
        None,
        "api:1/s",
    ],
    "url": ["", None, 5],
    "name": ["", " padded ", "x" * 201, "line\nbreak", "zero\x00", 5, None],
    "schema": ["", "Upper", "1st", "a-b", "x" * 49, 'x"; --', "ünï", "pg_mine", "sqlite", "sqlite_x", 5, None],
    "queues": [5, "default:10", [], {"": 1}, {5: 1}, {"a": 0}, {"a": -1}, {"a": "x"}, {"a": True}, {"a": None}],
    "lease": [*NO_DURATION, *OUT_OF_RANGE, None, 0, 0.1],
    "renew_interval": [*NO_DURATION, *OUT_OF_RANGE, 0, 10.1],
    "poll_interval": [*NO_DURATION, *OUT_OF_RANGE, None, 0],
    "max_poll_interval": [*NO_DURATION, *OUT_OF_RANGE, None, 0, 0.5],
    "reap_interval": [*NO_DURATION, *OUT_OF_RANGE, None, 0],
    "drain_timeout": [*NO_DURATION, *OUT_OF_RANGE, None],
    "cancel_timeout": [*NO_DURATION, *OUT_OF_RANGE, None],
    "retention": [*NO_DURATION, *OUT_OF_RANGE],
    "prune_interval": [*NO_DURATION, *OUT_OF_RANGE, None, 0],
    "prune_batch": [0, -1, 1_000_001, 1.0, "5", True, None],
    "maintenance": ["yes", 1],
    "doorbell": ["Auto", "", None, [], 1],
    "commit_batch": [0, 10_001, 1.0, "5", True, None],
    "payload_bytes_max": [0, 1_023, 67_108_865, 1.0, "5", None],
    "max_crashes": [0, 1_000_001, 1.0, "5", None],
    "threads": [0, 10_001, 1.0, "5", None],
    "residents_max": [-1, 1_000_001, 1.0, "5", True, None],
    "residents_age": [*NO_DURATION, *OUT_OF_RANGE, None],
    "pooler": ["session", "", None],
    "telemetry": ["on", "", None, True],
    "connect_timeout": [*NO_DURATION, *OUT_OF_RANGE, None, 0],
    "statement_timeout": [*NO_DURATION, *OUT_OF_RANGE, None, 0],
    "log_capture": ["on", "", None, True],
    "log_level": ["LOUD", "", "20", 20, None],
    "log_print": ["yes", 1, None],
    "log_passthrough": ["yes", 1, None],
    "log_lines_max": [0, 1_000_001, 1.0, "5", None],
    "log_chars_max": [0, 9, 1_000_001, 1.0, "5", None],
    "resident_objects": [0, -1, 100_000_001, 1.0, "5", None],
}


CALLED = {
    "queues": "queue",
    "rate_limits": "rate.limit|limit's name",
    "concurrency_limits": "concurrency_limits|limit's name",
}
"""What an error calls the option, where that is not its name."""


def test_every_option_has_bad_values_below() -> None:
    assert set(BAD) == set(option_names())


@pytest.mark.parametrize(
    ("key", "value"),
    [pytest.param(key, value, id=f"{key}-{at}") for key, values in BAD.items() for at, value in enumerate(values)],
)
def test_a_bad_value_is_refused_by_the_options_name(key: str, value: Any) -> None:
    with pytest.raises(
        ConfigError,
        match={
            "queues": "queue",
            "rate_limits": "rate.limit|limit.s name",
            "concurrency_limits": "concurrency_limits|limit.s name",
        }.get(key, key),
    ) as caught:
        Config(**{key: value})

    assert len(str(caught.value)) < 1_000


def test_the_defaults_are_as_documented() -> None:
    config = Config()

    assert config.url == DEFAULT_URL
    assert config.queues == {"default": Queue(concurrency=10, prefetch=None, min_demand=1)}
    assert (config.lease, config.renew_s, config.retention) == (30.0, 10.0, 86_400.0)


def test_durations_are_kept_as_float_seconds() -> None:
    config = Config(
        lease=minutes(1),  # type: ignore[arg-type]
        retention="2d",  # type: ignore[arg-type]
        poll_interval=2,
        drain_timeout="250ms",  # type: ignore[arg-type]
        max_poll_interval=hours(1),  # type: ignore[arg-type]
    )

    assert (config.lease, config.retention, config.drain_timeout) == (60.0, 172_800.0, 0.25)
    assert isinstance(config.poll_interval, float)


def test_none_means_for_ever_or_automatic_where_it_may() -> None:
    config = Config(retention=None, renew_interval=None, lease=12)

    assert config.retention is None
    assert config.renew_s == 4.0


@pytest.mark.parametrize("lease", [0.3, 0.6, 0.9, 1.1, 3.3, 30])
def test_a_third_of_the_lease_is_allowed_however_it_rounds(lease: float) -> None:
    assert Config(lease=lease, renew_interval=round(lease / 3, 12)).renew_s == round(lease / 3, 12)


@pytest.mark.parametrize("schema", ["a", "_x", "outlast_2", "x" * 48, "user", "pgx", "sqlites"])
def test_a_schema_is_a_plain_identifier(schema: str) -> None:
    assert Config(schema=schema).schema == schema


def test_a_config_is_frozen_and_does_not_show_its_url() -> None:
    config = Config(url="postgresql://ann:secret@db/app")

    with pytest.raises(dataclasses.FrozenInstanceError):
        config.lease = 5.0  # type: ignore[misc]
    assert "secret" not in repr(config)


def test_changing_the_mapping_that_was_given_changes_nothing() -> None:
    given: dict[str, Any] = {"a": 1}
    config = Config(queues=given)

    given["b"] = 2

    assert config.queues == {"a": Queue(1)}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"concurrency": 0}, "queue 'mail': concurrency must be a whole number from 1 to 100,000, not 0"),
        ({"prefetch": -1}, "queue 'mail': prefetch"),
        ({"min_demand": 0}, "queue 'mail': min_demand"),
        ({"concurency": 5}, "queue 'mail': unknown option 'concurency'; did you mean 'concurrency'"),
        ({5: 5}, "queue 'mail': unknown option 5"),
        (1.5, "queue 'mail': concurrency"),
    ],
)
def test_a_bad_queue_is_named(how: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Config(queues={"mail": how})


def test_a_queue_may_be_a_number_a_table_or_a_queue() -> None:
    config = Config(queues={"a": 3, "b": {"concurrency": 4, "prefetch": 0}, "c": Queue(5)})  # type: ignore[dict-item]

    assert config.queues == {"a": Queue(3), "b": Queue(4, prefetch=0), "c": Queue(5)}
    assert Config(queues={}).queues == {}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5.0),
        (0.25, 0.25),
        (timedelta(minutes=1, microseconds=1), 60.000001),
        ("90", 90.0),
        ("250ms", 0.25),
        ("1.5h", 5400.0),
        (" 2 d ", 172_800.0),
        ("5m", 300.0),
        ("0s", 0.0),
    ],
)
def test_durations(value: object, number: float) -> None:
    assert duration_s(value, name="wait") == number


def test_units_of_time() -> None:
    assert (seconds(1.5), minutes(2), hours(3), days(4)) == (
        timedelta(seconds=1.5),
        timedelta(minutes=2),
        timedelta(hours=3),
        timedelta(days=4),
    )


def test_a_bad_duration_shows_what_would_do() -> None:
    with pytest.raises(
        ConfigError, match=r'wait must be seconds, a timedelta, or text such as "250ms" .* not \'later\''
    ):
        duration_s("later", name="wait")
    with pytest.raises(ConfigError, match="wait must be between 1 and 10 seconds, not 11"):
        duration_s(11, name="wait", least_s=1, most_s=10)


@pytest.mark.parametrize("name", ["a", "welcome:ann@example.org", "with space", "Ünïcode 🙂", "x" * 200])
def test_names_may_be_nearly_anything(name: str) -> None:
    assert checked_name(name, what="key") == name


@pytest.mark.parametrize("name", ["", " ", "a ", "\ta", "a\nb", "a\x00", "half \ud800", "x" * 201, None, 5, b"a"])
def test_names_that_nobody_could_read_are_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="key must be"):
        checked_name(name, what="key")


def resolved(
    folder: Path, environment: dict[str, str] | None = None, url: str | None = None, **options: Any
) -> tuple[Config, dict[str, str]]:
    return resolve(url, options, environment=environment or {}, folder=folder)


def test_an_argument_wins_over_the_environment_over_pyproject_over_the_default(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.outlast]\nurl = "sqlite:///p.db"\nlease = 61\nthreads = 3\nretention = "5m"\n'
    )
    environment = {"OUTLAST_LEASE": "62s", "OUTLAST_THREADS": "4"}

    config, sources = resolved(tmp_path, environment, threads=5)

    assert (config.url, config.retention, config.lease, config.threads) == ("sqlite:///p.db", 300.0, 62.0, 5)
    picked = {key: sources[key] for key in ("url", "retention", "lease", "threads", "name")}
    assert picked == {
        "url": "pyproject",
        "retention": "pyproject",
        "lease": "environment",
        "threads": "argument",
        "name": "default",
    }


def test_the_nearest_pyproject_counts(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.outlast]\nthreads = 3\n")
    (inner := tmp_path / "a" / "b").mkdir(parents=True)
    assert resolved(inner)[0].threads == 3

    (inner.parent / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert resolved(inner)[0].threads == 32


def test_every_option_can_be_set_by_the_environment(tmp_path: Path) -> None:
    environment = {
        "OUTLAST_DATABASE_URL": "sqlite:///e.db",
        "OUTLAST_NAME": "shop",
        "OUTLAST_SCHEMA": "shop",
        "OUTLAST_QUEUES": "default:3, mail:5 ,slow",
        "OUTLAST_CONCURRENCY_LIMITS": "gpu:3, cpu:8",
        "OUTLAST_RATE_LIMITS": "api:100/s, mail:5/m burst 1",
        "OUTLAST_LEASE": "1m",
        "OUTLAST_RENEW_INTERVAL": "none",
        "OUTLAST_POLL_INTERVAL": "0.5",
        "OUTLAST_MAX_POLL_INTERVAL": "9",
        "OUTLAST_REAP_INTERVAL": "9",
        "OUTLAST_DRAIN_TIMEOUT": "0",
        "OUTLAST_CANCEL_TIMEOUT": "0",
        "OUTLAST_RETENTION": "None",
        "OUTLAST_PRUNE_INTERVAL": "9",
        "OUTLAST_PRUNE_BATCH": "9",
        "OUTLAST_MAINTENANCE": "no",
        "OUTLAST_DOORBELL": "local",
        "OUTLAST_COMMIT_BATCH": " 9 ",
        "OUTLAST_PAYLOAD_BYTES_MAX": "9000",
        "OUTLAST_MAX_CRASHES": "9",
        "OUTLAST_THREADS": "9",
        "OUTLAST_RESIDENTS_MAX": "0",
        "OUTLAST_RESIDENTS_AGE": "9m",
        "OUTLAST_POOLER": "transaction",
        "OUTLAST_TELEMETRY": "off",
        "OUTLAST_CONNECT_TIMEOUT": "9",
        "OUTLAST_STATEMENT_TIMEOUT": "9",
        "OUTLAST_LOG_CAPTURE": "all",
        "OUTLAST_LOG_LEVEL": "debug",
        "OUTLAST_LOG_PRINT": "no",
        "OUTLAST_LOG_PASSTHROUGH": "false",
        "OUTLAST_LOG_LINES_MAX": "9",
        "OUTLAST_RESIDENT_OBJECTS": "9",
        "OUTLAST_LOG_CHARS_MAX": "90",
    }

    config, sources = resolved(tmp_path, environment)

    assert (config.log_level, config.log_print, config.log_passthrough) == ("DEBUG", False, False)
    assert set(sources.values()) == {"environment"}
    assert config.queues == {"default": Queue(3), "mail": Queue(5), "slow": Queue(10)}
    assert config.concurrency_limits == {"gpu": 3, "cpu": 8}
    assert config.rate_limits == {"api": RateLimit(100), "mail": RateLimit(5, 60, burst=1)}
    assert (config.retention, config.renew_interval, config.maintenance) == (None, None, False)
    assert (config.residents_max, config.residents_age) == (0, 540.0)


def test_an_empty_variable_is_none_at_all(tmp_path: Path) -> None:
    assert resolved(tmp_path, {"OUTLAST_THREADS": ""})[1]["threads"] == "default"


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("OUTLAST_THREADS", "many", "OUTLAST_THREADS must be a whole number, not 'many'"),
        ("OUTLAST_THREADS", "9" * 5_000, "OUTLAST_THREADS must be a whole number"),
        ("OUTLAST_THREADS", "-1", "OUTLAST_THREADS"),
        ("OUTLAST_MAINTENANCE", "maybe", "OUTLAST_MAINTENANCE must be true or false"),
        ("OUTLAST_QUEUES", "mail:many", "OUTLAST_QUEUES must look like"),
        ("OUTLAST_LEASE", "long", "lease must be seconds"),
        ("OUTLAST_DOORBELL", "loud", "doorbell must be one of"),
    ],
)
def test_a_bad_variable_is_named(tmp_path: Path, variable: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        resolved(tmp_path, {variable: text})


def test_an_unknown_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown option 'concurency'"):
        make_config(None, {"concurency": 5})
    with pytest.raises(ConfigError, match="unknown option 'leese'; did you mean 'lease'"):
        make_config(None, {"leese": 5})
    with pytest.raises(ConfigError, match="unknown option 'url'"):
        make_config(None, {"url": "sqlite://"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.outlast]\nleese = 5\n", r"'leese' in \[tool\.outlast\]; did you mean 'lease'"),
        ("[tool]\noutlast = 5\n", r"\[tool\.outlast\] must be a table"),
        ("[tool.outlast\n", "cannot read pyproject.toml"),
        ("[tool.outlast]\nlease = 'long'\n", "lease must be seconds"),
        ("[tool.outlast]\nurl = ''\n", "url must be text"),
        ("[tool.outlast]\nqueues = 'default:5'\n", "queues must map names"),
    ],
)
def test_a_bad_pyproject_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)

    with pytest.raises(ConfigError, match=said):
        resolved(tmp_path)


@pytest.mark.parametrize("text", ["", "tool = 5\n", "[tool.other]\nx = 1\n"])
def test_a_pyproject_without_us_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)

    assert set(resolved(tmp_path)[1].values()) == {"default"}
    assert app_from_pyproject(tmp_path) is None


def test_none_may_be_said_in_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.outlast]\nretention = 'none'\nrenew_interval = 'None'\n")

    config, sources = resolved(tmp_path)

    assert (config.retention, config.renew_interval) == (None, None)
    assert (sources["retention"], sources["renew_interval"]) == ("pyproject", "pyproject")

    (tmp_path / "pyproject.toml").write_text("[tool.outlast]\nlease = 'none'\n")
    with pytest.raises(ConfigError, match="lease must be seconds"):
        resolved(tmp_path)


def test_queues_in_pyproject_may_be_tables(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.outlast.queues]\ndefault = 3\nmail = {concurrency = 5, min_demand = 2}\n"
    )

    assert resolved(tmp_path)[0].queues == {"default": Queue(3), "mail": Queue(5, min_demand=2)}


def test_pyproject_names_the_app(tmp_path: Path) -> None:
    assert app_from_pyproject(tmp_path) is None
    (tmp_path / "pyproject.toml").write_text('[tool.outlast]\napp = "shop.jobs:engine"\n')

    assert app_from_pyproject(tmp_path) == "shop.jobs:engine"
    resolved(tmp_path)

    (tmp_path / "pyproject.toml").write_text("[tool.outlast]\napp = 5\n")
    with pytest.raises(ConfigError, match="app in"):
        app_from_pyproject(tmp_path)


@pytest.mark.parametrize(
    ("text", "queues"),
    [
        ("default:10", {"default": 10}),
        ("a, b:2", {"a": 10, "b": 2}),
        ("with:colon:3", {"with:colon": 3}),
        ("none", {}),
        ("", {}),
        (" None ", {}),
    ],
)
def test_queues_from_text(text: str, queues: dict[str, int]) -> None:
    assert parse_queues(text) == queues


@pytest.mark.parametrize("text", ["a:x", "a:", "a:1.5", "a:-1", "a:1,a:2"])
def test_bad_queues_from_text_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--queues"):
        parse_queues(text, name="--queues")
