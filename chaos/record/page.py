"""The record as a page for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaos.record.board import ROWS, Row
from chaos.record.entries import Entry

_HEAD = """# Crash record

What was done to real processes and databases to break Outlast's promises, and what came of it. This page is made by
`make crash-record`, from `docs/crash-record.json`; it tells what was run, at which scale, and what was not. A row's
goal is what it is to prove in the end; `scale` is the share of a full run, `ci` one small round. The full run is sized
for two hours on two cores, so it may be less than the goal: the counts are what was done.

A fault is effective when it hit work: an idle process killed proves nothing, and a row with fewer than 80 % effective
faults fails. `chaos/README.md` says what is checked.
"""
_COLUMNS = (
    "Row",
    "What is done",
    "Came of it",
    "Scale",
    "Operations",
    "Faults",
    "Effective",
    "Violations",
    "Re-executions per commit",
    "Slowest recovery",
    "Lasted",
)


def render(entries: Mapping[str, Entry], *, date: str, commit: str, machine: str) -> str:
    """The page."""
    return "\n".join(_lines(entries, date=date, commit=commit, machine=machine)) + "\n"


def _lines(entries: Mapping[str, Entry], *, date: str, commit: str, machine: str) -> Iterator[str]:
    verdicts = [entries[row.name].verdict if row.name in entries else "not run" for row in ROWS]
    counts = ", ".join(
        f"{verdicts.count(word)} {word}" for word in ("passed", "partly", "failed", "not run") if word in verdicts
    )
    yield _HEAD
    yield f"Made {date} UTC at commit `{commit}`, on {machine}. Of {len(ROWS)} rows: {counts}."
    yield ""
    yield "| " + " | ".join(_COLUMNS) + " |"
    yield "|---|---|---|---|" + "---:|" * (len(_COLUMNS) - 4)
    ran = [(row, entries[row.name]) for row in ROWS if row.name in entries and entries[row.name].ran]
    yield from (_table_row(row, entry) for row, entry in ran)
    yield ""
    yield "## Not run"
    yield ""
    missing = [row for row in ROWS if row.name not in entries or not entries[row.name].ran]
    for row in missing:
        because = entries[row.name].because if row.name in entries else ""
        yield f"* **{row.name} {row.title}**: {because or row.elsewhere or 'never asked for yet'}."
    if not missing:
        yield "Nothing: every row was."
    yield ""
    yield "## Row by row"
    for row, entry in ran:
        yield from _details(row, entry)


def _table_row(row: Row, entry: Entry) -> str:
    cells = (
        row.name,
        row.title,
        f"**{entry.verdict}**",
        entry.scale or "-",
        f"{entry.operations:,}",
        f"{entry.faults_injected:,}",
        f"{entry.faults_effective:,}",
        f"{entry.violations:,}",
        f"{entry.re_executions_per_commit:.3f}",
        f"{entry.slowest_recovery_s:.2f} s",
        _lasted(entry.duration_s),
    )
    return "| " + " | ".join(cells) + " |"


def _details(row: Row, entry: Entry) -> Iterator[str]:
    yield ""
    yield f"### {row.name} {row.title}"
    yield ""
    yield f"* Goal: {row.goal}."
    seed = "" if entry.seed is None else f", from seed {entry.seed}"
    yield f"* Ran: {entry.ran}{seed}; {entry.date} UTC, commit `{entry.commit}`."
    if entry.versions:
        yield "* With " + ", ".join(f"{name} {version}" for name, version in entry.versions.items()) + "."
    for name, value in entry.more.items():
        yield f"* {name}: {_shown(value)}."
    if entry.because:
        yield f"* Not run of it: {entry.because}."
    yield from (f"* No proof: {sentence}." for sentence in entry.unproved)
    yield from (f"* Violation: {sentence}" for sentence in entry.said)
    if len(entry.said) < entry.violations:
        yield f"* ... and {entry.violations - len(entry.said)} violations more."


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{str(name).replace('_', ' ')} {_shown(one)}" for name, one in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _lasted(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
