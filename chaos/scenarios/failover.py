"""The Postgres primary dies, and its replica takes its place."""

from __future__ import annotations

import time
from functools import partial
from typing import Final, NamedTuple

from chaos import tails
from chaos.arena import Arena, stage
from chaos.history import now_us
from chaos.pairs import Pair, pair
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: jobs and machines started, each, and promotions."""

    starts: int
    promotions: int


SIZES: Final = {"full": Size(7_500, 50), "ci": Size(80, 2)}
LEASE_S: Final = 1.0
WORKERS: Final = 3
KEYS: Final = {"gate": 0.5, "wide": 0.5}
SLOTS: Final = {"gate": 2, "wide": 5}
BACK_S: Final = 5.0 + LEASE_S
"""Seconds within which work has to go on, from the kill on, in 19 of 20 failovers."""
_LAG_S: Final = (0.05, 0.4)
_SILENCE_S: Final = 0.25


def run(*, store: str, scale: str, seed: int, mutation: str | None = None, synchronous: bool = True) -> Report:
    """Kills the primary under work and promotes the replica; most times that has fallen behind.

    A synchronous one loses nothing that was acknowledged; of an asynchronous one it is said what it has lost.
    """
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        assert isinstance(arena.place, Pair)
        arena.slots = SLOTS
        arena.options = {"connect_timeout": 2.0, "concurrency_limits": SLOTS}
        feeders = [
            arena.feed(size.starts, nap_s=(0.0, 0.05), keys=KEYS),
            arena.feed(size.starts, nap_s=(0.0, 0.01), program="chain"),
        ]
        for _ in range(WORKERS):
            arena.hire()
        lost: list[tails.Tail] = []
        for number in range(1, size.promotions + 1):
            before = arena.commits()
            arena.allow(size.starts * number // size.promotions)
            arena.await_commits(before + 20, patience_s=30.0)
            tail = _fail_over(arena, arena.place)
            lost.append(tail)
            arena.said += tail.wrong
            if number < size.promotions:
                arena.place.follow()
        arena.await_exit(feeders[1], timeout_s=60.0)
        arena.finish(feeders[0], patience_s=120.0)
        _tell(arena, lost, synchronous=synchronous)

    return stage(
        "failover" if synchronous else "failover-async",
        act,
        store=store,
        scale=scale,
        seed=seed,
        lease_s=LEASE_S,
        mutation=mutation,
        make_place=partial(pair, synchronous=synchronous),
    )


def _fail_over(arena: Arena, place: Pair) -> tails.Tail:
    """One failover. Returns what it has lost."""
    if arena.dice.random() < 0.75:
        place.hold_back()
        time.sleep(arena.dice.uniform(*_LAG_S))
    with arena.fault("failover"):
        place.kill()
        _await_silence(arena)
        promoted = place.applied()
        # Before anybody is let in again: nothing that the promoted server acknowledges is among this.
        starts = {name: set(watch.look().starts) for name, watch in arena.watches.items()}
        at_us = now_us()
        place.promote()
    arena.await_commit()
    left, written = place.left()
    stories = {name: watch.look() for name, watch in arena.watches.items()}
    tail = tails.judge(stories, starts, at_us=at_us, left=left, promoted=promoted, written=written)
    tails.forget(stories, tail)
    arena.undone |= tail.undone
    return tail


def _await_silence(arena: Arena) -> None:
    """Waits until the processes have read all that the dead server had answered: that is not the next one's word."""

    def told() -> int:
        return sum(len(watch.look().starts) for watch in arena.watches.values()) + arena.commits()

    before, since = told(), time.monotonic()
    while time.monotonic() < since + _SILENCE_S:
        time.sleep(0.02)
        if (now := told()) != before:
            before, since = now, time.monotonic()


def _tell(arena: Arena, lost: list[tails.Tail], *, synchronous: bool) -> None:
    stories = {name: watch.look() for name, watch in arena.watches.items()}
    commits_us = sorted(at_us for story in stories.values() for at_us, _ in story.commits.values())
    backs_us = []
    for fault in arena.faults:
        promoted_us = fault.until_us or fault.at_us
        backs_us.append(min((at_us for at_us in commits_us if at_us > promoted_us), default=1 << 62) - fault.at_us)
    backs_us.sort()
    p95_s = backs_us[max(0, -(-len(backs_us) * 19 // 20) - 1)] / 1e6
    if p95_s > BACK_S:
        arena.said.append(f"slow: in one of twenty failovers work went on after {p95_s:.1f} s, not within {BACK_S:g} s")
    starts, outcomes = sum(len(tail.starts) for tail in lost), sum(len(tail.outcomes) for tail in lost)
    if synchronous:
        arena.said += [f"lost: the start of {id} was acknowledged to {name}" for t in lost for name, id in t.starts]
        arena.said += [f"lost: {name} committed {leg.id}/{leg.epoch}" for t in lost for name, leg in t.outcomes]
    arena.more = {
        "work goes on after, p95 s": round(p95_s, 2),
        "after at most, s": round(backs_us[-1] / 1e6, 2),
        "lost tail": f"{starts} starts, {outcomes} outcomes in {sum(bool(t.starts or t.outcomes) for t in lost)} tails",
    }
    if doubled := tails.forget_zombies(stories, arena.undone):
        arena.more["commits that two processes were told of"] = doubled
