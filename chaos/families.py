"""Rules for children: each runs once for its parent, which wakes once, when all have ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from chaos.evidence import Evidence
from chaos.history import Leg
from chaos.place import Row


def torn_apart(evidence: Evidence) -> Iterator[str]:
    """Each parent has all its children, once each, and goes on after the last of them."""
    children: dict[str, list[Row]] = {}
    for row in evidence.rows.values():
        if row.parent is not None:
            children.setdefault(row.parent, []).append(row)
    legs = evidence.legs()
    for id, found in children.items():
        if id not in evidence.rows:
            yield f"orphaned: {len(found)} children of {id}, which is not in the database"
            continue
        parent = evidence.rows[id]
        if parent.program != "family":
            continue  # a trip's child: see `journals.py`.
        yield from _counted(parent, found)
        yield from _woken(evidence, parent, found, legs.get(id, ()))


def _counted(parent: Row, found: Sequence[Row]) -> Iterator[str]:
    wanted = json.loads(parent.state)["children"]
    places = sorted(row.child for row in found)
    if places != list(range(wanted)):
        yield f"doubled: {parent.id} has {len(found)} children at {len(set(places))} places, not {wanted}"


def _woken(evidence: Evidence, parent: Row, found: Sequence[Row], legs: Sequence[tuple[str, Leg]]) -> Iterator[str]:
    joins = [(name, leg) for name, leg in legs if leg.step == "join"]
    woken_us = min((leg.began_us for _, leg in joins), default=None)
    if woken_us is None:
        return  # that it has not ended is said elsewhere.
    ended_us = {claim: at_us for story in evidence.stories.values() for claim, at_us in story.ends.items()}
    early = [row for row in found if ended_us.get((row.id, row.commit_epoch), woken_us) >= woken_us]
    if early:
        yield f"early: {parent.id} was woken while {len(early)} of its {len(found)} children had not ended"
    spawned = [leg for _, leg in legs if leg.step == "start" and leg.began_us > woken_us]
    yield from (f"again: {parent.id} spawned in claim {leg.epoch}, after its children had ended" for leg in spawned)
    kept = [leg.epoch for _, leg in joins if leg.committed_us is not None]
    if len(kept) > 1:
        yield f"doubled: {parent.id} was woken {len(kept)} times, in claims {kept}"
