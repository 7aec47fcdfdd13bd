"""What the demo checks: the record of executions and commits, the rows, and the files themselves."""

from __future__ import annotations

import os
import sysconfig
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from outlast._model import Instance
from outlast.cli.demo.work import Measure, measure
from outlast.errors import ConfigError

_ENOUGH: Final = 1_000
_Signature = tuple[int, int]


@dataclass(slots=True)
class Tally:
    """What the workers have written to the record so far.

    Attributes:
        runs: Executions by instance.
        acks: By instance, the epochs whose commit was acknowledged.
    """

    path: Path
    runs: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    acks: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _offset: int = 0

    def read(self) -> None:
        """Takes in what was written since."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode().splitlines():
            kind, id, number = line.split()
            if kind == "run":
                self.runs[id] += 1
            else:
                self.acks[id].append(int(number))

    @property
    def run_again(self) -> int:
        """Executions beyond the first of each instance."""
        return sum(self.runs.values()) - len(self.runs)


@dataclass(frozen=True, slots=True)
class Files:
    """The files to measure, with size and time of change as they were found.

    Attributes:
        unnamed: Files left out because their names are not text.
    """

    found: Mapping[str, _Signature]
    unnamed: int

    def unchanged(self) -> dict[str, Measure]:
        """Every file that is as it was found, measured here and now."""
        return {path: measure(path) for path, seen in self.found.items() if _signature(path) == seen}


def files_under(folder: Path | None) -> Files:
    """The regular files under a folder; None: the interpreter's own standard library.

    Raises: ConfigError: there are none.
    """
    place = Path(sysconfig.get_path("stdlib")) if folder is None else folder
    found = dict(_walk(place, skip={"site-packages", "dist-packages", "__pycache__"} if folder is None else set()))
    if folder is None and len(found) < _ENOUGH:  # some systems ship it in pieces.
        found = dict(_walk(place, skip=set()))
    named = {path: seen for path, seen in found.items() if _is_text(path)}
    if not named:
        raise ConfigError(f"there are no files under {place}; name a folder with some, or none for the demo's own")
    return Files(named, len(found) - len(named))


def _walk(folder: Path, *, skip: set[str]) -> Iterator[tuple[str, _Signature]]:
    for parent, folders, names in os.walk(folder.absolute()):
        folders[:] = sorted(set(folders) - skip)
        for name in sorted(names):
            path = os.path.join(parent, name)
            if os.path.isfile(path) and not os.path.islink(path) and (seen := _signature(path)) is not None:
                yield path, seen


def _signature(path: str) -> _Signature | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(slots=True)
class Verdict:
    """What came of the demo's jobs.

    Attributes:
        lost: Jobs without the right result.
        committed_twice: Jobs that two executions committed, and rows that nobody started.
        changed: Files that changed while the demo ran, and were not compared.
        size, lines: Totals of the jobs' results over the compared files.
        matches: Whether these are the totals of the direct computation.
    """

    lost: int = 0
    committed_twice: int = 0
    changed: int = 0
    size: int = 0
    lines: int = 0
    matches: bool = True


def judge(
    started: Mapping[str, str], rows: Mapping[str, Instance], direct: Mapping[str, Measure], tally: Tally
) -> Verdict:
    """Compares what was started, what stands in the database, what the record says, and the files.

    Args:
        started: The path of each instance.
        rows: The instances found in the database.
        direct: The measure of each file that has not changed meanwhile.
    """
    verdict = Verdict(committed_twice=len(rows.keys() - started.keys()))
    verdict.changed = len(set(started.values()) - direct.keys())
    expected_size = expected_lines = 0
    for id, path in started.items():
        row = rows.get(id)
        if row is None or row.status != "done":
            verdict.lost += 1
            continue
        # The row stands as its last claim committed it: an acknowledgement to any other was a second commit.
        verdict.committed_twice += tally.acks.get(id, [row.epoch]) != [row.epoch]
        if path in direct:
            result = row.result
            verdict.lost += result != direct[path]
            verdict.size += result["size"]
            verdict.lines += result["lines"]
            expected_size += direct[path]["size"]
            expected_lines += direct[path]["lines"]
    verdict.matches = (verdict.size, verdict.lines) == (expected_size, expected_lines)
    return verdict
