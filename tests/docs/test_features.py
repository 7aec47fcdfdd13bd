"""The tables of gen_durable's, Durable's and DurableObject's features are whole, and the tests that they name exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ROWS = {
    "features-gen-durable.md": [*(f"G{number}" for number in range(1, 195)), *(f"X{number}" for number in range(1, 9))],
    "features-durable.md": [*(f"D{number}" for number in range(1, 150)), *(f"X{number}" for number in range(7, 13))],
    "features-objects.md": [*(f"O{number}" for number in range(1, 69)), "X13", "X14", "X15", "X18"],
}
REASONS = ("Python:", "Differs:", "Other form:", "Bench:", "Missing:")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_WORKLOAD = re.compile(r"`(\w+)`")


def _cells(table: str) -> list[list[str]]:
    text = (ROOT / "docs" / table).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.match(r"\| *[DGOX]\d", line)]
    return [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in lines]


CELLS = {table: _cells(table) for table in ROWS}


@pytest.mark.parametrize("table", ROWS)
def test_every_row_is_there_once_and_in_order(table: str) -> None:
    assert [cells[0] for cells in CELLS[table]] == ROWS[table]


@pytest.mark.parametrize(
    "cells",
    [pytest.param(cells, id=f"{table[9:-3]}-{cells[0]}") for table in ROWS for cells in CELLS[table]],
)
def test_a_row_is_filled_and_what_shows_it_exists(cells: list[str]) -> None:
    assert len(cells) == 4, f"a row has four cells, not {len(cells)}: is there a | in one of them?"
    assert all(cells)
    row, _, _, shown = cells
    tests = _TEST.findall(shown)
    for path, name in tests:
        assert name in _functions(path), f"{row} names {path}::{name}, which does not exist"
    rest = _TEST.sub("", shown).strip()
    assert "::" not in rest, f"{row}: a test is written as `tests/file.py::test_name`"
    if rest:
        assert rest.startswith(REASONS), f"{row}: a reason begins with one of {', '.join(REASONS)}"
    if rest.startswith("Bench:"):
        workloads = _WORKLOAD.findall(rest)
        assert workloads, f"{row} names no workload"
        assert [name for name in workloads if not (ROOT / "bench" / f"{name}.py").is_file()] == []


@cache
def _functions(path: str) -> frozenset[str]:
    """The tests of a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    named = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    return frozenset(name for name in named if name.startswith("test_"))
