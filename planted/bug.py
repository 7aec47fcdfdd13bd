"""What a planted bug is, and who is to find it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["simulation", "lab", "suite"]
KINDS: Final[tuple[Kind, ...]] = ("simulation", "lab", "suite")
LIMITS_S: Final[dict[Kind, float]] = {"simulation": 600.0, "lab": 300.0, "suite": 300.0}
"""A hunter that has not ended after so many seconds is stopped: the bug has made something go on for ever."""


@dataclass(frozen=True)
class Hunter:
    """Something that may find a bug.

    Attributes:
        kind: Which of them.
        what: Workloads of the simulation, or what pytest is to run.
    """

    kind: Kind
    what: tuple[str, ...]


@dataclass(frozen=True)
class Bug:
    """One small change of our own code that breaks a promise.

    Attributes:
        name: In the table and on the command line.
        breaks: What it breaks, in one sentence.
        entry: The kind of failure, by its number in the catalogue.
        file: Below `src/outlast`.
        old, new: The text, which occurs there once, and what stands in its place.
        hunters: Who is to find it, in the order in which they are asked.
    """

    name: str
    breaks: str
    entry: str
    file: str
    old: str
    new: str
    hunters: tuple[Hunter, ...]


def simulation(*workloads: str) -> Hunter:
    """The simulation, with these workloads."""
    return Hunter("simulation", workloads)


def lab(*selection: str) -> Hunter:
    """The interleavings of Postgres transactions: a selection of `tests/lab`."""
    return Hunter("lab", selection)


def suite(*selection: str) -> Hunter:
    """A narrow selection of the tests."""
    return Hunter("suite", selection)


def contract(file: str, test: str, store: str) -> Hunter:
    """One test of what both stores must do: of `tests/store/contract/test_FILE.py`, with this store."""
    return suite(f"tests/store/contract/test_{file}.py::{test}", "-k", store)
