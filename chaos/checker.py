"""The verdict: what the histories say against what the rows say. Each rule yields sentences; none is the aim."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chaos.faults import Fault
from chaos.history import Claim, Story
from chaos.place import Row
from chaos.programs import FAILURES, answer

_FINAL = ("done", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that the verdict rests on.

    Attributes:
        stories: Histories by process.
        faults: What was done to the processes.
        rows: What the database holds in the end.
        lease_s: The nodes' lease.
        crashes_may_count: Whether a claim may have been taken from a dead node.
    """

    stories: Mapping[str, Story]
    faults: Sequence[Fault]
    rows: Mapping[str, Row]
    lease_s: float
    crashes_may_count: bool

    @property
    def starts(self) -> dict[str, tuple[str, int]]:
        """Program and argument of every acknowledged start, by id."""
        return {id: start for story in self.stories.values() for id, start in story.starts.items()}

    def commits(self) -> Iterator[tuple[str, Claim, str]]:
        """Every acknowledged commit: process, claim, status."""
        for name, story in self.stories.items():
            for claim, (_, status) in story.commits.items():
                yield name, claim, status

    def explains(self, name: str, began_us: int) -> bool:
        """Whether a run that came to nothing had a reason: a fault, or a lease that its process knows to be lost."""
        if any(fault.explains(name, began_us) for fault in self.faults):
            return True
        story = self.stories[name]
        return any(at_us >= began_us for at_us in (*story.lost_us, *story.pauses_us))


def check(evidence: Evidence) -> list[str]:
    """Every breach of a promise, as a sentence."""
    rules = (lost, wrong, counted, run_twice, committed_twice, stale, unexplained, buried_alive, troubled)
    return [sentence for rule in rules for sentence in rule(evidence)]


def lost(evidence: Evidence) -> Iterator[str]:
    """Every acknowledged start has ended well."""
    for id, (program, _) in evidence.starts.items():
        row = evidence.rows.get(id)
        if row is None:
            yield f"lost: {program} {id} was acknowledged and is not in the database"
        elif row.status != "done":
            yield f"lost: {program} {id} was acknowledged and is {row.status}"


def wrong(evidence: Evidence) -> Iterator[str]:
    """Every instance that has ended has the only right result. Also those whose start was not acknowledged."""
    starts = evidence.starts
    for row in evidence.rows.values():
        n = json.loads(row.state)["n"]
        if row.id in starts and starts[row.id] != (row.program, n):
            yield f"wrong: {row.id} was started as {starts[row.id]} and is {(row.program, n)}"
        if row.status not in _FINAL:
            yield f"unfinished: {row.program} {row.id} is {row.status}"
        elif row.result != str(answer(n)):
            yield f"wrong: {row.program} {row.id} ended as {row.status} with {row.result}, not {answer(n)}"


def counted(evidence: Evidence) -> Iterator[str]:
    """The row has counted each outcome once, and takes no crash for a failed attempt."""
    for row in evidence.rows.values():
        failures = FAILURES.get(row.program, 0)
        if row.commits != failures + 1:
            yield f"doubled: {row.program} {row.id} has {row.commits} commits, not {failures + 1}"
        if row.attempt != failures:
            yield f"counted: {row.program} {row.id} has {row.attempt} failed attempts, not {failures}"
        if row.crashes and not evidence.crashes_may_count:
            yield f"taken: {row.program} {row.id} was taken from a node that lived, {row.crashes} times"
        if row.commits + row.crashes > row.epoch:
            yield f"counted: {row.id} has {row.commits} commits and {row.crashes} crashes in {row.epoch} claims"


def run_twice(evidence: Evidence) -> Iterator[str]:
    """A claim is run by one process, once."""
    ran: dict[Claim, str] = {}
    for name, story in evidence.stories.items():
        for word, claim in story.repeated:
            yield f"doubled: {name} has two {word}s of the claim {_shown(claim)}"
        for claim in story.runs:
            if claim in ran:
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
        if status in _FINAL:
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
        if status in _FINAL and epoch < newest[id][0]:
            yield f"stale: {name} ended {id} in claim {epoch}, and claim {newest[id][0]} was committed too"
    for id, (epoch, status) in newest.items():
        row = evidence.rows.get(id)
        if row is not None and (row.commit_epoch < epoch or (status in _FINAL and row.commit_epoch != epoch)):
            yield f"stale: {id} was committed in claim {epoch}, and its row says {row.commit_epoch}"


def unexplained(evidence: Evidence) -> Iterator[str]:
    """A run without a commit was cut off by something that was done to its process."""
    for name, story in evidence.stories.items():
        for claim in story.unacknowledged:
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
