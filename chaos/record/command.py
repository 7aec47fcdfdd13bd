"""The command: `python -m chaos record`, which runs rows of the record and writes it anew."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom

from chaos.record.board import BY_NAME, ROWS, Row
from chaos.record.entries import Entry, append_line, merged, read, read_lines, summed, write
from chaos.record.page import render
from chaos.record.runs import ROOT, TESTS, RunRound, Sum, run_apart, run_parts, run_tests


def main(arguments: Sequence[str], scenarios: Collection[str], *, run: RunRound = run_apart) -> int:
    """Runs rows one after the other; after each the record is written. 0: none of them failed, 1: some did.

    `scenarios` are the names that there are.
    """
    parser = argparse.ArgumentParser(prog="chaos record", description="Run rows of the crash record, and write it.")
    parser.add_argument(
        "--scale", type=_scale, default="full", help="ci, full, or a factor such as 0.1 (default: full)"
    )
    parser.add_argument("--rows", type=_rows, help="R1,R6,... (default: all; with --add: none)")
    parser.add_argument(
        "--scenarios", help="of these rows only these scenarios, or `tests`, with commas (default: all)"
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="add lines to this file, for --add, and leave the record as it is"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="the record's folder (default: docs)")
    parser.add_argument("--seed", type=int, help="of each row's first round; printed in any case")
    parser.add_argument(
        "--add", type=Path, action="append", default=[], help="results of other commands: lines of one row are summed"
    )
    chosen = parser.parse_args(arguments)
    try:
        added = summed(entry for path in chosen.add for entry in read_lines(path))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    only = set(chosen.scenarios.split(",")) if chosen.scenarios else None
    if unknown := (only or set()) - {*scenarios, TESTS}:
        parser.error(f"no scenario is called {', '.join(sorted(unknown))}")
    commit = current_commit()  # of what is run, whatever is committed meanwhile.
    record = Lines(chosen.record) if chosen.record else Record(chosen.out)
    for entry in added:
        entry.date, entry.commit = entry.date or _now(), entry.commit or commit
        record.add(entry)
    rows = chosen.rows if chosen.rows is not None else () if chosen.add else ROWS
    seed = SystemRandom().randrange(2**32) if chosen.seed is None else chosen.seed
    verdicts = [entry.verdict for entry in added]
    for row in rows:
        if only is not None:
            row = replace(
                row,
                parts=tuple(part for part in row.parts if part.scenario in only),
                tests=row.tests if TESTS in only else (),
            )
        entry, was_stopped = run_row(row, chosen.scale, seed, known=set(scenarios), run=run)
        entry.commit = commit
        record.add(entry)
        verdicts.append(entry.verdict)
        print(f"{row.name} {row.title}: {entry.verdict}", flush=True)
        if was_stopped:
            print("stopped: what was done is kept", flush=True)
            return 130
    return int("failed" in verdicts)


class Record:
    """The record in its folder: a JSON file, and the page made from it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._json = folder / "crash-record.json"
        self._page = folder / "crash-record.md"

    def add(self, entry: Entry) -> None:
        """Writes both with one more entry."""
        entries = merged(read(self._json), [entry])
        write(self._json, entries)
        self._page.write_text(render(entries, date=_now(), commit=current_commit(), machine=_machine()))


class Lines:
    """A file of lines, one for each entry: several commands that run at once do not write one record."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, entry: Entry) -> None:
        """Writes a line, if anything was run."""
        if entry.ran:
            append_line(self._path, entry)


def run_row(row: Row, scale: str, seed: int, *, known: set[str], run: RunRound) -> tuple[Entry, bool]:
    """Runs a row. Returns what came of it, and whether Ctrl-C ended it: then what it had done counts."""
    print(f"{row.name} {row.title}, {scale} scale, seed {seed}", flush=True)
    total = Sum(row, scale, seed)
    was_stopped = False
    try:
        run_parts(total, row.parts, scale, seed, known=known, run=run)
        if row.tests:
            run_tests(total, row, scale)
    except KeyboardInterrupt:
        was_stopped = True
        total.skip("the rest, for it was stopped by hand")
    except Exception as error:  # whatever it is, the other rows go on.
        total.lack(f"the record's own fault: {type(error).__name__}: {error}")
    if row.elsewhere:
        total.skip(row.elsewhere)
    return total.entry(date=_now()), was_stopped


def _scale(text: str) -> str:
    if text not in ("ci", "full") and not float(text) > 0:
        raise ValueError
    return text


def _rows(text: str) -> list[Row]:
    names = [name.strip().upper() for name in text.split(",")]
    for name in names:
        if name not in BY_NAME:
            raise argparse.ArgumentTypeError(f"no row is called {name}; there are {', '.join(BY_NAME)}")
    return [BY_NAME[name] for name in names]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M")


def current_commit() -> str:
    """The commit of this code, with `+` if files have changed since, those of the record aside."""
    try:
        commit = _git("rev-parse", "--short=10", "HEAD")
        changed = _git("status", "--porcelain", "--", ".", ":!docs/crash-record.*")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}+" if changed else commit


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
