"""Planted bugs: each can still be planted, and one of them goes through the whole hunt. All: `make planted`."""

import pytest

from planted.bug import Bug
from planted.bugs import BUGS
from planted.hunt import hunt
from planted.workshop import SOURCES, OutOfDate, changed_text

CHEAP = "one-slot-too-many"


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_can_be_planted(bug: Bug) -> None:
    assert changed_text(bug) != (SOURCES / "outlast" / bug.file).read_text()
    assert bug.hunters
    assert bug.breaks.endswith(".")


def test_names_are_unique() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 40


def test_one_whose_text_has_changed_says_so() -> None:
    bug = Bug("gone", "Nothing.", "A1", "jobs.py", "no such text stands there", "", ())

    with pytest.raises(OutOfDate, match=r"mend this mutation: the old text of gone occurs 0 times in jobs\.py"):
        changed_text(bug)


def test_the_simulation_finds_one_within_few_seeds() -> None:
    bug = next(bug for bug in BUGS if bug.name == CHEAP)

    catch = hunt(bug, seeds=10)

    assert catch.hunter is not None
    assert catch.hunter.kind == "simulation"
    assert catch.seeds is not None
