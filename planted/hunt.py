"""Asks the hunters, one after the other, until one finds the bug."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from planted.bug import KINDS, LIMITS_S, Bug, Hunter, Kind
from planted.workshop import ROOT, SOURCES, copied, planted

_SEED: Final = re.compile(r"^seed (\d+): VIOLATION\n(.+)$", re.MULTILINE)
_TEST: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
_FAILED: Final = 1
"""What the simulation and pytest end with when something is wrong with our code, not with how they were called."""


class Unfit(Exception):
    """A hunter cannot be trusted: it could not be asked."""


@dataclass(frozen=True)
class Catch:
    """What came of one bug.

    Attributes:
        hunter: Who found it; None: it lives.
        seeds: Seeds that the simulation needed.
        seconds: How long it took, whoever was asked.
        clue: What was seen: a broken rule, or the test that failed.
    """

    bug: Bug
    hunter: Hunter | None
    seeds: int | None
    seconds: float
    clue: str

    def as_dict(self) -> dict[str, object]:
        """For machines."""
        return {
            "name": self.bug.name,
            "entry": self.bug.entry,
            "breaks": self.bug.breaks,
            "file": self.bug.file,
            "caught_by": self.hunter and self.hunter.kind,
            "with": self.hunter and list(self.hunter.what),
            "seeds": self.seeds,
            "seconds": round(self.seconds, 1),
            "clue": self.clue,
        }


def catch_of(bugs: Mapping[str, Bug], told: Mapping[str, Any]) -> Catch | None:
    """What `Catch.as_dict` wrote. None: the bug, or its hunter, is another by now."""
    bug = bugs.get(told["name"])
    if bug is None or told["caught_by"] is None:
        return None
    hunter = Hunter(told["caught_by"], tuple(told["with"]))
    return Catch(bug, hunter, told["seeds"], told["seconds"], told["clue"]) if hunter in bug.hunters else None


@dataclass(frozen=True)
class _Finding:
    clue: str
    seed: int | None = None


def hunt(bug: Bug, seeds: int, kinds: Collection[Kind] = KINDS) -> Catch:
    """Plants the bug and asks its hunters. What they say is worth nothing where they say it without, too: see `red`.

    Args:
        seeds: Of the simulation, at most.
        kinds: Which hunters are asked.

    Raises: OutOfDate, Unfit.
    """
    began = time.monotonic()
    with planted(bug) as folder:
        for hunter in bug.hunters:
            if hunter.kind not in kinds:
                continue
            found = _ask(hunter, folder, first=0, seeds=seeds)
            if found is not None:
                count = None if found.seed is None else found.seed + 1
                return Catch(bug, hunter, count, time.monotonic() - began, found.clue)
    return Catch(bug, None, None, time.monotonic() - began, "")


def check_copies_are_used() -> None:
    """Whether a copy is what is imported, and not what is installed. Raises: Unfit."""
    with copied() as folder:
        told = _run(["-c", "import outlast; print(outlast.__file__)"], folder, 60)
        if not told.stdout.strip().startswith(str(folder)):
            raise Unfit(f"the copy in {folder} is not what is imported: {told.stdout}{told.stderr}")


def red(catches: Iterable[Catch]) -> list[str]:
    """The same questions to our own code as it is: what somebody finds in it. All that found bugs must be silent."""
    tests: set[str] = set()
    seeds: dict[Hunter, int] = {}
    for each in catches:
        if each.hunter is None:
            continue
        if each.hunter.kind == "simulation":
            seeds[each.hunter] = max(seeds.get(each.hunter, 0), each.seeds or 1)
        elif "::" in each.clue:
            tests.add(each.clue)
    asked = list(seeds.items())
    if tests:
        asked.append((Hunter("suite", tuple(sorted(tests))), 1))
    found = [(hunter, _ask(hunter, SOURCES, first=0, seeds=count)) for hunter, count in asked]
    return [f"the {hunter.kind} is red without any bug: {seen.clue}" for hunter, seen in found if seen is not None]


def _ask(hunter: Hunter, folder: Path, *, first: int, seeds: int) -> _Finding | None:
    if hunter.kind == "simulation":
        workloads = ",".join(hunter.what)
        command = ["-m", "simulation", "--seed", str(first), "--seeds", str(seeds), "--workloads", workloads]
    else:
        command = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", *hunter.what]
    try:
        told = _run(command, folder, LIMITS_S[hunter.kind])
    except subprocess.TimeoutExpired:
        return _Finding("it went on for ever")
    if told.returncode == 0:
        return None
    if told.returncode != _FAILED:
        raise Unfit(f"{' '.join(command)} ended with {told.returncode}:\n{told.stdout[-2000:]}{told.stderr[-2000:]}")
    if hunter.kind == "simulation":
        seen = _SEED.search(told.stdout)
        if seen is None:
            raise Unfit(f"{' '.join(command)} broke:\n{told.stdout[-2000:]}{told.stderr[-2000:]}")
        return _Finding(seen[2], int(seen[1]))
    failed = _TEST.search(told.stdout)
    return _Finding(failed[1] if failed else "a test failed")


def _run(arguments: list[str], folder: Path, limit_s: float) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": "0"}
    # In a group of its own: what is stopped must leave none of its processes behind.
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=limit_s)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)
