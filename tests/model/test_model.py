"""The engine against its model, on each database. Larger: `OUTLAST_MODEL_EXAMPLES=2000`, of 50 steps each."""

import os
from collections import Counter

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Twins

EXAMPLES = int(os.environ.get("OUTLAST_MODEL_EXAMPLES", "0"))
STEPS = int(os.environ.get("OUTLAST_MODEL_STEPS", "50" if EXAMPLES else "40"))


def _scale(examples: int) -> settings:
    """Few, and always the same, in the suite; many, and always new, where a number is given."""
    return settings(
        max_examples=EXAMPLES or examples,
        stateful_step_count=STEPS,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        print_blob=True,
    )


EVERYTHING = {
    *("next", "retry", "await", "spawn", "done", "failed", "cancelled", "queued", "later", "waiting", "late"),
    *("delivered", "ended", "IllegalMove", "NotFound", "crash of a job"),
}
"""A run that has not met all of this proves too little."""


@pytest.mark.timeout(120 + EXAMPLES)
def test_the_engine_does_as_the_model_on_sqlite() -> None:
    Twins.met = Counter()

    run_state_machine_as_test(Twins, settings=_scale(40))

    assert EVERYTHING <= Twins.met.keys(), EVERYTHING - Twins.met.keys()


@pytest.mark.timeout(120 + EXAMPLES)
def test_the_engine_does_as_the_model_on_postgres(postgres_url: str) -> None:
    class OnPostgres(Twins):
        """Finds the tables of the example before, and empties them."""

        url = postgres_url
        met = Counter()

        def __init__(self) -> None:
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                tables = connection.execute(
                    "SELECT tablename FROM pg_tables WHERE schemaname = 'outlast' AND tablename <> 'migrations'"
                ).fetchall()
                for (table,) in tables:
                    connection.execute(f"DELETE FROM outlast.{table}")  # type: ignore[arg-type]
            super().__init__()

    run_state_machine_as_test(OnPostgres, settings=_scale(10))
