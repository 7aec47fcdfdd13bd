"""Postgres goes away for a while under a steady load: how often it is asked for, and how soon the backlog is gone."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.arrivals import Arrivals
from chaos.gauges import percentile
from chaos.history import now_us
from chaos.place import PostgresPlace
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: how long each outage lasts, jobs a second, and what the backlog may take beyond its share."""

    outages_s: tuple[float, ...]
    per_s: float
    slack_s: float


SIZES: Final = {
    "full": Size((1.0, 2.0, 5.0, 10.0, 1.0, 20.0, 3.0, 60.0, 5.0, 30.0), 300.0, 3.0),
    "ci": Size((0.5, 2.2), 100.0, 10.0),
}
LEASE_S: Final = 1.0
WORKERS: Final = 3
NAP_S: Final = (0.0, 0.02)
DIALS_PER_S: Final = 2.0
"""Connections that a process may try in a second of an outage, beside those of its heartbeat; and some at its
beginning, when it still knows nothing."""
BEATS_PER_LEASE: Final = 10
"""A renewal that failed is tried again after a quarter to half of a third of a lease: eight times on average."""
DIALS_AT_ONCE: Final = 12
CLEARS: Final = 1.5
"""The backlog is worked off at so many times the pace of arrival."""
_BETWEEN_S: Final = 1.0


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """No worker dies, so none may lose a claim; nobody storms the server; the backlog clears."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        assert isinstance(arena.place, PostgresPlace)
        server = arena.place.server
        arena.crashes_may_count = False
        arena.gauged = True
        arena.options = {"connect_timeout": 2.0}
        feeder = arena.feed(None, nap_s=NAP_S, shares={"nap": 1.0}, later=0.0)
        for _ in range(WORKERS):
            arena.hire(concurrency=50)
        for member in arena.members:
            arena.await_so(lambda watch=member.watch: bool(watch.look().ups_us), timeout_s=20.0, what="an engine")  # type: ignore[misc]
        arrivals = Arrivals(arena, size.per_s)
        paces: list[float] = []
        dials: list[float] = []
        for outage_s in size.outages_s:
            arrivals.go_on(_BETWEEN_S)
            arrivals.go_on(10.0, until=lambda: bool(arena.busy(patience_s=0.0)[0].watch.is_busy))
            since_us = now_us()
            with arena.fault("outage"):
                server.kill_postmaster()
                arrivals.go_on(outage_s)
                server.start()
            back_at = time.monotonic()
            dials.append(dialled(arena, since_us, now_us()))
            backlog = arrivals.due - arena.commits()
            patience_s = backlog / size.per_s / (CLEARS - 1) + size.slack_s
            is_clear = arrivals.go_on(
                patience_s, until=lambda: arrivals.due - arena.commits() < size.per_s * NAP_S[1] + 60
            )
            took_s = time.monotonic() - back_at
            if not is_clear:
                arena.said.append(
                    f"behind: of a backlog of {backlog} after {outage_s:g} s much is left {took_s:.1f} s on"
                )
            paces.append((backlog + size.per_s * took_s) / took_s)
        arrivals.end()
        arena.finish(feeder, patience_s=60.0)
        too_many = [most for most in dials if most > 1.0]
        arena.said += [f"storm: {most:.1f} times as many connections were tried as allowed" for most in too_many]
        arena.more["backlog cleared at, median"] = f"{percentile(paces, 0.5) / size.per_s:.1f} times the arrivals"
        arena.more["connections tried, of those allowed"] = f"{max(dials):.2f} at most"

    return stage("recoveries", act, store=store, scale=scale, seed=seed, lease_s=LEASE_S, mutation=mutation)


def dialled(arena: Arena, since_us: int, until_us: int) -> float:
    """How many connections the busiest worker has tried in that time, as a share of what it may."""
    allowed = (DIALS_PER_S + BEATS_PER_LEASE / arena.lease_s) * (until_us - since_us) / 1e6 + DIALS_AT_ONCE
    counts = [
        sum(since_us <= at_us <= until_us for at_us in worker.watch.look().dials_us) for worker in arena.workers()
    ]
    return max(counts) / allowed
