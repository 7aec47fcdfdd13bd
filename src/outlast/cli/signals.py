"""`signal` and `signals`: what passes into an instance from the shell, and what lies in its inbox."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import click

from outlast.cli import terminal
from outlast.cli.options import Choice, expand_target, shared
from outlast.errors import ArgumentError


@click.command()
@click.argument("target", metavar="ID|KEY")
@click.argument("name", metavar="NAME")
@click.option("--payload", metavar="JSON", help="What it carries; - reads it from standard input. Default: null.")
@click.option("--dedup-key", metavar="KEY", help="Of signals with the same key only the first counts.")
@shared
def signal(choice: Choice, target: str, name: str, payload: str | None, dedup_key: str | None) -> None:
    """Send a signal to an instance, by its id (or the beginning of it) or its correlation key."""
    asyncio.run(_signal(choice, target, name, _read(payload), dedup_key))


def _read(payload: str | None) -> Any:
    text = sys.stdin.read() if payload == "-" else payload
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f'--payload must be JSON, such as {{"amount": 1}} or "text": {error}') from None


async def _signal(choice: Choice, target: str, name: str, payload: Any, dedup_key: str | None) -> None:
    async with choice.opened(rings=True) as engine:
        result = await engine.signal(await expand_target(engine, target), name, payload, dedup_key=dedup_key)
    if choice.json:
        terminal.say_json({"target": target, "result": result})
    else:
        terminal.say({"no_target": "no such instance", "ended": "the instance has ended"}.get(result, result))
    if result in ("no_target", "ended"):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("target", metavar="ID|KEY")
@shared
def signals(choice: Choice, target: str) -> None:
    """Show an instance's signals: what no step has used up, and used ones that have a dedup key."""
    asyncio.run(_signals(choice, target))


async def _signals(choice: Choice, target: str) -> None:
    async with choice.opened() as engine:
        found = await engine.signals(await expand_target(engine, target))
    if choice.json:
        terminal.say_json(found)
        return
    if not found:
        terminal.note("no signals")
        return
    at = terminal.now()
    rows = [
        (
            letter.name,
            terminal.ago(letter.sent_at, at),
            "" if letter.consumed_at is None else terminal.ago(letter.consumed_at, at),
            letter.dedup_key,
            terminal.json_text(letter.payload, indent=None),
        )
        for letter in found
    ]
    terminal.say_table(("name", "sent", "used", "dedup key", "payload"), rows)
