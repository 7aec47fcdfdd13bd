"""Values at the API's border, one function for each sort: durations, names, schedules, URLs, settings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from outlast import Await, Child, Cron, Engine, Next, Queue, RateLimit, Retry, Spawn, backoff, job
from outlast._kernel.forms import checked_answer
from outlast._kernel.requests import start_options
from outlast._store.door import database_file, open_store, shown_url
from outlast._world import SystemWorld
from outlast.calendar import end_of_day, next_business_day, next_weekday
from outlast.config import Config, checked_name, duration_s
from outlast.config.settings import option_names, resolve
from outlast.errors import ConfigError, InvalidAnswer
from tests.fuzz.nasty import json_text, mutated, text, value
from tests.fuzz.oracle import Finding, politely

_SECRET: Final = "s3cr3tW0rd"
_WORLD: Final = SystemWorld()
_SUMMER: Final = datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC)


@job(name="fuzz.nothing")
async def nothing() -> None:
    """Does nothing."""


_DURATIONS: Final = ("5m", "1.5h", "250ms", "2d", "90", " 1 s ", "0.001")


def durations(dice: Random) -> None:
    """Wherever a length of time is taken."""
    given = text(dice, _DURATIONS) if dice.random() < 0.6 else value(dice, 4)
    takers: list[Callable[[], Any]] = [
        lambda: duration_s(given, name="it"),
        lambda: Retry(given),
        lambda: Await("x", then="y", timeout=given),
        lambda: Spawn([nothing.new()], "y", timeout=given),
        lambda: backoff.constant(given),
        lambda: backoff.exponential(base=given, cap=given),
        lambda: RateLimit(1, given),
        lambda: start_options(schedule_in=given),
        lambda: job(timeout=given),
        lambda: Engine("sqlite://", lease=given),
    ]
    with politely(told=given):
        dice.choice(takers)()


def names(dice: Random) -> None:
    """Names, keys, tags and limits."""
    given = text(dice, ("default", "order:42", "gpu[eu]", "a b")) if dice.random() < 0.8 else value(dice, 3)
    takers: list[Callable[[], Any]] = [
        lambda: checked_name(given, what="it"),
        lambda: start_options(correlation_key=given, correlation_scope=value(dice, 3)),
        lambda: start_options(concurrency_key=given),
        lambda: start_options(rate_limit=(given, text(dice)), weight=value(dice, 4)),
        lambda: start_options(fair_key=given, fair_weight=value(dice, 4)),
        lambda: start_options(tags={given: text(dice)}),
        lambda: start_options(tags=given),
        lambda: start_options(queue=given, priority=value(dice, 4)),
        lambda: Next(given, concurrency_key=given, rate_limit=given, weight=value(dice, 4)),
        lambda: Await(given, then=given),
        lambda: Child(nothing.new(), queue=given, tags={"a": given}),
        lambda: Queue(given),
        lambda: RateLimit(given, given, given),
    ]
    with politely(TypeError, told=given) if _is_unhashable(given) else politely(told=given):
        dice.choice(takers)()


def _is_unhashable(given: Any) -> bool:
    try:
        hash(given)
    except TypeError:
        return True
    return False


_CRONS: Final = (
    "* * * * *", "*/5 * * * *", "0 9 * * mon-fri", "0 0 29 2 *", "0 0 1 1 *", "30 2 * * *", "@daily", "@hourly",
    "*/10 * * * * *", "0 0 L * *", "0 0 * * 5#3", "0 0 31 4 *", "59 23 31 12 7", "0-59/7 1,2,3 * 1-12/2 *",
)  # fmt: skip
_ZONES: Final = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kathmandu",
)


def crons(dice: Random) -> None:
    """Cron expressions, zones, and what is asked of them."""
    expression = text(dice, _CRONS) if dice.random() < 0.95 else value(dice, 4)
    zone = dice.choice(_ZONES) if dice.random() < 0.6 else text(dice, _ZONES)
    dst = dice.choice(("auto", "auto", "auto", text(dice)))
    with politely(told=(expression, zone, dst)):
        made = Cron(expression, zone=zone, dst=dst)  # type: ignore[arg-type]
        made.explain()
        moment = _SUMMER + timedelta(seconds=dice.randrange(10**9))
        found = made.upcoming(moment, 3)
        if found != sorted(found) or (found and found[0] <= moment):
            raise Finding(f"{expression!r} in {zone!r} has ticks {found} after {moment}")
        made.latest(moment)


def calendars(dice: Random) -> None:
    """Days of the calendar."""
    zone, hour = text(dice, _ZONES), dice.choice((9, 0, 23, 24, -1, value(dice, 4)))
    day = text(dice, ("monday", "Fri"))
    after = dice.choice((None, _SUMMER, datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), 5))
    takers: list[Callable[[], Any]] = [
        lambda: next_weekday(day, hour=hour, zone=zone, after=after),  # type: ignore[arg-type]
        lambda: next_business_day(hour, zone=zone, after=after),  # type: ignore[arg-type]
        lambda: end_of_day(zone, after=after),  # type: ignore[arg-type]
    ]
    with politely(told=(day, hour, zone, after)):
        dice.choice(takers)()


_URLS: Final = (
    "sqlite:///app.db", "sqlite://", "sqlite:////tmp/absolute.db", "sqlite:///a%20b.db?mode=ro", "sqlite+aiosqlite:///x.db",
    f"postgresql://ann:{_SECRET}@db.example.org:5432/shop", f"postgres://ann:{_SECRET}@[::1]/shop?sslmode=require",
    f"postgresql+asyncpg://ann:{_SECRET}@h1:1,h2:2/shop?target_session_attrs=primary&connect_timeout=5",
    f"postgresql:///shop?host=/run/pg&user=ann&password={_SECRET}&options=-c%20x=1&sslrootcert=system",
    "postgresql://ann@h/shop?channel_binding=require&application_name=x&load_balance_hosts=disable",
)  # fmt: skip


def urls(dice: Random) -> None:
    """Database URLs, read and shown; nothing is opened. No secret is ever told."""
    url = text(dice, _URLS) if dice.random() < 0.97 else value(dice, 4)
    told = ""
    with politely(told=url):
        try:
            config = Config(url=url)
            told = f"{config!r} {open_store(config, _WORLD).describe()} {shown_url(config)} {database_file(config)}"
        except ConfigError as error:
            told = str(error)
            raise
        finally:
            if isinstance(url, str) and f":{_SECRET}@" in url and _SECRET in told:
                raise Finding(f"{url!r} is told with its secret: {told!r}")


_TOMLS: Final = (
    '[tool.outlast]\nurl = "sqlite:///x.db"\nlease = "30s"\n', "[tool.outlast]\nthreads = 4\nmaintenance = true\n",
    '[tool.outlast]\nrate_limits = {api = "100/s"}\n[tool.outlast.queues]\ndefault = 10\nmail = {concurrency = 2}\n',
    '[tool.outlast]\napp = "shop.jobs:engine"\nretention = "none"\nconcurrency_limits = {gpu = 3}\n',
    '[[tool.outlast]]\nx = 1\n', "tool = 5\n", "[tool]\noutlast = []\n", "[tool.outlast]\nlease = 1979-05-27\n",
    "[tool.outlast]\nlease = nan\nthreads = inf\n",
)  # fmt: skip
_SETTINGS: Final = ("10", "default:10,mail:5", "api:100/s,gpu:3", "5/250ms burst 2", "true", "none", "30s", "INFO")


def settings(dice: Random, folder: Path) -> None:
    """Settings from a file, from the environment and from arguments."""
    toml, environment, options = "", {}, {}
    match dice.randrange(3):
        case 0:
            toml = (
                mutated(dice, dice.choice(_TOMLS)) if dice.random() < 0.9 else "a = " + "[" * dice.choice((10, 5_000))
            )
        case 1:
            key = dice.choice(option_names())
            environment = {f"OUTLAST_{'DATABASE_URL' if key == 'url' else key.upper()}": text(dice, _SETTINGS)}
        case _:
            key = dice.choice((*option_names(), text(dice)))
            options = {key: value(dice, 2) if dice.random() < 0.6 else text(dice, _SETTINGS)}
    (folder / "pyproject.toml").write_bytes(toml.encode(errors="surrogatepass"))
    with politely(told=toml or environment or options):
        resolve(None, options, environment=environment, folder=folder)


_OPTIONS: Final = ["red", "blue"]
_REQUESTS: Final[tuple[dict[str, Any], ...]] = (
    {"name": "a", "type": "text", "max_length": 5},
    {"name": "a", "type": "approval"},
    {"name": "a", "type": "choice", "choices": _OPTIONS},
    {"name": "a", "type": "choices", "choices": _OPTIONS},
    {
        "name": "a",
        "type": "form",
        "fields": [
            {"name": kind, "type": kind, "required": kind == "text", "options": _OPTIONS, "max_length": 5} | bounds
            for kind in ("text", "integer", "number", "boolean", "date", "select", "multi_select")
            for bounds in ({"minimum": 1, "maximum": 9},)
        ],
    },
)


def answers(dice: Random) -> None:
    """Answers to what people are asked."""
    request = dice.choice(_REQUESTS)
    given: Any = value(dice, 2)
    if request["type"] == "form" and dice.random() < 0.8:
        names = ["text", *(field["name"] for field in request["fields"])]
        given = {dice.choice(names): value(dice, 3) for _ in range(3)} | {"text": dice.choice(("x", value(dice, 4)))}
    elif dice.random() < 0.3:
        given = dice.choice(("red", ["red"], ["red", "red"], "approved", True, 1, 1.0, 0, "xxxxx"))
    with politely(InvalidAnswer, told=given):
        found = checked_answer(request, given)
        fits = {"text": str, "approval": str, "choice": str, "choices": list, "form": dict}[request["type"]]
        if not isinstance(found, fits):
            raise Finding(f"{request['type']} was answered with {found!r}")


def descriptions(dice: Random) -> None:
    """Arguments of a start as the command line gives them: JSON text."""
    given = json_text(dice, ('{"value": 1}', '{"value": {"a": [1, 2.5, "x"]}}'))
    with politely(told=given):
        echo.new_from_json(given)


@job(name="fuzz.echo")
async def echo(value: Any) -> Any:
    """Gives back what it got."""
    return value
