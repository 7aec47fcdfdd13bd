"""What `doctor` makes of workers, queues and rows. Pure: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from outlast._model import Node, QueueCounts, Schedule, Standing
from outlast.cli import terminal
from outlast.objects import PendingAlarm

Finding = tuple[str, str, str]
"""Level (`ok`, `warning`, `problem`), subject, sentence."""

LONG_READY_S: Final = 600.0
"""A program whose ready instances wait longer than this is one that no worker knows, or hardly gets to."""
LAG_S: Final = 60.0
"""A queue whose oldest ready instance waits longer than this is behind."""


def silent_s(node: Node, standing: Standing) -> float:
    """Seconds since a node's last renewal, by the store's clock."""
    return (standing.now - node.renewed_at).total_seconds()


def of_nodes(nodes: Sequence[Node], alive: Sequence[Node], standing: Standing) -> Iterator[Finding]:
    """Which workers are dead, and which alive."""
    for node in nodes:
        if node not in alive:
            yield (
                "problem",
                "dead worker",
                f"process {node.pid} on {node.host} has been silent for {terminal.span(silent_s(node, standing))}, "
                f"longer than its lease of {terminal.span(node.lease_s)}, and holds {node.running:,} instances; "
                + ("the others take them over within moments" if alive else "start a worker: it takes them over"),
            )
    if alive:
        yield "ok", "workers", f"{len(alive)} alive: " + ", ".join(f"{node.host}:{node.pid}" for node in alive)


def of_queues(queues: Sequence[QueueCounts], alive: Sequence[Node]) -> Iterator[Finding]:
    """Which queues nobody serves, or serves fast enough."""
    behind = False
    for queue in queues:
        waited_s = queue.oldest_ready_s or 0.0
        behind = behind or waited_s > LAG_S
        if queue.paused_at is not None:
            yield "warning", "paused queue", f"{queue.name!r} is paused, with {queue.ready:,} instances ready"
        elif queue.ready and not alive:
            yield (
                "problem",
                "no worker",
                f"{queue.ready:,} instances are ready in {queue.name!r} and no worker is alive",
            )
        elif waited_s > LAG_S and not queue.running:
            yield (
                "problem",
                "unserved queue",
                f"{queue.ready:,} instances are ready in {queue.name!r}, the oldest for {terminal.span(waited_s)}, and "
                "none runs: does a worker serve this queue (worker --queues), and know its programs?",
            )
        elif waited_s > LAG_S:
            yield "warning", "lag", f"the oldest ready instance in {queue.name!r} has waited {terminal.span(waited_s)}"
    if not behind:
        longest_s = max((queue.oldest_ready_s or 0.0 for queue in queues), default=0.0)
        yield "ok", "lag", f"the oldest ready instance has waited {terminal.span(longest_s)}"


def of_schedules(schedules: Sequence[Schedule], standing: Standing, alive: Sequence[Node]) -> Iterator[Finding]:
    """Which schedules do not fire though they should."""
    for schedule in schedules:
        name = f"{schedule.name!r}"
        late_s = (standing.now - (schedule.next_run_at or standing.now)).total_seconds()
        if schedule.auto_disabled_at is not None:
            yield (
                "problem",
                "schedule",
                f"{name} was switched off {terminal.ago(schedule.auto_disabled_at, standing.now)}, after "
                f"{schedule.consecutive_failures} runs failed in a row: outlast schedules show, then enable",
            )
        elif schedule.enabled and schedule.next_run_at is None:
            yield "warning", "schedule", f"{name} is enabled and will never fire again: {schedule.explanation}"
        elif schedule.enabled and late_s > LAG_S:
            who = "the workers cannot fire it; see their logs" if alive else "no worker is alive"
            yield "problem", "schedule", f"{name} was due {terminal.span(late_s)} ago and has not fired: {who}"


def of_alarms(alarms: Sequence[PendingAlarm], standing: Standing, alive: Sequence[Node]) -> Iterator[Finding]:
    """Which alarms of objects do not ring though they should, or have failed for good; a line for each class."""
    for type in sorted({alarm.type for alarm in alarms}):
        mine = [alarm for alarm in alarms if alarm.type == type]
        failed = [alarm for alarm in mine if alarm.failed]
        late = [alarm for alarm in mine if not alarm.failed and (standing.now - alarm.due_at).total_seconds() > LAG_S]
        if failed:
            yield (
                "warning",
                "alarms",
                f"{len(failed):,} alarms of {type} have failed for good, such as {failed[0].name!r} of "
                f"{failed[0].id!r}: outlast objects show {type} {failed[0].id}",
            )
        if late:
            waited = terminal.span((standing.now - late[0].due_at).total_seconds())
            who = f"does any worker know {type}?" if alive else "no worker is alive"
            yield (
                "problem",
                "alarms",
                f"{len(late):,} alarms of {type} are due, the first for {waited}, and do not ring: {who}",
            )


def of_standing(standing: Standing, queues: Sequence[QueueCounts], alive: Sequence[Node]) -> Iterator[Finding]:
    """Which rows are stuck."""
    if standing.quarantined:
        yield (
            "problem",
            "quarantine",
            f"{standing.quarantined:,} instances cannot be run: outlast list --status quarantined, then show, and "
            "retry, cancel or delete",
        )
    if standing.overdue:
        yield (
            "problem",
            "overdue",
            f"{standing.overdue:,} scheduled instances are due, the first for {terminal.span(standing.overdue_s)}, and "
            "nobody makes them ready: no worker that may (maintenance) is alive",
        )
    if standing.ownerless:
        level = "warning" if alive else "problem"
        yield (
            level,
            "stuck rows",
            f"{standing.ownerless:,} instances run on a worker that is gone; the next one frees them",
        )
    paused = {queue.name for queue in queues if queue.paused_at is not None}
    for program in standing.ready:
        if program.oldest_s > LONG_READY_S and program.queue not in paused:
            yield (
                "problem",
                "waiting program",
                f"{program.instances:,} of {program.program!r} version {program.version} are ready in "
                f"{program.queue!r}, the oldest for {terminal.span(program.oldest_s)}: does any worker know it?",
            )
