"""The command: `python -m chaos record`, which runs rows of the record and writes it anew."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom

from chaos.record.board import BY_NAME, ROWS, Row
from chaos.record.entries import Entry, merged, read, read_lines, write
from chaos.record.page import render
from chaos.record.runs import ROOT, RunRound, Sum, run_apart, run_parts, run_tests


def main(arguments: Sequence[str], scenarios: Collection[str], *, run: RunRound = run_apart) -> int:
    """Runs rows one after the other; after each the record is written. 0: none of them failed, 1: some did.

    `scenarios` are the names that there are.
    """
    parser = argparse.ArgumentParser(prog="chaos record", description="Run rows of the crash record, and write it.")
    parser.add_argument(
        "--scale", type=_scale, default="full", help="ci, full, or a factor such as 0.1 (default: full)"
    )
    parser.add_argument("--rows", type=_rows, help="R1,R6,... (default: all; with --add: none)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="the record's folder (default: docs)")
    parser.add_argument("--seed", type=int, help="of each row's first round; printed in any case")
    parser.add_argument(
        "--add", type=Path, action="append", default=[], help="results of other commands, as JSON lines"
    )
    chosen = parser.parse_args(arguments)
    try:
        added = [entry for path in chosen.add for entry in read_lines(path)]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    commit = current_commit()  # of what is run, whatever is committed meanwhile.
    record = Record(chosen.out)
    for entry in added:
        entry.date, entry.commit = entry.date or _now(), entry.commit or commit
        record.add(entry)
    rows = chosen.rows if chosen.rows is not None else () if chosen.add else ROWS
    seed = SystemRandom().randrange(2**32) if chosen.seed is None else chosen.seed
    verdicts = [entry.verdict for entry in added]
    for row in rows:
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


def run_row(row: Row, scale: str, seed: int, *, known: set[str], run: RunRound) -> tuple[Entry, bool]:
    """Runs a row. Returns what came of it, and whether Ctrl-C ended it: then what it had done counts."""
    print(f"{row.name} {row.title}, {scale} scale, seed {seed}", flush=True)
    total = Sum(row, scale, seed)
    was_stopped = False
    try:
        run_parts(total, row.parts, scale, seed, known=known, run=run)
        if row.tests:
            run_tests(total, row)
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
