"""What came of each row, as it is kept between runs: one JSON file, one entry for each row, the newest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from chaos.record.board import BY_NAME, ROWS
from chaos.report import EFFECTIVE_SHARE_MIN, Report

SAID_MAX = 10
"""Violations that an entry lists; all are counted."""


class Entry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What came of one row.

    Other commands write one as a line of JSON, for `--add`; only `row`, `ran` and what they have counted need be there.

    Attributes:
        row: Its name.
        ran: What was run, in words; empty: nothing was.
        scale: `ci`, `full`, or a share of the full one.
        date: When it ended, in UTC, as YYYY-MM-DD HH:MM.
        commit: Of the code that was run; with `+` if that had changes.
        seed: The first one of its rounds.
        versions: Of what ran.
        operations, commits: Acknowledged operations; outcomes in the database.
        faults_injected, faults_effective: What was done, and what hit work.
        violations: How many promises were broken.
        said: The first of them.
        re_executions_per_commit: Executions that came to nothing, per outcome.
        slowest_recovery_s: The longest that interrupted work waited.
        duration_s: Of all that was run.
        more: What this row alone tells.
        kept: Where database and histories of failed rounds are.
        unproved: Why it is no proof: a round that did not end, or whose faults hit nothing.
        because: Why some of it, or all, was not run.
    """

    row: str
    ran: str = ""
    scale: str = ""
    date: str = ""
    commit: str = ""
    seed: int | None = None
    versions: dict[str, str] = {}
    operations: int = 0
    commits: int = 0
    faults_injected: int = 0
    faults_effective: int = 0
    violations: int = 0
    said: list[str] = []
    re_executions_per_commit: float = 0.0
    slowest_recovery_s: float = 0.0
    duration_s: float = 0.0
    more: dict[str, Any] = {}
    kept: list[str] = []
    unproved: list[str] = []
    because: str = ""

    @property
    def is_proof(self) -> bool:
        """Whether enough of the faults hit work."""
        return self.faults_effective >= EFFECTIVE_SHARE_MIN * self.faults_injected

    @property
    def verdict(self) -> str:
        """`passed`, `partly`, `failed`, or `not run`."""
        if not self.ran:
            return "not run"
        if self.violations or self.unproved or not self.is_proof:
            return "failed"
        return "partly" if self.because else "passed"


def read(path: Path) -> dict[str, Entry]:
    """The entries of a file by row; none if there is no file. Raises: msgspec.ValidationError."""
    if not path.exists():
        return {}
    return {entry.row: entry for entry in msgspec.json.decode(path.read_bytes(), type=list[Entry])}


def write(path: Path, entries: dict[str, Entry]) -> None:
    """Writes the file anew, in the board's order, all of it or nothing."""
    ordered = [entries[row.name] for row in ROWS if row.name in entries]
    lines = ",\n".join(f"  {msgspec.json.encode(entry).decode()}" for entry in ordered)
    new = path.with_suffix(".new")
    new.write_text(f"[\n{lines}\n]\n")
    os.replace(new, path)


def merged(entries: dict[str, Entry], news: Iterable[Entry]) -> dict[str, Entry]:
    """The entries with newer ones in their place. That a row was not run takes nothing away from it."""
    return entries | {entry.row: entry for entry in news if entry.ran or entry.row not in entries}


def append_line(path: Path, entry: Entry) -> None:
    """Adds an entry to a file of lines, as `read_lines` reads them."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(entry) + b"\n")


def summed(entries: Iterable[Entry]) -> list[Entry]:
    """One entry for each row: what several commands have run of one row, at once or one after the other, counts
    together."""
    rows: dict[str, list[Entry]] = {}
    for entry in entries:
        rows.setdefault(entry.row, []).append(entry)
    return [_sum(found) if len(found) > 1 else found[0] for found in rows.values()]


def totals(found: Sequence[Report] | Sequence[Entry]) -> dict[str, Any]:
    """What reports, or entries, say together in the fields that both have: counts added up, shares weighed."""
    counts = ("operations", "commits", "faults_injected", "faults_effective", "violations")
    wasted = sum(each.re_executions_per_commit * each.commits for each in found)
    return {
        **{count: sum(getattr(each, count) for each in found) for count in counts},
        "versions": {name: version for each in found for name, version in each.versions.items()},
        "re_executions_per_commit": round(wasted / max(1, sum(each.commits for each in found)), 4),
        "slowest_recovery_s": max((each.slowest_recovery_s for each in found), default=0.0),
    }


def _sum(entries: Sequence[Entry]) -> Entry:
    return Entry(
        row=entries[0].row,
        ran="; ".join(_and_where_from(entry) for entry in entries),
        scale=", ".join(_once(entry.scale for entry in entries)),
        date=max(entry.date for entry in entries),
        commit=", ".join(_once(entry.commit for entry in entries)),
        said=[said for entry in entries for said in entry.said][:SAID_MAX],
        duration_s=sum(entry.duration_s for entry in entries),
        more=_side_by_side(entry.more for entry in entries),
        kept=[kept for entry in entries for kept in entry.kept],
        unproved=[unproved for entry in entries for unproved in entry.unproved],
        because="; ".join(_once(entry.because for entry in entries)),
        **totals(entries),
    )


def _and_where_from(entry: Entry) -> str:
    return entry.ran if entry.seed is None else f"{entry.ran}, from seed {entry.seed}"


def _once(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]


def _side_by_side(facts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What each tells; a name that is told again gets a number. Nobody knows here what may be added up."""
    told: dict[str, Any] = {}
    for entry, found in enumerate(facts, 1):
        for name, value in found.items():
            told[f"{name} ({entry})" if name in told else name] = value
    return told


def read_lines(path: Path) -> Sequence[Entry]:
    """Entries that other commands have written, a line of JSON each.

    Raises: ValueError: a line is no entry, or names no row.
    """
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except msgspec.DecodeError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        if entry.row not in BY_NAME:
            raise ValueError(f"{path}, line {number}: no row is called {entry.row!r}")
        if not entry.ran:
            raise ValueError(f"{path}, line {number}: `ran` must say what was run")
        found.append(entry)
    return found
