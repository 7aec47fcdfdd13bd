"""Rules for limits: never more of a key at once than it has slots, never more of a rate limit than it has tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from chaos.evidence import Evidence, Pace
from chaos.history import Leg, Paid

SLACK_S: Final = 0.05
"""The history and the database count by different clocks."""
_HAIR: Final = 1e-6
"""Tokens that rounding may cost."""


def name_of(limit: str) -> str:
    """What a key or a rate limit is declared as: what stands before its partition."""
    return limit.partition("[")[0]


def crowded(evidence: Evidence) -> Iterator[str]:
    """Of the steps with one key never more run at once than it has slots."""
    for key, (most, when_us) in peaks(evidence).items():
        slots = evidence.slots.get(name_of(key), 1)
        if most > slots:
            yield f"crowded: {most} steps of key {key}, which has {slots} slots, ran at once at {when_us}"


def peaks(evidence: Evidence) -> dict[str, tuple[int, int]]:
    """By key: the most steps of it that ever ran at once, and when that was first so."""
    moments: dict[str, list[tuple[int, int]]] = {}
    for name, story in evidence.stories.items():
        last_us = _kill_us(evidence, name)
        graves_us = _graves_us(evidence, name)
        for leg in story.legs:
            row = evidence.rows.get(leg.id)
            if row is not None and row.concurrency_key is not None:
                ends = moments.setdefault(row.concurrency_key, [])
                ends += [(leg.began_us, 1), (_end_us(leg, last_us, graves_us), -1)]
    found: dict[str, tuple[int, int]] = {}
    for key, changes in moments.items():
        running = 0
        for at_us, change in sorted(changes):  # of one moment the ends come first.
            running += change
            if running > found.get(key, (0, 0))[0]:
                found[key] = (running, at_us)
    return found


def _end_us(leg: Leg, killed_us: int | None, graves_us: list[int]) -> int:
    """Until when a step counts as running: to the end of its code, or of its process, or of its node's lease."""
    ends = [at_us for at_us in (leg.ended_us, leg.cut_us, killed_us) if at_us is not None]
    ends += [at_us for at_us in graves_us if at_us >= leg.began_us]
    return max(leg.began_us + 1, min(ends, default=leg.began_us))


def _kill_us(evidence: Evidence, name: str) -> int | None:
    return next((fault.at_us for fault in evidence.faults if fault.kind == "kill" and fault.name == name), None)


def _graves_us(evidence: Evidence, name: str) -> list[int]:
    """When the leases ended of those nodes of a process that others have declared dead.

    What they held may be given to others from then on, whether the process knows it or not.
    """
    buried = {node for story in evidence.stories.values() for node, _ in story.burials}
    lease_us = int(evidence.lease_s * 1e6)
    return [max(beats) + lease_us for node, beats in evidence.stories[name].beats.items() if node in buried]


def hasty(evidence: Evidence) -> Iterator[str]:
    """In no span of time more tokens are taken than its beginning can have found and it brought."""
    taken: dict[str, list[Paid]] = {}
    for story in evidence.stories.values():
        for paid in story.paid:
            taken.setdefault(paid.limit, []).append(paid)
    for limit, found in taken.items():
        yield from _overdrawn(limit, found, evidence.paces[name_of(limit)], SLACK_S + evidence.clock_step_s)


def _overdrawn(limit: str, found: list[Paid], pace: Pace, slack_s: float) -> Iterator[str]:
    """Tokens were taken between two known moments: only those count that were certainly taken within the span."""
    found = sorted(found, key=lambda paid: paid.until_us)
    worst, told = 0.0, ""
    for since_us in sorted({paid.since_us for paid in found}):
        spent = 0.0
        for paid in found:
            if paid.since_us < since_us:
                continue
            spent += paid.weight
            lasted_s = (paid.until_us - since_us) / 1e6
            over = spent - pace.burst - pace.per_s * (lasted_s + slack_s) - _HAIR
            if over > worst:
                worst = over
                told = f"hasty: {spent:g} tokens of {limit} were taken in {lasted_s:.3f} s, {over:.1f} too many"
    if told:
        yield told
