"""What a database that lost its power must still hold: all that was acknowledged by then."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from chaos.history import Reader
from outlast._kernel.states import FINAL

_ROWS = "SELECT id, status, commits, commit_epoch FROM outlast_instances"


@dataclass
class Promises:
    """What was acknowledged up to some moment, which only goes forward.

    Attributes:
        started: Instances whose start was acknowledged.
        commits: How many outcomes were, by instance.
        newest: Epoch and status of the last of them.
    """

    started: set[str] = field(default_factory=set)
    commits: dict[str, int] = field(default_factory=dict)
    newest: dict[str, tuple[int, str]] = field(default_factory=dict)
    _to_come: list[tuple[int, str, str, int, str]] = field(default_factory=list)

    @classmethod
    def of(cls, histories: Iterable[Path]) -> Promises:
        """All that the processes with these histories were told."""
        promises = cls()
        for path in histories:
            for at_us, word, fields in Reader(path).news():
                if word == "start":
                    promises._to_come.append((at_us, word, fields[0], 0, ""))
                elif word == "commit":
                    promises._to_come.append((at_us, word, fields[0], int(fields[1]), fields[2]))
        promises._to_come.sort(reverse=True)
        return promises

    def go_on(self, until_us: int) -> None:
        """Makes it all that was acknowledged before that moment."""
        while self._to_come and self._to_come[-1][0] < until_us:
            _, word, id, epoch, status = self._to_come.pop()
            if word == "start":
                self.started.add(id)
                continue
            self.commits[id] = self.commits.get(id, 0) + 1
            self.newest[id] = max(self.newest.get(id, (0, "")), (epoch, status), key=lambda found: found[0])


def broken(path: Path, promises: Promises) -> Iterator[str]:
    """What is wrong with the database in this file."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")  # the image is thrown away.
            damage = connection.execute("PRAGMA integrity_check(3)").fetchall()
            rows = {row[0]: row[1:] for row in connection.execute(_ROWS)}
    except sqlite3.Error as error:
        yield f"damage: {error}"
        return
    if damage != [("ok",)]:
        yield "damage: " + "; ".join(str(row[0]) for row in damage)
    if lost := sorted(id for id in promises.started if id not in rows):
        yield f"lost: {len(lost)} instances whose start was acknowledged, such as {lost[0]}"
    short = [id for id, count in promises.commits.items() if id in rows and rows[id][1] < count]
    if short:
        yield f"lost: {len(short)} outcomes that were acknowledged, such as one of {min(short)}"
    for id, (epoch, status) in promises.newest.items():
        if id not in rows or id in short:
            continue
        has, _, commit_epoch = rows[id]
        if commit_epoch < epoch or (status in FINAL and has != status):
            yield f"stale: {id} was acknowledged as {status} in claim {epoch}, and is {has} of claim {commit_epoch}"
