"""What was done to the processes, and whether it hit them in the middle of something."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from chaos.history import Story

_EXCUSES = frozenset({"kill", "freeze", "term", "outage", "failover", "full", "cut", "hoard"})
"""Faults that may cost a run. Blocked loops and contention may not."""


@dataclass
class Fault:
    """One thing that was done.

    Attributes:
        kind: `kill`, `freeze`, `term`, `outage`, `failover`, `full`, `block`, `lock`, `cut` (some connections, or all
            of one process), `reset` (likewise, and they may be made again at once), `slow`, `clock`, `hoard` (of the
            interpreter's lock), `refusal` (of an outcome among others), `alone` (the same, of the only one), `deaf`
            (hints are dropped), `pin` (of old rows) or `power` (looked at afterwards, from what was on the disk at
            that moment).
        name: The process that it was done to; None: all of them.
        at_us: When, by the history's clock.
        until_us: When it was over; None: never.
    """

    kind: str
    name: str | None
    at_us: int
    until_us: int | None = None

    def hits(self, name: str) -> bool:
        """Whether it was done to this process."""
        return self.name is None or self.name == name

    def explains(self, name: str, began_us: int) -> bool:
        """Whether a run in this process, begun then, may have come to nothing because of it."""
        late = self.until_us is not None and began_us > self.until_us
        return self.kind in _EXCUSES and self.hits(name) and not late


def is_effective(fault: Fault, stories: Mapping[str, Story]) -> bool:
    """Whether it hit work: a step that was running or whose outcome was on its way, a signal that was being sent.

    A freeze, or what comes to the same, must also have lasted until others declared the process dead; while a loop was
    blocked, another process must have been there to do so.
    """
    if fault.kind == "alone":
        return False
    if fault.kind in ("deaf", "pin"):
        until_us = sys.maxsize if fault.until_us is None else fault.until_us
        return any(fault.at_us < at_us < until_us for story in stories.values() for at_us in story.runs.values())
    if fault.kind == "block":
        return any(_lived(story, fault) for name, story in stories.items() if name != fault.name)
    hit = [story for name, story in stories.items() if fault.hits(name) and story.is_busy_at(fault.at_us)]
    if fault.kind in ("freeze", "hoard"):
        return any(was_buried(story, fault, stories) for story in hit)
    return bool(hit)


def was_buried(story: Story, fault: Fault, stories: Mapping[str, Story]) -> bool:
    """Whether others have declared its process dead since it was hit, and before that was over."""
    until_us = sys.maxsize if fault.until_us is None else fault.until_us
    return any(
        node in story.beats and fault.at_us < at_us <= until_us
        for other in stories.values()
        for node, at_us in other.burials
    )


def _lived(story: Story, fault: Fault) -> bool:
    signs_us = [at_us for signs_us in story.beats.values() for at_us in signs_us]
    return any(at_us < fault.at_us for at_us in signs_us) and any(at_us > (fault.until_us or 0) for at_us in signs_us)


def recovery_us(fault: Fault, stories: Mapping[str, Story]) -> int:
    """How long it took until all that the fault had interrupted was run again, or, after an outage, anything was
    committed again. 0: nothing had to be."""
    if fault.kind not in _EXCUSES:
        return 0
    if fault.name is None:
        since_us = fault.until_us or fault.at_us
        after = [at for story in stories.values() for at, _ in story.commits.values() if at > since_us]
        return min(after, default=since_us) - since_us
    story = stories[fault.name]
    # What was committed after all is not run again; if it is, that is its next attempt, which has a time of its own.
    interrupted = dict(claim for claim in story.open_at(fault.at_us) if not story.is_settled(claim))
    if not interrupted:
        return 0
    again: dict[str, int] = {}
    for other in stories.values():
        for (id, epoch), at_us in other.runs.items():
            if id in interrupted and epoch > interrupted[id]:
                again[id] = min(at_us, again.get(id, at_us))
    return max([0, *(at_us - fault.at_us for at_us in again.values())])
