"""`python -m tests.fuzz --cases 100000 --seed 1`: malformed input, until something is found."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chaos.record import lines
from chaos.record.entries import SAID_MAX
from tests.fuzz.campaign import KINDS, run


def main() -> int:
    """Runs the kinds that are asked for. Returns 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="how many of each kind (rows and cli: a hundredth)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this one; repeatable")
    parser.add_argument("--url", default="", help="a Postgres database that may be filled, for border and rows")
    parser.add_argument("--record", type=Path, metavar="FILE", help="add a line for the crash record to this file")
    told = parser.parse_args()
    reports = []
    for report in run(told.kind or list(KINDS), told.cases, told.seed, told.url):
        print(report, flush=True)
        reports.append(report)
    found = [what for report in reports for what in report.findings]
    if told.record:
        lines.append(
            told.record,
            "R19",
            f"`{lines.words()}`",
            seed=told.seed,
            operations=sum(report.cases for report in reports),
            violations=len(found),
            said=found[:SAID_MAX],
            duration_s=sum(report.seconds for report in reports),
            more={f"cases, {report.kind}": report.cases for report in reports}
            | {"slowest case, s": round(max(report.slowest_s for report in reports), 3)},
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
