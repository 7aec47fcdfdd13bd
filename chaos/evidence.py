"""All that a verdict rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from chaos.faults import Fault
from chaos.history import WORKFLOW, Claim, Leg, Mark, Story
from chaos.place import Mail, Note, Row
from outlast._kernel.states import FINAL


class Pace(NamedTuple):
    """A rate limit: tokens that come in a second, and how many pile up at most."""

    per_s: float
    burst: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that the verdict rests on.

    Attributes:
        stories: Histories by process.
        faults: What was done to the processes.
        rows: What the database holds in the end.
        mail: The signals that it holds.
        journal: What workflows have recorded in it.
        cells: The state of every object that was called, as the database holds it.
        lease_s: The nodes' lease.
        crashes_may_count: Whether a claim may have been taken from a dead node.
        slots: How many steps of a key may run at once, by the key's name.
        paces: Rate limits by name.
        undone: Claims that the database has lost, in a failover: their numbers are given out again.
        lost_replies: Connections that were cut. An outcome may have been written all the same, and others have gone on
            from there, before its process asks again: then it is told that the claim is no longer its own.
        rows_may_go: Whether what has ended may have been deleted since.
        clock_step_s: How far the machine's clock was set while the run lasted: the database counts by it.
    """

    stories: Mapping[str, Story]
    faults: Sequence[Fault]
    rows: Mapping[str, Row]
    lease_s: float
    crashes_may_count: bool
    mail: Sequence[Mail] = ()
    journal: Sequence[Note] = ()
    cells: Mapping[str, Any] = field(default_factory=dict)
    slots: Mapping[str, int] = field(default_factory=dict)
    paces: Mapping[str, Pace] = field(default_factory=dict)
    undone: frozenset[Claim] = frozenset()
    lost_replies: Sequence[Fault] = ()
    rows_may_go: bool = False
    clock_step_s: float = 0.0

    @property
    def starts(self) -> dict[str, tuple[str, int]]:
        """Program and argument of every acknowledged start, by id."""
        return {id: start for story in self.stories.values() for id, start in story.starts.items()}

    def commits(self) -> Iterator[tuple[str, Claim, str]]:
        """The last acknowledged commit of every claim that the database has: process, claim, status."""
        for name, story in self.stories.items():
            for claim, (_, status) in story.commits.items():
                if claim in self.undone:
                    continue
                yield name, claim, status

    def legs(self) -> dict[str, list[tuple[str, Leg]]]:
        """Every time that a step's code began, with its process, by instance."""
        found: dict[str, list[tuple[str, Leg]]] = {}
        for name, story in self.stories.items():
            for leg in story.legs:
                found.setdefault(leg.id, []).append((name, leg))
        return found

    def marks(self) -> dict[str, list[tuple[str, Mark]]]:
        """What the steps of workflows have come to, with the process, by instance, one claim after the other."""
        found: dict[str, list[tuple[str, Mark]]] = {}
        for name, story in self.stories.items():
            for mark in story.marks:
                found.setdefault(mark.id, []).append((name, mark))
        for marks in found.values():
            marks.sort(key=lambda named: (named[1].epoch, named[1].at_us))  # stable: those of one moment, as written.
        return found

    def runs(self) -> tuple[int, int]:
        """How often the code of a step began, and how many outcomes that should have taken.

        A workflow's own code runs again by design: its steps count instead.
        """
        legs = sum(leg.step != WORKFLOW for story in self.stories.values() for leg in story.legs)
        begun = [mark for story in self.stories.values() for mark in story.marks if mark.word == "begin"]
        workflows = {mark.id for mark in begun}
        if self.rows_may_go:
            return legs, len(list(self.commits()))
        commits = sum(row.commits for id, row in self.rows.items() if id not in workflows)
        return legs + len(begun), commits + len({(mark.id, mark.key, mark.attempt) for mark in begun})

    def may_have_ended(self, id: str) -> bool:
        """Whether an end of this instance was acknowledged, or was perhaps on its way when its process was killed."""
        return id in self._ended

    @cached_property
    def _ended(self) -> set[str]:
        ended = {id for _, (id, _), status in self.commits() if status in FINAL}
        killed = [fault for fault in self.faults if fault.kind == "kill" and fault.name is not None]
        return ended | {id for fault in killed for id, _ in self.stories[fault.name or ""].open_at(fault.at_us)}

    def explains(self, name: str, began_us: int) -> bool:
        """Whether a run that came to nothing had a reason: a fault, or a lease that its process knows to be lost."""
        if any(fault.explains(name, began_us) for fault in (*self.faults, *self.lost_replies)):
            return True
        story = self.stories[name]
        return any(at_us >= began_us for at_us in (*story.lost_us, *story.pauses_us))
