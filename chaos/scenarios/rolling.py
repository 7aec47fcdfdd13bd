"""A rolling deployment, and some of it taken back: two editions of one application run side by side."""

from __future__ import annotations

from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.editions import SHARES
from chaos.members import Member
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: instances that each edition starts, and workers that are replaced."""

    rows: int
    restarts: int


SIZES: Final = {"full": Size(5_000, 100), "ci": Size(120, 10)}
WORKERS: Final = 4
NAP_S: Final = (0.0, 0.03)
PURSES: Final = {1: "budget", 2: "new-budget"}
DRAIN_S: Final = 0.3
CANCEL_S: Final = 0.3
EXIT_S: Final = DRAIN_S + CANCEL_S + 5.0
KILL_EVERY: Final = 4
"""So many are told to end, and then one is killed."""


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Replaces workers of the first edition by some of the second, more and more of them, in the middle of work.

    Half of what each edition starts is there from the beginning: when the first worker goes, all of it is in flight.
    """
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        arena.options = {"drain_timeout": DRAIN_S, "cancel_timeout": CANCEL_S}
        feeders = [
            arena.feed(size.rows, nap_s=NAP_S, shares=SHARES, later=0.1, edition=edition, purse=purse)
            for edition, purse in PURSES.items()
        ]
        old = {arena.hire(edition=1).name for _ in range(WORKERS)}
        for number in range(1, size.restarts + 1):
            for purse in PURSES.values():
                arena.allow(size.rows // 2 + size.rows * number // size.restarts // 2, purse=purse)
            arena.wait(0.1)
            is_new = arena.dice.random() < number / size.restarts
            hired = _replace(arena, 2 if is_new else 1, kill=number % KILL_EVERY == 0)
            if not is_new:
                old.add(hired.name)
        for last in [member for member in arena.workers() if member.name in old]:
            _replace(arena, 2, kill=False, victim=last)
        for feeder in feeders[:-1]:
            arena.await_exit(feeder, timeout_s=60.0)
        arena.finish(feeders[-1], patience_s=180.0)
        arena.more |= _turned(arena)

    return stage("rolling", act, store=store, scale=scale, seed=seed, mutation=mutation)


def _replace(arena: Arena, edition: int, *, kill: bool, victim: Member | None = None) -> Member:
    """One worker goes, in the middle of work if possible, and one of that edition comes."""
    if kill:
        arena.strike()
        return arena.hire(edition=edition)
    victim = victim or arena.busy()[0]
    arena.terminate(victim)
    hired = arena.hire(edition=edition)
    arena.await_exit(victim, timeout_s=EXIT_S)
    return hired


def _turned(arena: Arena) -> dict[str, object]:
    """How much of it was begun by one edition and went on in the other."""
    evidence = arena.evidence()
    editions: dict[str, set[int]] = {}
    for id, legs in evidence.legs().items():
        editions[id] = {evidence.stories[name].edition for name, _ in legs}
    both = [evidence.rows[id].program for id, found in editions.items() if found == {1, 2} and id in evidence.rows]
    begun = [id for story in evidence.stories.values() if story.edition == 1 for id in story.starts]
    upgraded = sum(evidence.rows[id].version == 2 for id in begun if id in evidence.rows)
    return {
        "run by both editions": f"{both.count('tour'):,} tours, {both.count('visit'):,} visits",
        "tours upgraded": upgraded,
    }
