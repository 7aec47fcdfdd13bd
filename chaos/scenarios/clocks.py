"""Wall clocks that jump, and that run too fast or too slowly: those of workers, and that of the database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import psycopg

from chaos.arena import Arena, stage
from chaos.faults import Fault
from chaos.history import now_us
from chaos.place import MakePlace, NoPlace, PostgresPlace, make_tables, sqlite_place
from chaos.report import Report
from harness.binaries import NoPostgres
from harness.clocks import Clock, Clocks, NoClocks, clocks
from harness.postgres import PostgresServer


class Size(NamedTuple):
    """How much of it: jobs and machines started, each, and times that some clock is set."""

    starts: int
    jumps: int


SIZES: Final = {
    ("sqlite", "full"): Size(6_000, 200),
    ("sqlite", "ci"): Size(120, 6),
    ("postgres", "full"): Size(12_000, 400),
    ("postgres", "ci"): Size(120, 8),
}
"""On Postgres every other jump is one of the server's clock. On SQLite the workers' clocks are the database's."""
WORKERS: Final = 3
JUMPS_S: Final = (1.0, 60.0, 3_600.0, 86_400.0)
SERVER_JUMPS_S: Final = (1.0, 60.0, 3_600.0)
RATES: Final = (0.9, 1.1)
DRIFT_EVERY: Final = 5
"""Every so many times a clock does not jump, but begins to run at another pace."""
LAST_S: Final = 2 * JUMPS_S[-1]
"""In the end all clocks are ahead of all that they ever showed: what was put off by any of them is due then."""


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Sets clocks under work. No worker dies or stops, so none may lose a claim."""
    size = SIZES[store, scale]
    try:
        with clocks() as maker:
            server = maker.clock("server")
            make_place: MakePlace = sqlite_place
            if store == "postgres":
                make_place = partial(_clocked_place, maker.environment(server))
            return stage(
                "clocks",
                lambda arena: _act(arena, size, maker, server),
                store=store,
                scale=scale,
                seed=seed,
                mutation=mutation,
                make_place=make_place,
                environment=maker.environment(),
            )
    except NoClocks as error:
        return Report(scenario="clocks", store=store, scale=scale, seed=seed, skipped=str(error))


@contextmanager
def _clocked_place(environment: dict[str, str], folder: Path) -> Iterator[PostgresPlace]:
    try:
        server = PostgresServer(durable=False, environment=environment)
    except NoPostgres as error:
        raise NoPlace(str(error)) from error
    with server:
        place = PostgresPlace(server)
        make_tables(place.url)
        yield place


def _act(arena: Arena, size: Size, maker: Clocks, server: Clock) -> None:
    arena.clocks = maker
    arena.crashes_may_count = False
    feeders = [
        arena.feed(size.starts, nap_s=(0.0, 0.3)),
        arena.feed(size.starts, nap_s=(0.0, 0.01), program="chain"),
    ]
    hired = [arena.hire() for _ in range(WORKERS)]
    for number in range(1, size.jumps + 1):
        arena.allow(size.starts * number // size.jumps)
        (victim,) = arena.busy()
        rate = arena.dice.choice(RATES) if number % DRIFT_EVERY == 0 else 1.0
        sign = arena.dice.choice((-1, 1))
        if arena.place.store == "postgres" and number % 2:
            arena.faults.append(Fault("clock", None, now_us()))
            _set_server(arena, server, sign * arena.dice.choice(SERVER_JUMPS_S), rate)
        else:
            arena.faults.append(Fault("clock", victim.name, now_us()))
            arena.clock_of[victim.name].set(ahead_s=sign * arena.dice.choice(JUMPS_S), rate=rate)
        time.sleep(arena.lease_s * arena.dice.uniform(0.1, 1.3))
    for member in (*hired, *feeders):
        arena.clock_of[member.name].set(ahead_s=LAST_S)
    if arena.place.store == "postgres":
        _set_server(arena, server, LAST_S, 1.0)
    arena.await_exit(feeders[1], timeout_s=60.0)
    arena.finish(feeders[0], patience_s=120.0)


def _set_server(arena: Arena, clock: Clock, ahead_s: float, rate: float) -> None:
    """Sets the server's clock, and looks whether it follows."""
    assert isinstance(arena.place, PostgresPlace)
    clock.set(ahead_s=ahead_s, rate=rate)
    with psycopg.connect(arena.place.url, autocommit=True, connect_timeout=5) as connection:
        row = connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
    assert row is not None
    if abs(float(row[0]) - time.time() - ahead_s) > 0.5:
        arena.said.append(f"clock: the server's is not {ahead_s:g} s ahead, as it was told to be")
