"""What stands in the database: `list`, `show`, `cancel`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import click

from outlast._kernel.program import WORKFLOW
from outlast._kernel.states import ALL
from outlast._model import Instance
from outlast.cli import terminal
from outlast.cli.acts import say_acts
from outlast.cli.journal import say_steps
from outlast.cli.options import TAG, Choice, Moment, shared
from outlast.cli.steering import steer_each
from outlast.engine import PAGE_MAX, Engine
from outlast.errors import ResultTimeout

WATCH_S: Final = 0.5
"""Seconds between looks of `show --watch`."""
_HEADERS = ("id", "program", "status", "queue", "attempt", "created", "due", "key", "note")


@click.command("list")
@click.option("--status", multiple=True, type=click.Choice(ALL), help="Only in this status; may be repeated.")
@click.option("--program", metavar="NAME", help="Only of this program.")
@click.option("--queue", metavar="NAME", help="Only of this queue.")
@click.option("--key", metavar="KEY", help="Only with this correlation key.")
@click.option("--tag", "tags", type=TAG, multiple=True, metavar="NAME=VALUE", help="With this tag; may be repeated.")
@click.option("--waiting-for", metavar="SIGNAL", help="Only those that wait for a signal of this name.")
@click.option("--roots", is_flag=True, help="Only those that nobody has spawned.")
@click.option("--paused/--not-paused", default=None, help="Only what is paused, or is not.")
@click.option("--since", type=Moment(back=True), metavar="WHEN", help="Created then or later: ISO 8601, or 2h (ago).")
@click.option("--until", type=Moment(back=True), metavar="WHEN", help="Created before then.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@click.option("--before", metavar="ID", help="Go on after this id, the last one of the page before.")
@click.option("--json-lines", is_flag=True, help="One JSON object per line, written as they are read.")
@shared
def list_command(
    choice: Choice,
    status: tuple[str, ...],
    program: str | None,
    queue: str | None,
    key: str | None,
    tags: tuple[tuple[str, str], ...],
    waiting_for: str | None,
    roots: bool,
    paused: bool | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    before: str | None,
    json_lines: bool,
) -> None:
    """List instances, newest first."""
    filters = {
        "status": status or None,
        "program": program,
        "queue": queue,
        "correlation_key": key,
        "tags": dict(tags) or None,
        "waiting_for": waiting_for,
        "roots": roots,
        "paused": paused,
        "created_after": since,
        "created_before": until,
    }
    asyncio.run(_list(choice, filters, limit, before, json_lines))


async def _list(choice: Choice, filters: dict[str, Any], limit: int, before: str | None, json_lines: bool) -> None:
    found: list[Instance] = []
    async with choice.opened() as engine:
        last = None if before is None else await engine.expand_id(before)
        async with aclosing(_pages(engine, filters, limit, last)) as instances:
            async for instance in instances:
                if json_lines:
                    terminal.say_json(instance, indent=None)
                else:
                    found.append(instance)
    if json_lines:
        return
    if choice.json:
        terminal.say_json(found)
        return
    if not found:
        terminal.note("no instances fit" if any(value is not None for value in filters.values()) else "no instances")
        return
    at = terminal.now()
    terminal.say_table(_HEADERS, [_line(instance, at) for instance in found], right=("attempt",))
    if len(found) == limit:
        terminal.note(f"there may be more: --before {found[-1].id}, or a higher --limit")


async def _pages(
    engine: Engine, filters: dict[str, Any], limit: int, before: str | None
) -> AsyncGenerator[Instance, None]:
    left = limit
    while left > 0:
        page = min(left, PAGE_MAX)
        found = await engine.list(limit=page, before=before, **filters)
        for instance in found:
            yield instance
        if len(found) < page:
            return
        left, before = left - page, found[-1].id


def _line(instance: Instance, at: datetime) -> tuple[object, ...]:
    due = terminal.ago(instance.due_at, at) if instance.status == "scheduled" else ""
    return (
        instance.id,
        instance.program,
        instance.status,
        instance.queue,
        instance.attempt or "",
        terminal.ago(instance.created_at, at),
        due,
        instance.correlation_key,
        _brief(instance),
    )


def _brief(instance: Instance) -> str:
    if instance.paused_at is not None:
        text = f"paused: {instance.pause_reason}" if instance.pause_reason else "paused"
        return text if len(text) <= 60 else f"{text[:57]}..."
    if instance.status in ("running", "waiting") and instance.progress is not None:
        return _far(instance)
    text = _told(instance.error) or ""
    if instance.status == "done":
        return ""
    return text if len(text) <= 60 else f"{text[:57]}..."


@click.command()
@click.argument("id", metavar="ID")
@click.option("--watch", is_flag=True, help="Say what changes until it ends; then show all of it.")
@shared
def show(choice: Choice, id: str, watch: bool) -> None:
    """Show all of one instance. ID may be the beginning of one."""
    asyncio.run(_show(choice, id, watch))


async def _show(choice: Choice, id: str, watch: bool) -> None:
    async with choice.opened(rings=watch) as engine:
        id = await engine.expand_id(id)
        if watch:
            await _watch(engine, id)
        instance = await engine.get(id)
        steps = await engine.steps(instance) if instance.step == WORKFLOW else []
        children = await engine.totals(parent=instance)
        acts = await engine.acts(instance.id)
    if choice.json:
        shown = {field.name: getattr(instance, field.name) for field in fields(instance)}
        shown |= ({"steps": steps} if steps else {}) | ({"acts": acts} if acts else {})
        terminal.say_json(shown | {"children": children} if children else shown)
        return
    pairs = _fields(instance, terminal.now())
    pairs.append(("children", ", ".join(f"{count:,} {status}" for status, count in sorted(children.items()))))
    terminal.say_pairs((name, value) for name, value in pairs if value not in (None, ""))
    if steps:
        terminal.say("")
        say_steps(steps)
    if acts:
        terminal.say("")
        say_acts(acts)
    trace = "" if instance.error is None else str(instance.error.get("traceback") or "").strip()
    if trace:
        terminal.say("\n" + terminal.clean_lines(trace))


async def _watch(engine: Engine, id: str) -> None:
    """Says what changes of an instance, until it has ended."""
    said: object = None
    while True:
        instance = await engine.get(id)
        now = (instance.status, instance.step, instance.attempt, instance.progress)
        if now != said:
            said = now
            attempt = f"attempt {instance.attempt + 1}" if instance.attempt else ""
            words = (terminal.stamp(terminal.now()), instance.status, instance.step, attempt, _far(instance))
            terminal.note("  ".join(terminal.clean(word) for word in words if word))
        try:
            await engine.ended(id, WATCH_S)
        except ResultTimeout:
            continue
        return


def _far(instance: Instance) -> str:
    progress = instance.progress
    return "" if progress is None else f"{progress.fraction:.0%} {progress.note}".strip()


def _told(error: dict[str, Any] | None) -> str | None:
    return None if error is None else f"{error.get('type')}: {error.get('message')}"


def _fields(instance: Instance, at: datetime) -> list[tuple[str, Any]]:
    moments = ("created_at", "due_at", "claimed_at", "finished_at", "expires_at")
    return [
        ("id", instance.id),
        ("program", f"{instance.program} (version {instance.version})"),
        ("step", instance.step),
        ("status", instance.status),
        ("paused", _moment(instance.paused_at, at)),
        ("paused because", instance.pause_reason),
        ("queue", instance.queue),
        ("priority", instance.priority),
        ("correlation key", instance.correlation_key),
        ("tags", ", ".join(f"{name}={value}" for name, value in instance.tags.items())),
        ("failed attempts", instance.attempt),
        ("crashes", instance.crashes or None),
        ("claims", instance.epoch),
        ("node", instance.node),
        ("awaits", None if instance.awaits is None else ", ".join(instance.awaits)),
        ("wakes", _moment(instance.wake_at, at)),
        ("parent", instance.parent and f"{instance.parent} (round {instance.round}, child {instance.child})"),
        ("concurrency key", instance.concurrency_key),
        ("rate limit", instance.rate_limit and f"{instance.rate_limit} (weight {instance.rate_weight:g})"),
        ("blocked on", instance.blocked_on),
        ("fair key", instance.fair_key),
        *((name.removesuffix("_at"), _moment(getattr(instance, name), at)) for name in moments),
        ("progress", _far(instance)),
        ("state", terminal.json_text(instance.state, indent=None)),
        ("result", terminal.json_text(instance.result, indent=None) if instance.status == "done" else None),
        ("error" if instance.status != "done" else "last error", _told(instance.error)),
    ]


def _moment(moment: datetime | None, at: datetime) -> str | None:
    return None if moment is None else f"{terminal.stamp(moment)} ({terminal.ago(moment, at)})"


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--reason", default="", help="Why; kept with the instance.")
@click.option("--tree", is_flag=True, help="Their live descendants, too.")
@shared
def cancel(choice: Choice, ids: tuple[str, ...], reason: str, tree: bool) -> None:
    """End live instances as cancelled, whatever they are doing."""
    steer_each(choice, ids, "cancelled", lambda engine, id: engine.cancel(id, reason, tree=tree))
