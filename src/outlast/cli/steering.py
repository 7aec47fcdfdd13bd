"""Commands that do the same to each of several instances."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import click

from outlast._model import Instance
from outlast.cli import terminal
from outlast.cli.options import Choice
from outlast.engine import Engine
from outlast.errors import UsageError

Act = Callable[[Engine, str], Awaitable[Instance | None]]


def steer_each(choice: Choice, ids: tuple[str, ...], done: str, act: Act) -> None:
    """Does it to each; one that fails does not stop the others. A single one that fails is the command's own error."""
    failed = asyncio.run(_steer(choice, ids, done, act))
    if failed:
        raise click.exceptions.Exit(1)


async def _steer(choice: Choice, ids: tuple[str, ...], done: str, act: Act) -> int:
    answers: list[dict[str, Any]] = []
    failed = 0
    async with choice.opened(rings=True) as engine:
        for given in ids:
            try:
                id = await engine.expand_id(given)
                instance = await act(engine, id)
            except UsageError as error:
                if len(ids) == 1:
                    raise
                failed += 1
                answers.append({"id": given, "error": type(error).__name__, "message": str(error)})
                if not choice.json:
                    terminal.note(f"outlast: {terminal.clean(error)}")
                continue
            answers.append({"id": id, "status": "deleted" if instance is None else instance.status})
            if not choice.json:
                terminal.say(f"{id} {done}")
    if choice.json:
        terminal.say_json(answers)
    return failed
