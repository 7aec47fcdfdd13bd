"""The interleaving lab: `python -m tests.lab --full`, or with `--cap 10`, `--triples 100`, `--mutant no-fence`."""

import argparse
import asyncio
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import asyncpg

from chaos.record import lines
from chaos.record.entries import SAID_MAX
from chaos.report import versions
from harness import postgres
from tests.lab.lab import open_lab
from tests.lab.mutants import MUTANTS
from tests.lab.races import KINDS, race
from tests.lab.scenes import SCENES
from tests.lab.trials import Plan, Tally, Trial


async def run(url: str, scenes: list[str], plan: Plan, mutant: str | None, pair: list[str] | None) -> Tally:
    """Runs scenes, and says what came of each."""
    total = Tally()
    async with open_lab(url) as lab:
        for name in scenes:
            began = time.monotonic()
            tally = await Trial(lab, plan).run(
                name, [pair] if pair else None, mutant=MUTANTS[mutant].planted if mutant else nullcontext
            )
            print(f"{name:10} {shown(tally)}, {time.monotonic() - began:.1f} s", flush=True)
            total.add(tally)
    return total


async def run_races(url: str, count: int, seed: int, mutant: str | None) -> int:
    """Runs races of each kind, and says what came of them. Returns how many went wrong."""
    lost = 0
    async with open_lab(url) as lab:
        for kind in KINDS:
            began = time.monotonic()
            score = await race(lab, url, kind, count, seed=seed, mutant=MUTANTS[mutant] if mutant else None)
            shares = f"the signal ended last in {score.first}, first in {score.second}"
            print(
                f"{kind:10} {score.races} races, {shares}, {score.lost} lost, {time.monotonic() - began:.1f} s",
                flush=True,
            )
            for finding in score.findings:
                print(f"  {finding}")
            lost += score.lost
    return lost


async def _version(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval("SHOW server_version")).partition(" ")[0]
    finally:
        await connection.close()


def shown(tally: Tally) -> str:
    """The counts."""
    return (
        f"{tally.groups} groups, {tally.plays} interleavings, {tally.statements} statements,"
        f" {tally.blocked} with a wait, {tally.deadlocks} deadlocks, {tally.cut} cut, {tally.strayed} strayed,"
        f" {tally.broken} violations"
    )


def main() -> int:
    """Parses the command and runs it. Returns 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("scenes", nargs="*", help=f"of {', '.join(SCENES)}; default: all")
    parser.add_argument("--full", action="store_true", help="every interleaving of every pair")
    parser.add_argument("--cap", type=int, default=10, help="interleavings of a pair (default: 10)")
    parser.add_argument(
        "--limit", type=int, default=1_000, help="with --full, orders of a pair at most; 0: all of them"
    )
    parser.add_argument("--holds", type=int, default=1, help="rows that a third holds while a pair meets (default: 1)")
    parser.add_argument("--triples", type=int, default=0, help="so many triples of each scene instead of its pairs")
    parser.add_argument("--races", type=int, default=0, help="so many races of each kind at full speed, instead")
    parser.add_argument("--seed", type=int, default=1, help="whence chance comes (default: 1)")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="plants a bug: the run must fail")
    parser.add_argument("--pair", help="only these operations, with commas")
    parser.add_argument("--short", action="store_true", help="leave out operations that are much like others")
    parser.add_argument("--stop", action="store_true", help="end a scene at its first violation")
    parser.add_argument("--record", type=Path, metavar="FILE", help="add a line for the crash record to this file")
    given = parser.parse_args()
    plan = Plan(
        None if given.full else given.cap,
        given.limit or sys.maxsize,
        None if given.full else given.holds,
        given.triples,
        given.seed,
        given.stop,
        not given.short,
    )
    pair = given.pair.split(",") if given.pair else None
    with postgres.obtain(durable=False) as server, server.fresh_database() as url:
        if given.races:
            return 1 if asyncio.run(run_races(url, given.races, given.seed, given.mutant)) else 0
        began = time.monotonic()
        version = asyncio.run(_version(url))
        total = asyncio.run(run(url, given.scenes or list(SCENES), plan, given.mutant, pair))
    print(f"\nin all: {shown(total)}")
    for finding in total.findings:
        print(f"  {finding}")
    for names in sorted(total.deadlocked):
        print(f"  deadlock: {names}")
    if given.record:
        lines.append(
            given.record,
            "R15",
            f"`{lines.words()}`",
            seed=given.seed,
            versions=versions("postgres", version),
            operations=total.plays,
            violations=total.broken,
            said=total.findings[:SAID_MAX],
            duration_s=time.monotonic() - began,
            more={
                "groups of operations": total.groups,
                "interleavings": total.plays,
                "statements": total.statements,
                "in which one waited": total.blocked,
                "deadlocks": total.deadlocks,
                "groups with more orders than were run": total.cut,
            },
        )
    return 1 if total.broken else 0


if __name__ == "__main__":
    sys.exit(main())
