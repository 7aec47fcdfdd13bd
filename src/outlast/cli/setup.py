"""Tables and settings: `migrate` and `config`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from outlast.cli import terminal
from outlast.cli.apps import AppError
from outlast.cli.options import Choice, shared, show_traceback
from outlast.config import Queue, option_names, resolve
from outlast.engine import Engine


@click.command()
@click.option("--check", is_flag=True, help="Only tell whether the tables fit this release; exit code 1 if not.")
@click.option("--sql", is_flag=True, help="Only print the SQL, to be run by other means.")
@click.option("--since", type=click.IntRange(min=0), default=0, metavar="VERSION", help="With --sql: from there on.")
@shared
def migrate(choice: Choice, check: bool, sql: bool, since: int) -> None:
    """Make the tables, or bring them up to this release.

    Safe to run from many places at once, and again. On SQLite workers do it by themselves; on Postgres this command,
    or the SQL that it prints, must run before anything else.
    """
    if check and sql:
        raise click.UsageError("--check and --sql cannot be had together.")
    engine = choice.engine()
    if check:
        asyncio.run(_check(choice, engine))
    elif sql:
        script = engine.migration_script(since)
        terminal.say_json({"sql": script}) if choice.json else click.echo(script, nl=False)
    else:
        applied = asyncio.run(engine.migrate())
        done = f"applied {', '.join(map(str, applied))}" if applied else "nothing to do"
        _tell(choice, {"applied": applied}, f"{done}: {engine.describe()}")


async def _check(choice: Choice, engine: Engine) -> None:
    found, needed = await engine.tables()
    if found == needed:
        said = f"the tables fit, at version {found}"
    elif found == 0:
        said = "there are no tables; `outlast migrate` makes them"
    else:
        said = f"the tables are at version {found}, this release needs {needed}"
    _tell(choice, {"version": found, "needed": needed, "fits": found == needed}, f"{said}: {engine.describe()}")
    if found != needed:
        raise click.exceptions.Exit(1)


def _tell(choice: Choice, answer: Mapping[str, Any], sentence: str) -> None:
    if choice.json:
        terminal.say_json(answer)
    else:
        terminal.say(terminal.clean(sentence))


@click.command()
@click.argument("module", metavar="[APP]", required=False)
@shared
def config(choice: Choice, module: str | None) -> None:
    """Show every setting in effect, and where it comes from.

    APP is a module of yours (shop.jobs, or shop.jobs:engine): then what its engine was given is shown.
    """
    choice.name_app(module)
    rows = _settings(choice, _engine(choice))
    if choice.json:
        terminal.say_json({name: {"value": value, "source": source} for name, value, source in rows})
    else:
        shown = [(name, "none" if value is None else terminal.plain(value), source) for name, value, source in rows]
        terminal.say_table(("setting", "value", "source"), shown)


def _engine(choice: Choice) -> Engine:
    """The app's engine; where pyproject.toml names an app that is broken, one without it, and a note."""
    try:
        return choice.engine()
    except AppError as error:
        if choice.app_given:
            raise
        show_traceback(click.get_current_context())
        note = f"the app {choice.app} could not be imported, and its engine's own settings are not shown: {error}"
        terminal.note(terminal.clean_lines(note))
        return Engine(choice.url)


def _settings(choice: Choice, engine: Engine) -> list[tuple[str, Any, str]]:
    """Name, value and source of every setting."""
    unspoken, sources = resolve(choice.url, {})
    rows: list[tuple[str, Any, str]] = []
    for name in option_names():
        value = getattr(engine.config, name)
        source = _source(name, sources[name])
        if value != getattr(unspoken, name):
            source = f"the engine of {choice.app}"
        rows.append((name, engine.shown_url if name == "url" else _plain(value), source))
    rows.append(("app", choice.app, "default" if choice.app is None else choice.source_of_app))
    return rows


def _source(name: str, kind: str) -> str:
    match kind:
        case "argument":
            return f"--{name}"
        case "environment":
            return "OUTLAST_DATABASE_URL" if name == "url" else f"OUTLAST_{name.upper()}"
        case "pyproject":
            return "pyproject.toml"
        case _:
            return kind


def _plain(value: Any) -> Any:
    """A setting as people write it."""
    if isinstance(value, Mapping):
        return {name: _plain(how) for name, how in value.items()}
    if isinstance(value, Queue):
        return value.concurrency if value == Queue(value.concurrency) else msgspec.to_builtins(value)
    return value
