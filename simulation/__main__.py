"""The command: `python -m simulation --seed 0 --seeds 100`."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from chaos.record import lines
from chaos.report import versions
from simulation.apart import judged
from simulation.total import Total, Verdict
from simulation.trial import WORKLOADS, run


def main() -> int:
    """Simulates what the command line asks for. 0: nothing was violated."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of texts are walked in an order that differs from process to process, unless it is told not to.
        command = [sys.executable, "-m", "simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    parser = argparse.ArgumentParser(prog="simulation", description="Run clusters on virtual time, and check them.")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seeds", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--seconds", type=float, help="instead: as many as there is time for")
    parser.add_argument("--workloads", help=f"of {', '.join(sorted(WORKLOADS))}, with commas (default: the seed draws)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the seeds (default: 1)")
    parser.add_argument("--storm", action="store_true", help="nothing but deaths, hundreds a second")
    parser.add_argument("--twice", action="store_true", help="run each seed twice: the histories must be the same")
    parser.add_argument("--go-on", action="store_true", help="do not stop at the first violation")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON instead of a summary")
    parser.add_argument("--record", type=Path, metavar="FILE", help="add a line for the crash record to this file")
    parser.add_argument("--hashes", action="store_true", help="print the hash of each seed's history")
    chosen = parser.parse_args()
    names = tuple(chosen.workloads.split(",")) if chosen.workloads else None
    if unknown := set(names or ()) - WORKLOADS.keys():
        parser.error(f"no workload is called {', '.join(sorted(unknown))}; there are {', '.join(sorted(WORKLOADS))}")
    if chosen.jobs < 1 or chosen.seeds < 1:
        parser.error("--jobs and --seeds are at least 1")
    total = _simulate(chosen, names)
    print(json.dumps(total.as_dict()) if chosen.json else total.as_text(), flush=True)
    if chosen.record:
        _record(chosen, total)
    return 1 if total.violations else 0


def _record(chosen: argparse.Namespace, total: Total) -> None:
    lines.append(
        chosen.record,
        "R13",
        f"{total.seeds:,} seeds{', each twice, with equal hashes' if chosen.twice else ''}: `{lines.words()}`",
        seed=chosen.seed,
        versions=versions("sqlite", sqlite3.sqlite_version),
        operations=total.transactions,
        commits=total.commits,
        faults_injected=total.hits,
        faults_effective=total.hits,
        violations=total.violations,
        duration_s=total.real_s,
        more={
            "storms" if chosen.storm else "all kinds of faults": {
                "crashes": total.crashes,
                "of them in the middle of work": total.hits,
                "crashes per second of a core": round(total.crashes / max(total.cpu_s, 1e-9)),
                "transactions": total.transactions,
                "claims": total.claims,
                "lost messages": total.lost,
                "hours of virtual time": round(total.virtual_s / 3600, 1),
                **{f"faults, {kind}": count for kind, count in sorted(total.faults.items()) if kind != "calm"},
            }
        },
    )


def _simulate(chosen: argparse.Namespace, names: tuple[str, ...] | None) -> Total:
    total, started = Total(), time.monotonic()
    logging.disable(logging.CRITICAL)  # outages by the thousand.
    verdicts = judged(_seeds(chosen, started), partial(_judge, chosen, names), chosen.jobs)
    try:
        for verdict in verdicts:
            total.add(verdict)
            if chosen.hashes:
                print(verdict.seed, verdict.digest, flush=True)
            if verdict.violations:
                print(verdict.as_text(), flush=True)
                if not chosen.go_on:
                    break
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    finally:
        verdicts.close()
    total.real_s = time.monotonic() - started
    return total


def _seeds(chosen: argparse.Namespace, started: float) -> Iterator[int]:
    for seed in itertools.count(chosen.seed):
        if chosen.seconds is not None and time.monotonic() - started > chosen.seconds:
            return
        if chosen.seconds is None and seed >= chosen.seed + chosen.seeds:
            return
        yield seed


def _judge(chosen: argparse.Namespace, names: tuple[str, ...] | None, seed: int) -> Verdict:
    """In a process that ends after it."""
    if not chosen.twice:
        return run(seed, names, storm=chosen.storm, tidy=False)
    verdict = run(seed, names, storm=chosen.storm)
    again = run(seed, names, storm=chosen.storm, tidy=False).digest
    if not verdict.violations and again != verdict.digest:
        verdict.violations.append(f"the same seed gave another history: {verdict.digest}, then {again}")
    return verdict


if __name__ == "__main__":
    sys.exit(main())
