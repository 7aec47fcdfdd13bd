"""Programs by name and version."""

from dataclasses import dataclass
from typing import Any

import pytest

from outlast._kernel.program import Catalogue
from outlast.errors import DefinitionError, UnknownProgram


@dataclass(eq=False)
class Plan:
    """A program as the catalogue sees it."""

    name: str = "greet"
    version: int = 1
    source: str = "shop.greet"


def catalogue(*programs: Plan) -> Any:
    return Catalogue(programs)  # type: ignore[arg-type]


def test_a_program_is_found_by_name_and_version() -> None:
    one, two = Plan(), Plan(version=2)

    known = catalogue(one, two)

    assert known.find("greet", 1) is one
    assert known.find("greet", 2) is two
    assert known.find("greet", 3) is None
    assert list(known) == [one, two]


def test_the_newest_version_has_the_highest_number() -> None:
    newest = Plan(version=10)

    assert catalogue(newest, Plan(version=9)).newest("greet") is newest


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownProgram, match="'gret'; did you mean 'greet'"):
        catalogue(Plan()).newest("gret")
    with pytest.raises(UnknownProgram, match=r"'greet'$"):
        catalogue().newest("greet")


def test_adding_a_program_again_changes_nothing() -> None:
    known = catalogue(plan := Plan())

    known.add(plan)

    assert known.changes == 1


def test_a_module_that_is_loaded_again_replaces_its_programs() -> None:
    known = catalogue(Plan())

    known.add(again := Plan())

    assert known.find("greet", 1) is again
    assert known.changes == 2


def test_two_programs_of_one_name_are_refused_with_both_places() -> None:
    with pytest.raises(DefinitionError, match=r"'greet' version 1 is defined twice \(shop\.greet and mail\.greet\)"):
        catalogue(Plan(), Plan(source="mail.greet"))
