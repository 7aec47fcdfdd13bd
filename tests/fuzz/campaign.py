"""Which kinds of input there are, and how many cases of each are run."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from tests.fuzz import values
from tests.fuzz.border import Border
from tests.fuzz.oracle import Report, watch
from tests.fuzz.rows import Files, Schemas, Tampering
from tests.fuzz.shell import Shell

Case = Callable[[Random], None]

PURE: Final[dict[str, Case]] = {
    "durations": values.durations,
    "names": values.names,
    "crons": values.crons,
    "calendars": values.calendars,
    "urls": values.urls,
    "answers": values.answers,
    "arguments": values.descriptions,
}
KINDS: Final = (*PURE, "settings", "border", "rows", "cli")
OFTEN: Final = 10
RARE: Final = 100
"""Cases of the other kinds for one of those that need a database."""


def run(kinds: list[str], cases: int, seed: int, url: str = "") -> Iterator[Report]:
    """Runs so many cases of each kind. Each case has a seed of its own: `seed:kind:number`."""
    logging.getLogger("outlast").setLevel(logging.CRITICAL + 1)
    for kind in kinds:
        report = Report(kind)
        if kind in PURE:
            _run(report, PURE[kind], range(cases), seed)
        elif kind == "settings":
            with tempfile.TemporaryDirectory() as folder:
                _run(report, partial(values.settings, folder=Path(folder)), range(cases), seed)
        elif kind == "border":
            border = Border(url or "sqlite://")
            try:
                _run(report, border.case, range(max(1, cases // OFTEN)), seed)
            finally:
                border.close()
        elif kind == "rows":
            _run_rows(report, max(1, cases // RARE), seed, url)
        elif kind == "cli":
            with tempfile.TemporaryDirectory() as folder, Shell(Path(folder)).inside() as shell:
                _run(report, shell.case, range(max(1, cases // RARE)), seed)
        yield report


def _run_rows(report: Report, cases: int, seed: int, url: str) -> None:
    if url:
        place = Schemas(url)
        try:
            _run(report, Tampering(place).case, range(cases), seed)
        finally:
            place.close()
        return
    with tempfile.TemporaryDirectory() as folder:
        _run(report, Tampering(Files(Path(folder))).case, range(cases), seed)


def _run(report: Report, case: Case, numbers: range, seed: int) -> None:
    for number in numbers:
        watch(report, number, partial(case, Random(f"{seed}:{report.kind}:{number}")))
