"""SIGTERM of workers at random points: an ordinary deployment."""

from __future__ import annotations

from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: jobs started, and workers told to end."""

    jobs: int
    ends: int


SIZES: Final = {"full": Size(10_000, 100), "ci": Size(500, 5)}
WORKERS: Final = 4
DRAIN_S: Final = 0.3
CANCEL_S: Final = 0.3
NAP_S: Final = (0.0, 0.5)
"""Some jobs take longer than a worker may to end: these are cut and given back."""
EXIT_S: Final = DRAIN_S + CANCEL_S + 1.5


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Ends workers and replaces them. No attempt and no crash is counted, and each ends with 0, in time."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        arena.crashes_may_count = False
        arena.options = {"drain_timeout": DRAIN_S, "cancel_timeout": CANCEL_S}
        feeder = arena.feed(size.jobs, nap_s=NAP_S)
        for _ in range(WORKERS):
            arena.hire()
        for number in range(1, size.ends + 1):
            arena.allow(size.jobs * number // size.ends)
            arena.wait(0.1)
            victim = arena.busy()[0]
            arena.terminate(victim)
            arena.hire()
            arena.await_exit(victim, timeout_s=EXIT_S)
        arena.finish(feeder, patience_s=60.0)
        arena.said += wasted(arena)

    return stage("drains", act, store=store, scale=scale, seed=seed, mutation=mutation)


def wasted(arena: Arena) -> list[str]:
    """Jobs that ended in time, and whose outcome was thrown away all the same."""
    stories = [watch.look() for watch in arena.watches.values()]
    return [
        f"wasted: {story.name} finished {id} in claim {epoch} and did not commit it"
        for story in stories
        for id, epoch in story.unacknowledged
        if (id, epoch) in story.ends
    ]
