"""`stats` and `doctor`: how much there is, and what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click

from outlast._model import Node
from outlast.cli import terminal
from outlast.cli.diagnosis import Finding, of_alarms, of_nodes, of_queues, of_schedules, of_standing, silent_s
from outlast.cli.objects import say_counts
from outlast.cli.options import Choice, shared
from outlast.cli.queues import say_queues
from outlast.cli.schedules import all_schedules


@click.command()
@shared
def stats(choice: Choice) -> None:
    """Show how many instances there are, by status and by queue, the objects, and the workers that live."""
    asyncio.run(_stats(choice))


async def _stats(choice: Choice) -> None:
    async with choice.opened() as engine:
        totals, queues, nodes = await engine.totals(), await engine.queues(), await engine.nodes()
        objects = await engine.count_objects()
    if choice.json:
        terminal.say_json({"totals": totals, "queues": queues, "objects": objects, "nodes": nodes})
        return
    terminal.say_table(("status", "instances"), sorted(totals.items()), right=("instances",))
    if queues:
        terminal.say("")
        say_queues(queues)
    if objects:
        terminal.say("")
        say_counts(objects)
    terminal.say("")
    if nodes:
        _say_nodes(nodes)
    else:
        terminal.say("no worker is alive")


def _say_nodes(nodes: Sequence[Node]) -> None:
    at = terminal.now()
    rows = [
        (
            node.id[:12],
            node.host,
            node.pid,
            node.running,
            terminal.ago(node.started_at, at),
            terminal.ago(node.renewed_at, at),
        )
        for node in nodes
    ]
    terminal.say_table(("node", "host", "pid", "holds", "started", "renewed"), rows, right=("pid", "holds"))


@click.command()
@shared
def doctor(choice: Choice) -> None:
    """Look for what is wrong with the database and the work in it. Exit code 1 when there is a problem.

    Reads the whole file of a SQLite database once, to see that it is sound.
    """
    findings = asyncio.run(_examine(choice))
    problems = sum(level == "problem" for level, _, _ in findings)
    if choice.json:
        told = [{"level": level, "subject": subject, "message": message} for level, subject, message in findings]
        terminal.say_json({"findings": told, "problems": problems})
    else:
        terminal.say_table(("level", "about", "finding"), findings)
    if problems:
        raise click.exceptions.Exit(1)


async def _examine(choice: Choice) -> list[Finding]:
    async with choice.opened() as engine:
        findings: list[Finding] = list(await engine.findings())
        # What is held before who holds it: a node that registers in between must not be missed.
        standing, queues, nodes = await engine.standing(), await engine.queues(), await engine.nodes()
        schedules = await all_schedules(engine)
        alarms = [alarm for each in await engine.count_objects() for alarm in await engine.list_alarms(each.type)]
    alive = [node for node in nodes if silent_s(node, standing) <= node.lease_s]
    findings += of_nodes(nodes, alive, standing)
    findings += of_queues(queues, alive)
    findings += of_standing(standing, queues, alive)
    findings += of_schedules(schedules, standing, alive)
    findings += of_alarms(alarms, standing, alive)
    return findings
