"""Planted bugs: each can still be planted, and one of them goes through the whole hunt. All: `make planted`."""

from pathlib import Path

import pytest

from chaos.record.entries import read_lines
from planted.bug import Bug
from planted.bugs import BUGS
from planted.hunt import Catch, hunt
from planted.table import append_to_record
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


def test_the_line_for_the_record_names_what_lives_and_what_is_red_without_a_bug(tmp_path: Path) -> None:
    first, second, *_ = BUGS
    caught = Catch(first, first.hunters[0], 3, 2.0, "a clue")
    living = Catch(second, None, None, 1.5, "")
    news = tmp_path / "news"

    append_to_record(news, [caught], red=[], missing=[])
    append_to_record(news, [caught, living], red=["the suite is red"], missing=["gone"])

    good, bad = read_lines(news)
    assert (good.row, good.operations, good.duration_s, good.verdict) == ("R14", 1, 2.0, "passed")
    assert good.more["bugs"].startswith("1 bugs were planted, 1 caught: 1 by the")
    assert (bad.violations, bad.verdict) == (2, "failed")
    assert bad.said == [f"{second.name} lives", "the suite is red"]
    assert bad.unproved == ["gone could not be planted"]
