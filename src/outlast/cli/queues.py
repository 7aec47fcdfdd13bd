"""`queues`: how many wait where, and pausing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import click

from outlast._model import QueueCounts
from outlast.cli import terminal
from outlast.cli.options import Choice, shared

_HEADERS = ("queue", "ready", "running", "scheduled", "blocked", "waiting", "oldest ready", "paused")


@click.group(invoke_without_command=True)
@shared
def queues(choice: Choice) -> None:
    """Show live instances by queue; pause or resume queues."""
    if click.get_current_context().invoked_subcommand is None:
        asyncio.run(_show(choice))


async def _show(choice: Choice) -> None:
    async with choice.opened() as engine:
        found = await engine.queues()
    if choice.json:
        terminal.say_json(found)
    elif found:
        say_queues(found)
    else:
        terminal.note("no live instances, and no queue is paused")


def say_queues(found: Sequence[QueueCounts]) -> None:
    """The table of queues."""
    at = terminal.now()
    rows = [
        (
            queue.name,
            queue.ready,
            queue.running,
            queue.scheduled,
            queue.blocked,
            queue.waiting,
            "" if queue.oldest_ready_s is None else terminal.span(queue.oldest_ready_s),
            terminal.ago(queue.paused_at, at),
        )
        for queue in found
    ]
    terminal.say_table(_HEADERS, rows, right=_HEADERS[1:7])


@queues.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@shared
def pause(choice: Choice, names: tuple[str, ...]) -> None:
    """Let nobody claim from these queues until they are resumed. What runs goes on."""
    asyncio.run(_set(choice, names, paused=True))


@queues.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@shared
def resume(choice: Choice, names: tuple[str, ...]) -> None:
    """Take a pause back."""
    asyncio.run(_set(choice, names, paused=False))


async def _set(choice: Choice, names: tuple[str, ...], *, paused: bool) -> None:
    async with choice.opened(rings=True) as engine:
        known = {queue.name: queue for queue in await engine.queues()}
        for name in names:
            await (engine.pause_queue if paused else engine.resume_queue)(name)
    if choice.json:
        terminal.say_json([{"name": name, "paused": paused} for name in names])
        return
    full = [name for name, counts in known.items() if _live(counts)]
    for name in names:
        terminal.say(f"queue {terminal.clean(name)} is {'paused' if paused else 'not paused'}")
        if paused and name not in full:
            others = f" (not empty: {_listed(full)})" if full else ""
            terminal.note(f"it is empty now; what comes will wait{others}")
        elif not paused and (name not in known or known[name].paused_at is None):
            were = (other for other, counts in known.items() if counts.paused_at is not None)
            terminal.note(f"it was not paused before either; paused were: {_listed(were)}")


def _live(counts: QueueCounts) -> int:
    return counts.scheduled + counts.ready + counts.blocked + counts.running + counts.waiting


def _listed(names: Iterable[str]) -> str:
    return ", ".join(terminal.clean(name) for name in names) or "none"
