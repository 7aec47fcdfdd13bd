"""The disk under a run: what is on it for certain at each moment, and what may be."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, Literal, NamedTuple

WRITE, TRUNCATE, SYNC_BEGINS, SYNC_ENDS, UNLINK = range(1, 6)
ENDS: Final = {1: "", 2: "-wal", 3: "-journal"}
"""What is added to the database's name, by a file's number in the log."""
SECTOR_BYTES: Final = 512
"""What a disk writes whole, or not at all."""
_HEAD: Final = struct.Struct("=QIIIIQ")

Loss = Literal["all", "some", "torn"]
"""What becomes of writes that were not synced: none is there; some are; all are, but the last, which is torn."""


class Act(NamedTuple):
    """One thing done to a file, as `writes.c` tells it; `offset` is the new length where it is cut."""

    at_ns: int
    kind: int
    file: int
    process: int
    offset: int
    data: bytes


def read_log(path: Path) -> Iterator[Act]:
    """What was done, in order."""
    log = path.read_bytes()
    place = 0
    while place < len(log):
        at_ns, kind, file, process, length, offset = _HEAD.unpack_from(log, place)
        place += _HEAD.size
        yield Act(at_ns, kind, file, process, offset, log[place : place + length])
        place += length


@dataclass
class Disk:
    """What is there of each file.

    A write may be on the disk from the moment that it is made, and is on it when a sync has ended that began later.

    Attributes:
        kept: What is on the disk, by file; a file that is not there has no entry.
        loose: What was done and may be on it, in order, with its number.
    """

    kept: dict[int, bytearray]
    loose: list[tuple[int, Act]] = field(default_factory=list)
    _count: int = 0
    _begun: dict[tuple[int, int], int] = field(default_factory=dict)

    def do(self, act: Act) -> None:
        """The next thing that is done."""
        self._count += 1
        if act.kind == SYNC_BEGINS:
            self._begun[act.process, act.file] = self._count
        elif act.kind == SYNC_ENDS:
            begun = self._begun.pop((act.process, act.file))
            loose, self.loose = self.loose, []
            for number, one in loose:
                if one.file == act.file and number < begun:
                    _apply(self.kept, one)
                else:
                    self.loose.append((number, one))
        else:
            self.loose.append((self._count, act))

    def after(self, loss: Loss, dice: Random) -> dict[int, bytearray]:
        """The files as they may be when the power fails now."""
        files = {number: bytearray(content) for number, content in self.kept.items()}
        for act in survivors([act for _, act in self.loose], loss, dice):
            _apply(files, act)
        return files


def survivors(loose: Sequence[Act], loss: Loss, dice: Random) -> Iterator[Act]:
    """What of that which was not synced is on the disk."""
    share = dice.random()
    gone: set[int] = set()  # files that were made anew, of which the disk still has the old one.
    for place, act in enumerate(loose):
        if act.file in gone:
            continue
        if loss == "all" or (loss == "some" and dice.random() > share):
            if act.kind == UNLINK:
                gone.add(act.file)
            continue
        is_last = place == len(loose) - 1
        if loss == "torn" and is_last and act.kind == WRITE:
            yield act._replace(data=act.data[: _torn_at(act, dice)])
        else:
            yield act


def _torn_at(act: Act, dice: Random) -> int:
    """How many bytes of a write are there when it was torn between two sectors."""
    first = SECTOR_BYTES - act.offset % SECTOR_BYTES
    return dice.choice(range(first, len(act.data), SECTOR_BYTES) or (0,))


def _apply(files: dict[int, bytearray], act: Act) -> None:
    if act.kind == UNLINK:
        files.pop(act.file, None)
        return
    content = files.setdefault(act.file, bytearray())
    end = act.offset + len(act.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if act.kind == WRITE:
        content[act.offset : end] = act.data
    else:
        del content[act.offset :]
        content.extend(bytes(act.offset - len(content)))


def lay_out(files: dict[int, bytearray], path: Path) -> None:
    """Writes an image: the database at `path`, the others beside it."""
    for number, end in ENDS.items():
        if number in files:
            Path(f"{path}{end}").write_bytes(files[number])
