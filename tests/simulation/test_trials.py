"""Whole clusters on virtual time. `make sim ARGS="--seeds 10000 --jobs 2"` runs as many as you like."""

import random
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from simulation.nemesis import draw_plan
from simulation.trial import WORKLOADS, run

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("workload", sorted(WORKLOADS))
@pytest.mark.parametrize("seed", [1, 2])
def test_a_cluster_breaks_no_promise(workload: str, seed: int) -> None:
    verdict = run(seed, (workload,))

    assert verdict.violations == [], verdict.as_text()
    assert verdict.commits > 0
    assert sum(verdict.faults.values()) > 1  # the calm at the end is one.


@pytest.mark.parametrize("workload", ["trips", "counters"])
def test_a_storm_of_deaths_breaks_no_promise(workload: str) -> None:
    verdict = run(1, (workload,), storm=True)

    assert verdict.violations == [], verdict.as_text()
    assert verdict.crashes > 100
    assert verdict.hits > 50
    assert verdict.faults.keys() <= {"kill", "strike", "calm"}


def test_the_same_seed_gives_the_same_history_in_another_process() -> None:
    command = [sys.executable, "-m", "simulation", "--seed", "20", "--seeds", "3", "--hashes"]

    first, second = (subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300) for _ in range(2))

    assert first.returncode == 0, first.stdout + first.stderr
    hashes = first.stdout.splitlines()[:3]
    assert hashes == second.stdout.splitlines()[:3]
    assert len({line.split()[1] for line in hashes}) == 3


def test_faults_of_all_kinds_are_drawn_and_none_is_always_there() -> None:
    plans = [asdict(draw_plan(random.Random(seed))) for seed in range(200)]
    drawn = Counter(name for plan in plans for name, value in plan.items() if value)

    rare = {name: count for name, count in drawn.items() if name not in ("weather", "restart_s")}
    assert rare.keys() == {f"{kind}_s" for kind in ("kill", "freeze", "block", "drain", "away", "full", "jump")} | {
        "struck",
        "stilled",
    }
    assert all(20 < count < 180 for count in rare.values()), rare


def test_a_wrong_command_line_is_told_what_is_right() -> None:
    command = [sys.executable, "-m", "simulation", "--workloads", "chain"]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 2
    assert "no workload is called chain; there are boxes, chains," in ended.stderr
