"""`schedules`: what is started again and again; adding and steering it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import click

from outlast._kernel.cron import DST_RULES
from outlast._kernel.schedules import CATCH_UPS, OVERLAPS
from outlast._model import Schedule
from outlast.cli import terminal
from outlast.cli.options import DURATION, PAIR, TAG, Choice, shared
from outlast.cli.start import described, find_startable
from outlast.engine import PAGE_MAX, Engine

_HEADERS: Final = ("name", "program", "when", "next run", "last run", "state")


@click.group(invoke_without_command=True)
@shared
def schedules(choice: Choice) -> None:
    """Show schedules, with their next runs; add, change and trigger them."""
    if click.get_current_context().invoked_subcommand is None:
        asyncio.run(_list(choice))


async def _list(choice: Choice) -> None:
    async with choice.opened() as engine:
        found = await all_schedules(engine)
    if choice.json:
        terminal.say_json(found)
    elif found:
        at = terminal.now()
        terminal.say_table(_HEADERS, [_line(schedule, at) for schedule in found])
    else:
        terminal.note("no schedules; to add one: outlast schedules add '0 9 * * MON-FRI' JOB")


async def all_schedules(engine: Engine) -> list[Schedule]:
    """Every schedule, read page by page."""
    found: list[Schedule] = []
    while page := await engine.schedules(after=found[-1].name if found else None, limit=PAGE_MAX):
        found += page
    return found


def _line(schedule: Schedule, at: datetime) -> tuple[object, ...]:
    return (
        schedule.name,
        schedule.program,
        schedule.explanation,
        terminal.ago(schedule.next_run_at, at),
        terminal.ago(schedule.last_run_at, at),
        _state(schedule),
    )


def _state(schedule: Schedule) -> str:
    if schedule.auto_disabled_at is not None:
        return f"off: {schedule.consecutive_failures} runs failed in a row"
    if not schedule.enabled:
        return "disabled"
    return f"{schedule.consecutive_failures} failed in a row" if schedule.consecutive_failures else ""


@schedules.command()
@click.argument("cron", metavar="CRON")
@click.argument("job", metavar="[APP:]JOB")
@click.option("--name", metavar="NAME", help="What it is called (default: the job's name).")
@click.option(
    "--args", "text", metavar="JSON", help="All arguments as one JSON object; - reads it from standard input."
)
@click.option("--arg", "pairs", type=PAIR, multiple=True, metavar="NAME=VALUE", help="One argument; JSON, else text.")
@click.option("--zone", default="UTC", show_default=True, help="Whose clocks count, such as Europe/Berlin.")
@click.option(
    "--dst", type=click.Choice(DST_RULES), default="auto", help="Times that a change of clocks skips or repeats."
)
@click.option("--catch-up", type=click.Choice(CATCH_UPS), default="last", help="Ticks that nobody could fire in time.")
@click.option("--window", type=DURATION, default="1d", metavar="DURATION", help="How old these may be (default 1d).")
@click.option("--overlap", type=click.Choice(OVERLAPS), default="allow", help="While earlier runs have not ended.")
@click.option("--jitter", type=DURATION, default="0", metavar="DURATION", help="Runs begin up to so much later.")
@click.option("--queue", metavar="NAME", help="Where runs go instead of the job's own queue.")
@click.option("--priority", type=int, default=0, help="A lower number goes first (default 0).")
@click.option("--tag", "tags", type=TAG, multiple=True, metavar="NAME=VALUE", help="Runs are found by it; repeatable.")
@click.option("--disabled", is_flag=True, help="It does not fire until it is enabled.")
@shared
def add(
    choice: Choice,
    cron: str,
    job: str,
    text: str | None,
    pairs: tuple[tuple[str, Any], ...],
    tags: tuple[tuple[str, str], ...],
    disabled: bool,
    **how: Any,
) -> None:
    """Start a job, a machine or a workflow whenever CRON says so; one of the same name is replaced.

    CRON is minute, hour, day of month, month and day of week, six fields with the second first, or @daily and the
    like. JOB is named as for `outlast start`.
    """
    app, _, name = job.rpartition(":")
    choice.name_app(app or None)
    if choice.app is None:
        raise click.UsageError(f"Which module is {job!r} in? Write shop.jobs:{job}, or give --app.")
    if text is not None and pairs:
        raise click.UsageError("--args and --arg cannot be had together.")
    what = described(find_startable(choice, name), text, pairs)
    asyncio.run(_add(choice, what, cron, enabled=not disabled, tags=dict(tags), **how))


async def _add(choice: Choice, what: Any, cron: str, **how: Any) -> None:
    async with choice.opened(create=True, rings=True) as engine:
        made = await engine.schedule(what, cron, **how)
    if choice.json:
        terminal.say_json(made)
        return
    terminal.say(terminal.clean(made.name))
    told = f"next run {terminal.stamp(made.next_run_at)}" if made.enabled else "disabled"
    terminal.note(f"{terminal.clean(made.explanation)}; {told}")


@schedules.command()
@click.argument("name", metavar="NAME")
@shared
def show(choice: Choice, name: str) -> None:
    """Show a schedule and its last runs."""
    asyncio.run(_show(choice, name))


async def _show(choice: Choice, name: str) -> None:
    async with choice.opened() as engine:
        found = await engine.get_schedule(name)
    if choice.json:
        terminal.say_json(found)
        return
    at = terminal.now()
    for label, value in _lines(found, at):
        if value not in (None, "", ()):
            terminal.say(f"{label:<12}{terminal.clean(value)}")


def _lines(found: Schedule, at: datetime) -> Sequence[tuple[str, object]]:
    error = found.last_error
    failed = "" if error is None else f"{error.get('type')}: {error.get('message')}"
    return (
        ("name", found.name),
        ("state", _state(found) or "enabled"),
        ("when", found.explanation),
        ("cron", f"{found.cron}  ({found.zone}, dst {found.dst})"),
        ("next run", _moment(found.next_run_at, at)),
        ("starts", f"{found.program} version {found.version}"),
        ("arguments", terminal.plain(found.state)),
        ("queue", f"{found.queue}, priority {found.priority}"),
        ("missed", f"catch up {found.catch_up}, up to {terminal.span(found.window_s)} old"),
        ("overlap", found.overlap),
        ("tags", ", ".join(f"{name}={value}" for name, value in found.tags.items())),
        ("jitter", terminal.span(found.jitter_s) if found.jitter_s else ""),
        ("last run", f"{_moment(found.last_run_at, at)}, {found.last_instance}" if found.last_instance else ""),
        ("running", ", ".join(found.running)),
        ("queued", ", ".join(map(terminal.stamp, found.queued))),
        ("last error", failed and f"{failed} ({terminal.ago(found.last_error_at, at)})"),
    )


def _moment(moment: datetime | None, at: datetime) -> str:
    return "" if moment is None else f"{terminal.stamp(moment)} ({terminal.ago(moment, at)})"


@schedules.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@shared
def enable(choice: Choice, names: tuple[str, ...]) -> None:
    """Let schedules fire from now on."""
    asyncio.run(_each(choice, names, "enabled", lambda engine, name: engine.enable_schedule(name)))


@schedules.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@shared
def disable(choice: Choice, names: tuple[str, ...]) -> None:
    """Let schedules fire no more; runs that exist go on."""
    asyncio.run(_each(choice, names, "disabled", lambda engine, name: engine.disable_schedule(name)))


@schedules.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@shared
def delete(choice: Choice, names: tuple[str, ...]) -> None:
    """Delete schedules; their runs stay."""
    asyncio.run(_each(choice, names, "deleted", lambda engine, name: engine.delete_schedule(name)))


async def _each(choice: Choice, names: tuple[str, ...], done: str, act: Callable[[Engine, str], Any]) -> None:
    async with choice.opened(rings=True) as engine:
        for name in names:
            await act(engine, name)
            if not choice.json:
                terminal.say(f"schedule {terminal.clean(name)} is {done}")
    if choice.json:
        terminal.say_json([{"name": name, "done": done} for name in names])


@schedules.command()
@click.argument("name", metavar="NAME")
@shared
def trigger(choice: Choice, name: str) -> None:
    """Start a run now and print its id; the next one comes as planned."""
    asyncio.run(_trigger(choice, name))


async def _trigger(choice: Choice, name: str) -> None:
    async with choice.opened(rings=True) as engine:
        handle = await engine.trigger_schedule(name)
    if choice.json:
        terminal.say_json({"id": handle.id})
    else:
        terminal.say(handle.id)
