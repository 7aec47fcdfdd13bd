"""`logs`: what an instance's steps have logged and printed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

import click

from outlast._model import LogLine
from outlast.cli import terminal
from outlast.cli.options import Choice, expand_target, shared
from outlast.engine import Engine
from outlast.engine.checks import is_id
from outlast.errors import NotFound, ResultTimeout

FOLLOW_S: Final = 0.5
"""Seconds between two looks for new lines."""
LATE_S: Final = 1.0
"""The last lines of an instance that has just ended may still be on their way for so long."""
_COLOURS: Final = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "bright_black"}


@click.command()
@click.argument("target", metavar="ID|KEY")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until the instance has ended.")
@click.option("--level", metavar="LEVEL", help="Only this level or above: info, warning, error.")
@click.option("--step", metavar="STEP", help="Only this step: its name, a key such as charge#2, or a branch's path.")
@shared
def logs(choice: Choice, target: str, follow: bool, level: str | None, step: str | None) -> None:
    """Show what an instance's steps have logged and printed, oldest first.

    By default the lines of workflows are kept; the setting log_capture says whose. With --json and -f each line is an
    object of its own.
    """
    asyncio.run(_logs(choice, target, follow, {"level": level, "step": step}))


async def _logs(choice: Choice, target: str, follow: bool, filters: dict[str, Any]) -> None:
    async with choice.opened(rings=follow) as engine:
        id = await expand_target(engine, target)
        if follow:
            await _follow(choice, engine, await _id_of(engine, id), filters)
            return
        found: list[LogLine] = []
        errands = await _errands(engine, id)
        async for line in engine.all_logs(id, **filters):
            if choice.json or errands:
                found.append(line)
            else:
                _say(line)
                found[:] = [line]
        if errands:
            for errand in errands:
                found += [line async for line in engine.all_logs(errand, **filters)]
            found.sort(key=lambda line: line.at)
            if not choice.json:
                for line in found:
                    _say(line)
    if choice.json:
        terminal.say_json(found)
    elif not found:
        terminal.note("no lines are kept" if not any(filters.values()) else "no lines fit")


async def _id_of(engine: Engine, target: str) -> str:
    if is_id(target):
        return target
    found = await engine.find(target)
    if found is None:
        raise NotFound(f"no instance has the id or correlation key {target!r}")
    return found.id


async def _errands(engine: Engine, target: str) -> list[str]:
    """The instances in which steps of a workflow have run elsewhere: each keeps what its step has said."""
    return [step.errand for step in await engine.steps(target) if step.errand is not None]


async def _follow(choice: Choice, engine: Engine, id: str, filters: dict[str, Any]) -> None:
    last: dict[str, LogLine] = {}
    over = False
    while True:
        for source in (id, *await _errands(engine, id)):
            async for line in engine.all_logs(source, after=last.get(source), **filters):
                last[source] = line
                if choice.json:
                    terminal.say_json(line, indent=None)
                else:
                    _say(line)
        if over:
            return
        over = await _has_ended(engine, id)


async def _has_ended(engine: Engine, id: str) -> bool:
    """Waits a little for the end. Whether it came, and nothing more is on its way."""
    instance = await engine.get(id)
    try:
        await engine.ended(instance.id, FOLLOW_S)
    except ResultTimeout:
        return False
    ended_at = instance.finished_at
    if ended_at is None or terminal.now() - ended_at < timedelta(seconds=LATE_S):
        await asyncio.sleep(LATE_S)
    return True


def _say(line: LogLine) -> None:
    again = f" (attempt {line.attempt + 1})" if line.attempt else ""
    level = click.style(f"{terminal.clean(line.level):<8}", fg=_COLOURS.get(line.level))
    first, *rest = terminal.clean_lines(line.message).splitlines() or [""]
    trace = str((line.fields or {}).get("traceback") or "")
    rest += terminal.clean_lines(trace.rstrip()).splitlines()
    at = f"{line.at:%Y-%m-%d %H:%M:%S}.{line.at.microsecond // 1000:03}"
    terminal.say(f"{at} {level} {terminal.clean(line.step)}{again}: {first}")
    for text in rest:
        terminal.say(f"    {text}")
