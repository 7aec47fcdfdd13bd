"""SIGTERM, and again before the worker has ended: whoever asks twice does not want to wait."""

from __future__ import annotations

import signal
from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: jobs started, and workers told to end twice."""

    jobs: int
    ends: int


SIZES: Final = {"full": Size(5_000, 50), "ci": Size(120, 4)}
WORKERS: Final = 4
DRAIN_S: Final = 20.0
"""Far longer than anybody waits here."""
NAP_S: Final = (0.2, 1.0)
BETWEEN_S: Final = 0.1
EXIT_S: Final = 1.0
CODES: Final = (-signal.SIGTERM, 0)
"""0: it had nothing left to do before it was told again."""
_SLACK_S: Final = {"full": 0.0, "ci": 4.0}
"""On a machine that does other things, too."""


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Each ends at once, as by the signal. What it was at is run again elsewhere."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        arena.options = {"drain_timeout": DRAIN_S, "cancel_timeout": DRAIN_S}
        feeder = arena.feed(size.jobs, nap_s=NAP_S)
        for _ in range(WORKERS):
            arena.hire()
        for number in range(1, size.ends + 1):
            arena.allow(size.jobs * number // size.ends)
            arena.wait(0.1)
            victim = arena.catch() or arena.busy()[0]
            arena.terminate(victim)
            victim.let_go()
            arena.wait(BETWEEN_S)
            arena.await_so(lambda: victim.has_heard(signal.SIGTERM), timeout_s=20.0, what="the first SIGTERM")  # noqa: B023
            victim.send(signal.SIGTERM)
            arena.hire()
            arena.await_exit(victim, timeout_s=EXIT_S + _SLACK_S[scale], codes=CODES)
        arena.finish(feeder, patience_s=120.0)

    return stage("impatience", act, store=store, scale=scale, seed=seed, mutation=mutation)
