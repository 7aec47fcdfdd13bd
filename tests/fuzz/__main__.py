"""`python -m tests.fuzz --cases 100000 --seed 1`: malformed input, until something is found."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.campaign import KINDS, run


def main() -> int:
    """Runs the kinds that are asked for. Returns 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="how many of each kind (rows and cli: a hundredth)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this one; repeatable")
    parser.add_argument("--url", default="", help="a Postgres database that may be filled, for border and rows")
    told = parser.parse_args()
    found = 0
    for report in run(told.kind or list(KINDS), told.cases, told.seed, told.url):
        print(report, flush=True)
        found += len(report.findings)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
