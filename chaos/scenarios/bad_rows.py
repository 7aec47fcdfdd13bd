"""Outcomes that the database refuses, among many that it takes."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.faults import Fault
from chaos.programs import REFUSED
from chaos.report import Report
from chaos.roles import CHUNK


class Size(NamedTuple):
    """How much of it: jobs started, every twentieth of which comes to nothing that the database takes."""

    jobs: int


SIZES: Final = {"full": Size(8_000), "ci": Size(600)}
SHARES: Final = {"nap": 0.95, "spoil": 0.05}
WORKERS: Final = 2
CONCURRENCY: Final = CHUNK
JOBS_PER_S: Final = 300
"""Few enough that commits stay small: each is to hold one bad row or so."""
NAP_S: Final = (0.02, 0.02)
"""All the same: what is started together ends together, and is committed together."""
_REFUSE: Final = {
    "sqlite": (
        "CREATE TRIGGER refuse BEFORE UPDATE ON outlast_instances"
        f" WHEN instr(NEW.result, '{REFUSED}') BEGIN SELECT RAISE(ABORT, 'refused'); END",
    ),
    "postgres": (
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.result::text LIKE '%{REFUSED}%' THEN RAISE EXCEPTION 'refused' USING ERRCODE = '22023'; END IF;"
        " RETURN NEW; END $$",
        "CREATE TRIGGER refuse BEFORE UPDATE ON outlast.instances FOR EACH ROW EXECUTE FUNCTION public.refuse()",
    ),
}


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Each refused outcome fails its own instance, and nobody else's."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        arena.crashes_may_count = False
        arena.place.tamper(*_REFUSE[store])
        feeder = arena.feed(size.jobs, nap_s=NAP_S, shares=SHARES)
        for _ in range(WORKERS):
            arena.hire(concurrency=CONCURRENCY)
        for count in range(CHUNK, size.jobs + CHUNK, CHUNK):
            arena.allow(count)
            time.sleep(CHUNK / JOBS_PER_S)
        arena.finish(feeder, patience_s=300.0)
        batches: list[int] = []
        for watch in arena.watches.values():
            story = watch.look()
            first: dict[tuple[str, int], tuple[int, int]] = {}
            for at_us, claim, batch in story.refusals:
                first.setdefault(claim, (at_us, batch))
            batches += [batch for _, batch in first.values()]
            arena.faults += [
                Fault("refusal" if batch > 1 else "alone", story.name, at_us) for at_us, batch in first.values()
            ]
        arena.more["in a batch of, on average"] = round(sum(batches) / max(1, len(batches)), 1)

    return stage("bad-rows", act, store=store, scale=scale, seed=seed, mutation=mutation)
