"""A little of each kind of malformed input, always the same. More: `python -m tests.fuzz --cases 100000 --seed 1`."""

import pytest

from tests.fuzz.campaign import PURE, run


@pytest.mark.parametrize("kind", [*PURE, "settings"])
def test_malformed_values_get_a_sentence(kind: str) -> None:
    (report,) = run([kind], 400, seed=1)

    assert not report.findings, str(report)


@pytest.mark.parametrize("kind", ["border", "cli", "rows"])
def test_malformed_input_of_a_database_gets_a_sentence(kind: str) -> None:
    (report,) = run([kind], {"border": 2_000, "cli": 8_000, "rows": 1_200}[kind], seed=1)

    assert not report.findings, str(report)


def test_rows_edited_by_hand_on_postgres(postgres_url: str) -> None:
    (report,) = run(["rows"], 800, seed=1, url=postgres_url)

    assert not report.findings, str(report)
