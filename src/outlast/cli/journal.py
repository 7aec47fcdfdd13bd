"""`pending`, `input` and `graph`: what workflows ask people, and how they look."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from outlast._model import Instance, RecordedStep
from outlast.cli import terminal
from outlast.cli.options import Choice, Moment, shared
from outlast.graphs import Graph, dot, mermaid, svg, tree

_FORMATS: Final[dict[str, Callable[[Graph], str]]] = {"tree": tree, "mermaid": mermaid, "dot": dot, "svg": svg}
_BRIEF_CHARS: Final = 60


def say_steps(steps: Sequence[RecordedStep]) -> None:
    """What a workflow has recorded, as a timeline."""
    away = any(step.errand is not None for step in steps)
    rows = [
        (
            terminal.stamp(step.recorded_at),
            step.key,
            step.status if step.called else f"{step.status}, not called",
            step.attempt or "",
            "" if step.duration_s is None else f"{step.duration_s:.3f} s",
            _brief(step),
            *((step.errand or "",) if away else ()),
        )
        for step in steps
    ]
    headers = ("recorded", "what", "status", "failed", "took", "result", *(("errand",) if away else ()))
    terminal.say_table(headers, rows, right=("failed", "took"))


def _brief(step: RecordedStep) -> str:
    if step.error is not None and step.status != "done":
        text = f"{step.error.get('type')}: {step.error.get('message')}"
    elif step.status == "waiting":
        text = "" if step.wake_at is None else f"until {terminal.stamp(step.wake_at)}"
    else:
        text = terminal.json_text(step.value, indent=None)
    return text if len(text) <= _BRIEF_CHARS else f"{text[: _BRIEF_CHARS - 3]}..."


@click.command()
@click.option("--program", metavar="NAME", help="Only of this workflow.")
@click.option("--name", metavar="NAME", help="Only inputs of this name.")
@click.option(
    "--until", type=Moment(ahead=True), metavar="WHEN", help="Only those whose time is up by then: ISO 8601, or 2h."
)
@click.option("--signals", is_flag=True, help="Which signals are waited for, instead.")
@click.option("--signal", metavar="NAME", help="Who waits for a signal of this name, instead.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, help="At most so many (default 50).")
@shared
def pending(
    choice: Choice,
    program: str | None,
    name: str | None,
    until: datetime | None,
    signals: bool,
    signal: str | None,
    limit: int,
) -> None:
    """Show what workflows ask people, those first that have waited longest; or who waits for signals."""
    if (signals or signal) and name is not None:
        raise click.UsageError("--name is of an input; of a signal it is --signal.")
    if signals or signal:
        asyncio.run(_signals(choice, program, signal, until, limit))
    else:
        asyncio.run(_pending(choice, program, name, until, limit))


async def _signals(choice: Choice, program: str | None, signal: str | None, until: datetime | None, limit: int) -> None:
    found: list[Instance] = []
    async with choice.opened() as engine:
        everybody = engine.list_all(status="waiting", program=program, waiting_for=signal)
        async with aclosing(everybody):  # type: ignore[type-var]
            async for instance in everybody:
                if _signal_names(instance) and (until is None or _ends_by(instance, until)):
                    found.append(instance)
                if len(found) == limit:
                    break
    if choice.json:
        terminal.say_json(found)
        return
    if not found:
        terminal.note("nobody waits for a signal" if signal is None else f"nobody waits for {terminal.clean(signal)!r}")
        return
    at = terminal.now()
    rows = [
        (
            each.id,
            each.program,
            ", ".join(_signal_names(each)),
            terminal.ago(each.claimed_at, at),
            terminal.ago(each.wake_at, at),
            each.correlation_key,
        )
        for each in found
    ]
    terminal.say_table(("instance", "program", "waits for", "since", "until", "key"), rows)


def _signal_names(instance: Instance) -> list[str]:
    """What others may send; names with ~ are those of answers and of ends of children."""
    return [name for name in instance.awaits or () if not name.startswith("~")]


def _ends_by(instance: Instance, until: datetime) -> bool:
    return instance.wake_at is not None and instance.wake_at <= until


async def _pending(choice: Choice, program: str | None, name: str | None, until: datetime | None, limit: int) -> None:
    async with choice.opened() as engine:
        found = await engine.pending_inputs(program=program, name=name, until=until, limit=limit)
    if choice.json:
        terminal.say_json(found)
        return
    if not found:
        terminal.note("nobody is asked for anything")
        return
    at = terminal.now()
    rows = [
        (
            asked.instance,
            asked.program,
            asked.name,
            asked.type,
            terminal.ago(asked.since, at),
            terminal.ago(asked.until, at),
            asked.prompt or ", ".join(asked.choices) or ", ".join(str(field["name"]) for field in asked.fields),
        )
        for asked in found
    ]
    terminal.say_table(("instance", "workflow", "name", "type", "since", "until", "what"), rows)


@click.command(name="input")
@click.argument("id", metavar="ID")
@click.argument("name", metavar="NAME")
@click.argument("answer", metavar="[ANSWER]", required=False)
@click.option("--cancel", is_flag=True, help="Call it off instead: the workflow is told that nobody will answer.")
@click.option("--reason", metavar="TEXT", help="Why it is called off.")
@shared
def input_(choice: Choice, id: str, name: str, answer: str | None, cancel: bool, reason: str | None) -> None:
    """Answer what a workflow asks for. ID may be the beginning of one; ANSWER is JSON, else text: true, 5, "ann"."""
    if cancel == (answer is not None):
        raise click.UsageError("Give an ANSWER, or --cancel.")
    if reason is not None and not cancel:
        raise click.UsageError("--reason is for --cancel.")
    asyncio.run(_input(choice, id, name, answer, reason or ""))


def _read(answer: str) -> Any:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return answer


async def _input(choice: Choice, id: str, name: str, answer: str | None, reason: str) -> None:
    async with choice.opened(rings=True) as engine:
        instance = await engine.expand_id(id)
        if answer is None:
            result = await engine.cancel_input(instance, name, reason)
        else:
            result = await engine.provide_input(instance, name, _read(answer))
    if choice.json:
        terminal.say_json({"id": instance, "name": name, "result": result})
    else:
        terminal.say("somebody has answered already" if result == "duplicate" else result)


@click.command()
@click.argument("what", metavar="[APP:]WORKFLOW|ID")
@click.option("--format", "form", type=click.Choice(list(_FORMATS)), default="tree", help="How (default: tree).")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it to a file.")
@shared
def graph(choice: Choice, what: str, form: str, out: Path | None) -> None:
    """Draw a workflow from its code, or an instance's with its run on it. ID may be the beginning of one."""
    text = _FORMATS[form](asyncio.run(_graph(choice, what)))
    if out is not None:
        out.write_text(text, encoding="utf-8")
        terminal.note(f"{form} written to {out}")
    else:
        terminal.say(text.rstrip("\n"))


async def _graph(choice: Choice, what: str) -> Graph:
    app, _, name = what.rpartition(":")
    choice.name_app(app or None)
    choice.loaded()
    if not app and len(what) >= 8 and set(what.lower()) <= set("0123456789abcdef-"):
        async with choice.opened() as engine:
            return await engine.graph(await engine.expand_id(what))
    if choice.app is None:
        raise click.UsageError(f"Which module is {what!r} in? Write shop.flows:{what}, or give --app.")
    loaded = choice.loaded()
    found = None if loaded is None else getattr(loaded.module, name, None)
    return choice.engine().drawing(getattr(found, "outlast_workflow_name", name))
