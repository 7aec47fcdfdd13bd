"""Options that every command takes, and what they lead to: an engine on the right database."""

from __future__ import annotations

import functools
import json
import re
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from outlast.cli import terminal
from outlast.cli.apps import App, load_app
from outlast.config import app_from_pyproject, duration_s
from outlast.engine import Engine
from outlast.errors import ConfigError, NotFound, StoreUnavailable

F = TypeVar("F", bound=Callable[..., Any])
if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # Generic only in later releases of click.

JSON_KEY = "outlast.json"
DEBUG_KEY = "outlast.debug"


@dataclass(slots=True)
class Choice:
    """What the options say about where to look and how to answer.

    Attributes:
        url: `--url`, or None.
        app: `--app`, else what `[tool.outlast]` names; or None.
        json: Whether to answer in JSON.
        app_given: Whether the user named the app here and now.
    """

    url: str | None
    app: str | None
    json: bool
    app_given: bool = False
    _loaded: App | None = None

    def name_app(self, spec: str | None) -> None:
        """Takes an app that a command's own argument names."""
        if spec is not None:
            self.app, self.app_given = spec, True

    @property
    def source_of_app(self) -> str:
        """Where the app's name comes from."""
        return "argument" if self.app_given else "pyproject.toml"

    def loaded(self) -> App | None:
        """The user's module, imported once; None: none is known. Raises: AppError."""
        if self._loaded is None and self.app is not None:
            self._loaded = load_app(self.app)
        return self._loaded

    def engine(self) -> Engine:
        """The app's engine, else one with the settings in effect; not open, and with `--url` as its database.

        An app that only `[tool.outlast]` names is not imported for this when the database is given: reading must not
        depend on the user's code.
        """
        app = self.loaded() if self.app_given or self.url is None else self._loaded
        if app is None or app.engine is None:
            return Engine(self.url)
        if self.url is not None:
            app.engine.configure(self.url)
        return app.engine

    @asynccontextmanager
    async def opened(self, *, create: bool = False, rings: bool = False) -> AsyncIterator[Engine]:
        """An open engine that runs nothing itself.

        Args:
            create: Whether a SQLite file that does not exist is made.
            rings: Whether other processes are to hear at once of what is done, and we of them.

        Raises: StoreError, ConfigError.
        """
        engine = self.engine()
        engine.configure(queues={}, maintenance=False, doorbell="auto" if rings else "local")
        if not create:
            require_file(engine)
        async with engine:
            yield engine


def require_file(engine: Engine) -> None:
    """Raises: StoreUnavailable: there is no database to look at; looking must not make one."""
    path = engine.database_file
    if path is not None and not path.exists():
        raise StoreUnavailable(
            f"there is no database at {path}; `outlast start` or a worker makes it. Another one: --url, or "
            "OUTLAST_DATABASE_URL"
        )


async def expand_target(engine: Engine, target: str) -> str:
    """The id whose beginning this is, else the text itself: a correlation key."""
    if len(target) >= 4 and set(target.lower()) <= set("0123456789abcdef-"):
        try:
            return await engine.expand_id(target)
        except NotFound:
            return target
    return target


def shared(function: F) -> F:
    """Gives a command the options of all: it is called with a `Choice` first."""

    @click.option("--url", metavar="URL", help="Database: sqlite:///app.db or postgresql://user@host/name.")
    @click.option("--app", metavar="APP", help="Module of yours whose engine names the database: shop.jobs:engine.")
    @click.option("--json", "as_json", is_flag=True, is_eager=True, callback=_keep(JSON_KEY), help="Answer in JSON.")
    @click.option("--debug", is_flag=True, is_eager=True, callback=_keep(DEBUG_KEY), help="Show tracebacks of errors.")
    @functools.wraps(function)
    def command(*args: Any, url: str | None, app: str | None, as_json: bool, debug: bool, **kwargs: Any) -> Any:
        context = click.get_current_context()
        outer = None if context.parent is None else context.parent.find_object(Choice)
        if outer is not None:  # `queues --url ... pause`: what the family was told holds for its members.
            url, as_json = url or outer.url, as_json or outer.json
            app = app or (outer.app if outer.app_given else None)
        choice = Choice(url, _app_of_project() if app is None else app, as_json, app is not None)
        context.obj = choice
        return function(choice, *args, **kwargs)

    return command  # type: ignore[return-value]


def show_traceback(context: click.Context) -> None:
    """With `--debug`, the traceback of the error that is being handled, as a note."""
    if context.meta.get(DEBUG_KEY):
        terminal.note(terminal.clean_lines(traceback.format_exc()))


def _app_of_project() -> str | None:
    try:
        return app_from_pyproject(Path.cwd())
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"cannot read pyproject.toml: {error}") from error


def _keep(key: str) -> Callable[[click.Context, click.Parameter, bool], bool]:
    """Remembers a flag for whoever shows an error."""

    def keep(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
        context.meta[key] = context.meta.get(key, False) or value
        return value

    return keep


class Duration(ParamType):
    """Seconds, from text such as `90`, `5m`, `1.5h`, `2d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        try:
            return duration_s(value, name="this duration")
        except ConfigError:
            self.fail(f"{value!r} is not a duration; write seconds, or 250ms, 5m, 1.5h, 2d", param, ctx)


class Moment(ParamType):
    """An aware instant, from ISO 8601 text or from a duration: `2h` or `2h ago` looking back, `2h` ahead."""

    name = "moment"

    def __init__(self, *, back: bool = False, ahead: bool = False) -> None:
        self._back = back
        self._ahead = ahead

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The instant. Without a time zone it is this machine's."""
        if isinstance(value, datetime):
            return value
        if self._back or self._ahead:
            text = str(value).removesuffix("ago").rstrip() if self._back else str(value)
            try:
                span = timedelta(seconds=duration_s(text, name="this moment"))
                return terminal.now() - span if self._back else terminal.now() + span
            except (ConfigError, OverflowError):
                pass
        try:
            return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError, OSError):
            also = ", or a duration such as 2h" if self._back or self._ahead else ""
            self.fail(f"{value!r} is not an instant; write 2030-01-31T18:00:00+01:00{also}", param, ctx)


class Pair(ParamType):
    """`name=value`; the value is JSON if it parses, text if not."""

    name = "pair"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """Name and value."""
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not name=value", param, ctx)
        try:
            return key, json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError):
            return key, text


class Tag(ParamType):
    """`name=value`, both as text."""

    name = "tag"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Name and value."""
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not name=value", param, ctx)
        return name, text


class Limit(ParamType):
    """A limit by name, or by name and partition: `gpu`, `gpu[eu]`."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | tuple[str, str]:
        """The name, or name and partition."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([^\[\]]*[^\[\]\s])(?:\[([^\[\]]+)\])?", value)
        if match is None:
            self.fail(f"{value!r} is not NAME or NAME[PARTITION]", param, ctx)
        return match[1] if match[2] is None else (match[1], match[2])


def _no_number(text: str) -> None:
    raise ValueError(text)  # NaN and Infinity are words, not JSON.


DURATION = Duration()
LIMIT = Limit()
PAIR = Pair()
TAG = Tag()
