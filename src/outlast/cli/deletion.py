"""`delete`: single instances, or all that have ended and fit, in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import click

from outlast._kernel.states import FINAL
from outlast.cli import terminal
from outlast.cli.options import DURATION, TAG, Choice, shared
from outlast.cli.steering import steer_each


@click.command()
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.option("--status", multiple=True, type=click.Choice(sorted(FINAL)), help="All in this status; may be repeated.")
@click.option("--older-than", type=DURATION, metavar="DURATION", help="All that ended so long ago: 7d, 12h; 0: all.")
@click.option("--program", metavar="NAME", help="All of this program.")
@click.option("--queue", metavar="NAME", help="All of this queue.")
@click.option("--tag", "tags", type=TAG, multiple=True, metavar="NAME=VALUE", help="All with this tag; repeatable.")
@click.option("--roots", is_flag=True, help="Only those that nobody has spawned.")
@click.option("--dry-run", is_flag=True, help="Only count them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared
def delete(
    choice: Choice,
    ids: tuple[str, ...],
    status: tuple[str, ...],
    tags: tuple[tuple[str, str], ...],
    dry_run: bool,
    yes: bool,
    **filters: Any,
) -> None:
    """Delete instances for good: those with an ID (a running one must be cancelled first), or all that fit the options.

    Options mean what has ended; children whose parent has not are spared. All options that are given must fit.
    """
    wanted = {**filters, "status": status or None, "tags": dict(tags) or None}
    has_filter = any(value is not None and value is not False for value in wanted.values())
    if bool(ids) == has_filter:
        raise click.UsageError("Give the IDs of instances, or options such as --status and --older-than.")
    if ids and (dry_run or yes):
        raise click.UsageError("--dry-run and --yes are for options, not for IDs.")
    if ids:
        steer_each(choice, ids, "deleted", lambda engine, id: engine.delete(id))
        return
    count = asyncio.run(_delete_many(choice, wanted, dry_run=True)) if dry_run or not yes else 0
    if dry_run:
        _say(choice, count, "would be deleted", dry_run=True)
        return
    if not yes:
        click.confirm(f"Delete {count:,} for good?", abort=True, err=True)
    _say(choice, asyncio.run(_delete_many(choice, wanted, dry_run=False)), "deleted", dry_run=False)


async def _delete_many(choice: Choice, wanted: Mapping[str, Any], *, dry_run: bool) -> int:
    async with choice.opened() as engine:
        return await engine.delete_many(**wanted, dry_run=dry_run)


def _say(choice: Choice, count: int, done: str, *, dry_run: bool) -> None:
    if choice.json:
        terminal.say_json({"count": count, "dry_run": dry_run})
    else:
        terminal.say(f"{count:,} {done}")
