"""The verdict: what the histories say against what the rows say. Each rule yields sentences; none is the aim."""

from __future__ import annotations

import json
from collections.abc import Iterator

from chaos.evidence import Evidence
from chaos.families import torn_apart
from chaos.history import Claim
from chaos.journals import misremembered
from chaos.mailbox import mislaid
from chaos.outdated import too_new
from chaos.pace import crowded, hasty
from chaos.programs import JOBS
from chaos.registers import out_of_line, undelivered, unrung
from chaos.repertoire import commits_of, failures_of, result_of, status_of
from chaos.steps import out_of_order
from outlast._kernel.states import FINAL

__all__ = ["Evidence", "check"]


def check(evidence: Evidence) -> list[str]:
    """Every breach of a promise, as a sentence."""
    rules = (lost, wrong, counted, run_twice, committed_twice, stale, unexplained, buried_alive, troubled)
    of_shapes = (
        out_of_order,
        mislaid,
        torn_apart,
        crowded,
        hasty,
        misremembered,
        out_of_line,
        undelivered,
        unrung,
        too_new,
    )
    return [sentence for rule in (*rules, *of_shapes) for sentence in rule(evidence)]


def lost(evidence: Evidence) -> Iterator[str]:
    """Every acknowledged start has ended well."""
    for id, (program, _) in evidence.starts.items():
        row = evidence.rows.get(id)
        if row is None and evidence.rows_may_go:
            if not evidence.may_have_ended(id):
                yield f"lost: {program} {id} was acknowledged, has not ended and is not in the database"
        elif row is None:
            yield f"lost: {program} {id} was acknowledged and is not in the database"
        elif row.status != status_of(program, json.loads(row.state)):
            yield f"lost: {program} {id} was acknowledged and is {row.status}"


def wrong(evidence: Evidence) -> Iterator[str]:
    """Every instance that has ended has the only right result. Also those whose start was not acknowledged."""
    starts = evidence.starts
    for row in evidence.rows.values():
        state = json.loads(row.state)
        n, right = state["n"], result_of(row.program, state)
        if row.id in starts and starts[row.id] != (row.program, n):
            yield f"wrong: {row.id} was started as {starts[row.id]} and is {(row.program, n)}"
        if row.status not in FINAL and row.status != status_of(row.program, state):
            yield f"unfinished: {row.program} {row.id} is {row.status}"
        elif (None if row.result is None else json.loads(row.result)) != right:
            yield f"wrong: {row.program} {row.id} ended as {row.status} with {row.result}, not {json.dumps(right)}"


def counted(evidence: Evidence) -> Iterator[str]:
    """The row has counted each outcome once, and takes no crash for a failed attempt."""
    for row in evidence.rows.values():
        failures, commits = failures_of(row.program, json.loads(row.state)), commits_of(row.program)
        if commits is not None and row.commits != commits:
            yield f"doubled: {row.program} {row.id} has {row.commits} commits, not {commits}"
        if row.attempt != failures:
            yield f"counted: {row.program} {row.id} has {row.attempt} failed attempts, not {failures}"
        if row.crashes and not evidence.crashes_may_count:
            yield f"taken: {row.program} {row.id} was taken from a node that lived, {row.crashes} times"
        if row.program in JOBS and row.commits + row.crashes > row.epoch:
            yield f"counted: {row.id} has {row.commits} commits and {row.crashes} crashes in {row.epoch} claims"


def run_twice(evidence: Evidence) -> Iterator[str]:
    """A claim is run by one process, once."""
    ran: dict[Claim, str] = {}
    for name, story in evidence.stories.items():
        for word, claim in story.repeated:
            if claim in evidence.undone:
                continue
            yield f"doubled: {name} has two {word}s of the claim {_shown(claim)}"
        for claim in story.runs:
            if claim in ran and claim not in evidence.undone:
                yield f"doubled: {ran[claim]} and {name} both ran the claim {_shown(claim)}"
            ran[claim] = name


def committed_twice(evidence: Evidence) -> Iterator[str]:
    """An outcome is acknowledged to one process, and an instance ends once."""
    acknowledged: dict[Claim, str] = {}
    ended: dict[str, Claim] = {}
    for name, claim, status in evidence.commits():
        if claim in acknowledged:
            yield f"doubled: {acknowledged[claim]} and {name} both committed the claim {_shown(claim)}"
        acknowledged[claim] = name
        if claim not in evidence.stories[name].runs:
            yield f"unheard of: {name} committed the claim {_shown(claim)} without having run it"
        if status in FINAL:
            id, epoch = claim
            if id in ended and ended[id] != claim:
                yield f"doubled: {id} ended in claim {ended[id][1]} and in claim {epoch}"
            ended[id] = claim


def stale(evidence: Evidence) -> Iterator[str]:
    """No outcome is acknowledged after a younger claim's, and the row knows the last one."""
    newest: dict[str, tuple[int, str]] = {}
    for _, (id, epoch), status in evidence.commits():
        newest[id] = max(newest.get(id, (0, "")), (epoch, status))
    for name, (id, epoch), status in evidence.commits():
        if status in FINAL and epoch < newest[id][0]:
            yield f"stale: {name} ended {id} in claim {epoch}, and claim {newest[id][0]} was committed too"
    for id, (epoch, status) in newest.items():
        row = evidence.rows.get(id)
        if row is not None and (row.commit_epoch < epoch or (status in FINAL and row.commit_epoch != epoch)):
            yield f"stale: {id} was committed in claim {epoch}, and its row says {row.commit_epoch}"


def unexplained(evidence: Evidence) -> Iterator[str]:
    """A run without a commit was cut off by something that was done to its process."""
    for name, story in evidence.stories.items():
        for claim in story.unacknowledged:
            if claim in evidence.undone or claim in story.withheld:
                continue
            if not evidence.explains(name, story.runs[claim]):
                fate = "refused" if claim in story.stale else "cut" if claim in story.cuts else "forgotten"
                yield f"unexplained: {name} ran the claim {_shown(claim)}, which was {fate}, and nothing was done to it"


def buried_alive(evidence: Evidence) -> Iterator[str]:
    """No node is declared dead within a lease of its last sign of life."""
    beats: dict[str, list[int]] = {}
    for story in evidence.stories.values():
        for node, signs_us in story.beats.items():
            beats.setdefault(node, []).extend(signs_us)
    lease_us = evidence.lease_s * 1e6
    for name, story in evidence.stories.items():
        for node, at_us in story.burials:
            silent_us = min((at_us - sign_us for sign_us in beats.get(node, ()) if sign_us <= at_us), default=lease_us)
            if silent_us < lease_us:
                yield f"buried alive: {name} declared {node} dead after {silent_us / 1e6:.3f} s of silence"


def troubled(evidence: Evidence) -> Iterator[str]:
    """The engine met nothing that it did not expect."""
    for name, story in evidence.stories.items():
        for trouble in story.troubles:
            yield f"trouble: {name}: {trouble}"


def _shown(claim: Claim) -> str:
    return f"{claim[0]}/{claim[1]}"
