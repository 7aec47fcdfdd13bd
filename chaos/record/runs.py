"""How a row is run: round after round, each in a process of its own, summed up into one entry."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from chaos.record.board import Part, Row
from chaos.record.entries import SAID_MAX, Entry, totals
from chaos.report import Report, versions

ROOT: Final = Path(__file__).parent.parent.parent
ROUND_MAX_S: Final = 1_800.0
"""What has not ended by then does not end."""
TESTS: Final = "tests"
_FIELDS: Final = {field.name for field in fields(Report)}
_COUNTS: Final = re.compile(r"(\d+) (passed|failed|error|skipped)")


class NoReport(Exception):
    """A round ended without a report; the text says how."""


RunRound = Callable[[str, str, int, float | None], Report]
"""Runs a scenario: name, scale, seed, minutes. Raises: NoReport."""


def run_apart(name: str, scale: str, seed: int, minutes: float | None) -> Report:
    """One round in a process of its own: what it leaves in memory, and how it ends, is no concern of the next one."""
    command = [sys.executable, "-m", "chaos", name, "--json", "--scale", scale, "--seed", str(seed)]
    if minutes is not None:
        command += ["--minutes", f"{minutes:g}"]
    patience_s = ROUND_MAX_S + 120.0 * (minutes or 0.0)
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=patience_s)
    except subprocess.TimeoutExpired as error:
        raise NoReport(f"had not ended after {patience_s:g} s") from error
    lines = done.stdout.strip().splitlines()
    try:
        told: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise NoReport(f"ended with {done.returncode}, and said: {last}") from error
    return Report(**{name: value for name, value in told.items() if name in _FIELDS})


def rounds_of(part: Part, scale: str) -> Iterator[tuple[str, float | None]]:
    """Scale and minutes of each round: at `ci` scale one small one, else a share of the full ones, at least one."""
    if scale == "ci":
        yield "ci", None
        return
    share = _share(scale)
    if part.minutes is not None:
        yield "full", part.minutes * share
        return
    for _ in range(max(1, round(part.rounds * share))):
        yield "full", None


def _share(scale: str) -> float:
    return 1.0 if scale == "full" else float(scale)


class Sum:
    """The reports of a row so far.

    Args:
        row: The row.
        scale: As asked for.
        seed: Of its first round.
    """

    def __init__(self, row: Row, scale: str, seed: int) -> None:
        self._row = row
        self._scale = scale
        self._seed = seed
        self._began_at = time.monotonic()
        self._reports: list[tuple[str, int, Report]] = []
        self._unproved: list[str] = []
        self._skipped: list[str] = []

    def add(self, name: str, seed: int, report: Report) -> None:
        """One more round."""
        if report.skipped is not None:
            self._skipped.append(f"{name}: {report.skipped}")
            return
        self._reports.append((name, seed, report))
        if not report.is_proof:
            share = f"{report.faults_effective} of {report.faults_injected}"
            self._unproved.append(f"{name}, seed {seed}: only {share} faults hit work")

    def lack(self, sentence: str) -> None:
        """Something that the row should have, and has not."""
        self._unproved.append(sentence)

    def skip(self, sentence: str) -> None:
        """A part that cannot be run here."""
        self._skipped.append(sentence)

    def entry(self, *, date: str) -> Entry:
        """All of it, so far."""
        reports = [report for _, _, report in self._reports]
        failed = [(name, seed, report) for name, seed, report in self._reports if not report.passed]
        said = [f"{name}, seed {seed}: {text}" for name, seed, report in failed for text in report.said]
        minutes = {name: report.more["minutes"] for name, _, report in self._reports if "minutes" in report.more}
        names = list(dict.fromkeys(name for name, _, _ in self._reports))
        ran = ", ".join(self._told(name, minutes.get(name)) for name in names)
        if not ran and self._unproved:
            ran = "no round to its end"
        return Entry(
            row=self._row.name,
            ran=ran,
            scale=self._scale,
            date=date,
            seed=self._seed,
            said=said[:SAID_MAX],
            duration_s=round(time.monotonic() - self._began_at, 1),
            more={name: report.more for name, _, report in self._reports if report.more},
            kept=[report.kept for report in reports if report.kept is not None],
            unproved=self._unproved,
            because="; ".join(self._skipped),
            **totals(reports),
        )

    def _told(self, name: str, minutes: object) -> str:
        reports = [report for found, _, report in self._reports if found == name]
        if reports[0].scenario == TESTS:
            return name
        if minutes is not None:
            return f"{minutes} min of {name}"
        size = "small " if reports[0].scale == "ci" else ""
        return f"{len(reports)} {size}round{'s' if len(reports) > 1 else ''} of {name}"


def run_parts(total: Sum, parts: Sequence[Part], scale: str, seed: int, *, known: set[str], run: RunRound) -> None:
    """Runs the scenarios of a row. A round that ends badly, in whatever way, does not stop the others."""
    for part in parts:
        if part.scenario not in known:
            total.skip(f"there is no scenario {part.scenario}")
            continue
        for size, minutes in rounds_of(part, scale):
            began_at = time.monotonic()
            try:
                report = run(part.scenario, size, seed, minutes)
            except NoReport as error:
                total.lack(f"{part.scenario}, seed {seed}: {error}")
                print(f"  {part.scenario}, seed {seed}: {error}", flush=True)
            else:
                total.add(part.scenario, seed, report)
                verdict = report.skipped or ("passed" if report.passed else "FAILED")
                lasted_s = time.monotonic() - began_at
                print(f"  {part.scenario}, seed {seed}: {verdict}, {lasted_s:.0f} s", flush=True)
                if report.skipped is not None:
                    break  # the next round would be, too.
            seed = (seed + 1) % 2**32


def run_tests(total: Sum, row: Row, scale: str) -> None:
    """Runs the tests of a row; each is an operation, each failed one a violation."""
    began_at = time.monotonic()
    environment = {} if scale == "ci" else {name: str(round(count * _share(scale))) for name, count in row.counts}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *row.tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment})
    counts = {word: int(count) for count, word in _COUNTS.findall(done.stdout)}
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if not counts.get("passed") and not failed:
        total.lack(f"pytest ended with {done.returncode} and ran nothing")
        return
    report = Report(
        scenario=TESTS,
        store="",
        scale="full",
        seed=0,
        versions=versions(),
        operations=counts.get("passed", 0) + len(failed),
        violations=len(failed),
        said=failed,
        duration_s=time.monotonic() - began_at,
    )
    words = [*(f"{name}={value}" for name, value in environment.items()), *row.tests]
    total.add(f"{counts.get('passed', 0)} tests ({' '.join(words)})", 0, report)
