"""What a failover may lose: outcomes and starts whose place in the log the promoted server has never seen.

Judged are three accounts of the moment of the kill: the histories (what was acknowledged), the rows of the replica
before it is promoted, and the rows that the dead primary has on its disk. A row's `xmin` says which transaction wrote
it last, and the log of the dead primary says which of these stand behind the place where the replica's ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

from chaos.history import Claim, Leg, Story
from chaos.machines import CHAIN

_VERSIONS = "SELECT id::text, xmin::text::bigint, epoch, commits, commit_epoch, status FROM outlast.instances"


class Version(NamedTuple):
    """An instance's row: which transaction wrote it last, and how far the instance is."""

    xmin: int
    epoch: int
    commits: int
    commit_epoch: int
    status: str


Versions = Mapping[str, Version]


def versions(connection: psycopg.Connection[Any]) -> Versions:
    """All instances of a server, by id."""
    return {id: Version(*values) for id, *values in connection.execute(_VERSIONS).fetchall()}


@dataclass(kw_only=True)
class Tail:
    """What one failover has lost.

    Attributes:
        at_us: When the old primary was dead, and no other server had answered yet.
        starts: Acknowledged starts that are gone, by process.
        outcomes: Steps whose outcome was acknowledged and is gone, by process.
        undone: Claims that the promoted server does not know, or whose outcome it does not have. Their numbers are
            given out again, and processes may still be at work on them: no rule for claims can speak of these.
        wrong: What does not fit together, as sentences.
    """

    at_us: int
    starts: set[tuple[str, str]] = field(default_factory=set)
    outcomes: list[tuple[str, Leg]] = field(default_factory=list)
    undone: set[Claim] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


def judge(
    stories: Mapping[str, Story],
    starts: Mapping[str, set[str]],
    *,
    at_us: int,
    left: Versions,
    promoted: Versions,
    written: set[int],
) -> Tail:
    """Compares the three accounts.

    Args:
        stories: The histories; only what they tell of the time until `at_us` counts.
        starts: What was acknowledged by then, by process.
        at_us: Before any other server answered.
        left: The rows of the dead primary.
        promoted: Those of the replica, when it had applied all that it had received.
        written: Transactions that the dead primary has committed behind that place.
    """
    tail = Tail(at_us=at_us, wrong=list(_unpredicted(left, promoted, written)))
    for name, known in starts.items():
        for id in known - promoted.keys():
            tail.starts.add((name, id))
            if id not in left:
                tail.wrong.append(f"lost: {id} was acknowledged, and the server that did so does not have it")
    tail.outcomes = list(_surplus(stories, at_us, promoted))
    tail.undone = {(leg.id, leg.epoch) for _, leg in tail.outcomes}
    for name, leg in _surplus(stories, at_us, left):
        tail.wrong.append(
            f"lost: the outcome of {leg.step} of {leg.id}/{leg.epoch} was acknowledged to {name}, and the server that "
            "did so does not have it"
        )
    for id, row in left.items():
        tail.undone |= {(id, epoch) for epoch in range(_epoch(promoted, id) + 1, row.epoch + 1)}
    return tail


def _epoch(rows: Versions, id: str) -> int:
    return rows[id].epoch if id in rows else 0


def _unpredicted(left: Versions, promoted: Versions, written: set[int]) -> Iterator[str]:
    """The two servers differ in the rows that were written behind the replica's place, and in no others."""
    for id in left.keys() | promoted.keys():
        ours = left.get(id)
        if ours is None:
            yield f"tail: the promoted server has {id}, which the dead one has never had"
        elif (ours != promoted.get(id)) != (ours.xmin in written):
            what = "differs, and is not behind" if ours != promoted.get(id) else "is the same, and is behind"
            yield f"tail: {id} {what} the place where the replica's log ends"


def _surplus(stories: Mapping[str, Story], at_us: int, rows: Versions) -> Iterator[tuple[str, Leg]]:
    """Steps with an acknowledged outcome that a server has not counted: the last ones of their instance."""
    found: dict[str, list[tuple[str, Leg]]] = {}
    for name, story in stories.items():
        for leg in story.legs:
            if _is_told(leg, at_us):
                found.setdefault(leg.id, []).append((name, leg))
    for id, legs in found.items():
        commits = rows[id].commits if id in rows else 0
        once: dict[tuple[int, str], tuple[str, Leg]] = {}
        for name, leg in sorted(legs, key=lambda named: (named[1].epoch, named[1].committed_us)):
            once.setdefault((leg.epoch, leg.step), (name, leg))  # two may have been told of one commit: see `forget`.
        yield from list(once.values())[commits:]


def forget(stories: Mapping[str, Story], tail: Tail) -> None:
    """Takes what was lost out of the histories: it has not happened."""
    lost = {(leg.id, leg.epoch, leg.step) for _, leg in tail.outcomes}
    for name, start in tail.starts:
        del stories[name].starts[start]
    for name, leg in tail.outcomes:
        stories[name].commits.pop((leg.id, leg.epoch), None)
    for story in stories.values():
        story.legs = [leg for leg in story.legs if not (_is_told(leg, tail.at_us) and _step(leg) in lost)]


def forget_zombies(stories: Mapping[str, Story], undone: set[Claim]) -> int:
    """Takes out what processes did about claims that the database had lost, and somebody else has committed.

    Who is still at work on a lost claim and who has it by now bear the same number: the first of them commits, and the
    other one hears that this very outcome is there. Returns how often two were told of one commit.
    """
    told: set[tuple[str, int, str]] = set()
    doubled = 0
    for story in stories.values():
        kept: list[Leg] = []
        for leg in story.legs:
            if (leg.id, leg.epoch) in undone:
                if leg.committed_us is None:
                    if (
                        leg.step not in CHAIN
                    ):  # these have no key that they could crowd, and all their steps are asked for.
                        continue
                elif _step(leg) in told:
                    doubled += 1
                    continue
                else:
                    told.add(_step(leg))
            kept.append(leg)
        story.legs = kept
    return doubled


def _step(leg: Leg) -> tuple[str, int, str]:
    return leg.id, leg.epoch, leg.step


def _is_told(leg: Leg, until_us: int) -> bool:
    return leg.committed_us is not None and leg.committed_us <= until_us
