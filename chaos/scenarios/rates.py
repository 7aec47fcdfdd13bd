"""Steps with rate limits, while workers are killed in the middle of them."""

from __future__ import annotations

from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.evidence import Pace
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: jobs started, kills, and the mean time between them."""

    jobs: int
    kills: int
    gap_s: float


SIZES: Final = {"full": Size(6_000, 60, 0.3), "ci": Size(250, 5, 0.1)}
PACES: Final = {"slow": Pace(30.0, 5.0), "quick": Pace(150.0, 40.0)}
SHARES: Final = {"slow/a": 1.0, "slow/b": 1.0, "quick": 5.0}
"""Rate limits, two of them partitions of one name, and how often each is chosen."""
WORKERS: Final = 4
LEASE_S: Final = 0.5
NAP_S: Final = (0.02, 0.1)


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Kills workers and replaces them. No span of time sees more claims than the burst and what came in it allow."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        arena.paces = PACES
        arena.options = {
            "rate_limits": {name: f"{pace.per_s:g}/s burst {pace.burst:g}" for name, pace in PACES.items()}
        }
        feeder = arena.feed(size.jobs, nap_s=NAP_S, rates=SHARES)
        arena.allow(size.jobs)  # all at once: there is always somebody waiting for tokens.
        for _ in range(WORKERS):
            arena.hire()
        for _ in range(size.kills):
            arena.wait(size.gap_s)
            arena.strike()
            arena.hire()
        arena.finish(feeder, patience_s=300.0 if scale == "full" else 180.0)
        arena.more["tokens"] = round(sum(paid.weight for watch in arena.watches.values() for paid in watch.look().paid))

    return stage("rates", act, store=store, scale=scale, seed=seed, lease_s=LEASE_S, mutation=mutation)
