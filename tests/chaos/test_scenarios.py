"""The crash runs at a scale for every day. `make chaos` runs them at full scale."""

import os
import sys
from functools import partial
from zlib import crc32

import pytest

from chaos.__main__ import SCENARIOS
from chaos.report import Report
from harness.binaries import NoPostgres, find_binaries

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(sys.platform != "linux", reason="crash runs watch their processes through Linux's /proc"),
]


NOT_EVERY_DAY = {
    *("bad-rows-sqlite", "killers-postgres", "deaf-sqlite", "impatience-postgres"),
    *("starvation-sqlite", "soak-sqlite", "soak-postgres", "recoveries-postgres", "long-transaction-postgres"),
    *("pooled-postgres", "hoarders-sqlite", "hoarders-postgres", "rolling-postgres"),
}
"""Those that take long, or prove on this store what they prove on the other one. `make crash-record` runs them all."""
ON_THE_OTHER_STORE = [
    ("no-fence", "freezes-postgres", "doubled: "),
    ("no-fence", "machines-postgres", " commits, not 20"),
    ("no-recheck", "signals-postgres", "asleep: "),
    ("double-decrement", "fanout-postgres", "early: "),
    ("no-slot-constraint", "keys-sqlite", "crowded: "),
    ("free-tokens", "rates-postgres", "hasty: "),
    ("forgets-journal", "workflows-postgres", "again: "),
    ("trusts-memory", "workflows-postgres", "lost: "),
    ("no-object-fence", "objects-postgres", "out of line: "),
    ("hasty-answers", "objects-sqlite", "out of line: "),
]
"""Bugs that are noticed on one store every day, or by what notices another one; all with OUTLAST_TEST_BUGS=all."""
SEEDS_MAX = 5
"""Within so many seeds faults hit work, and a planted bug is noticed: which moment they hit is not ours to say."""


def run(name: str, *, mutation: str | None = None, turn: int = 0) -> Report:
    """One scenario, from the same seed each time unless OUTLAST_TEST_SEED names another; the report tells it."""
    _skip_without_postgres(name)
    seed = turn + (int(os.environ.get("OUTLAST_TEST_SEED", "0")) or crc32(f"{name} {mutation}".encode()))
    report = SCENARIOS[name](scale="ci", seed=seed, mutation=mutation)
    print(report.as_text())
    if report.skipped is not None:
        pytest.skip(report.skipped)
    return report


def _skip_without_postgres(name: str) -> None:
    if name.endswith("postgres"):
        try:
            find_binaries()
        except NoPostgres as error:
            (partial(pytest.fail, pytrace=False) if os.environ.get("CI") else pytest.skip)(str(error))


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in NOT_EVERY_DAY])
def test_no_promise_is_broken(name: str) -> None:
    """Faults that hit nothing prove nothing: then once more, from another seed. What is broken once is broken."""
    report = run(name)
    for turn in range(1, SEEDS_MAX):
        if report.violations or report.is_proof:
            break
        report = run(name, turn=turn)

    assert report.passed, report.as_text()


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("mutation", "name", "complaint"),
    [
        ("no-fence", "freezes-sqlite", "doubled: "),
        ("no-fence", "machines-sqlite", " commits, not 20"),
        ("no-recheck", "signals-sqlite", "asleep: "),
        ("double-decrement", "fanout-sqlite", "early: "),
        ("no-slot-constraint", "keys-postgres", "crowded: "),
        ("free-tokens", "rates-sqlite", "hasty: "),
        ("forgets-journal", "workflows-sqlite", "again: "),
        ("trusts-memory", "workflows-sqlite", "lost: "),
        ("no-object-fence", "objects-sqlite", "out of line: "),
        ("forgets-keys", "objects-postgres", "out of line: "),
        ("half-a-commit", "objects-sqlite", "torn: "),
        ("wall-clock", "clocks-sqlite", " from a node that lived"),
        ("local-commit", "failover-postgres", "lost: worker-"),
        ("bury-at-once", "kills-sqlite", "buried alive: "),
        ("false-word", "kills-postgres", "ended in claim"),
        ("no-sync", "power-sqlite", "lost: "),
        ("any-version", "rolling-sqlite", "too new: "),
        *(ON_THE_OTHER_STORE if os.environ.get("OUTLAST_TEST_BUGS") == "all" else ()),
    ],
)
def test_a_planted_bug_is_noticed(mutation: str, name: str, complaint: str) -> None:
    report = run(name, mutation=mutation)
    for turn in range(1, SEEDS_MAX):
        if complaint in report.complaints:
            break
        report = run(name, mutation=mutation, turn=turn)

    assert not report.passed
    assert complaint in report.complaints, report.as_text()
