"""The parent's side of `bench.child`: starts parts in processes of their own and hears what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, Self

from bench.places import Database

ROOT = Path(__file__).parent.parent


class Child:
    """A part at work.

    Args:
        part: `module:function`, an async function whose first parameter is a `child.Stage`.
        arguments: Its others; JSON must be able to carry them.
    """

    def __init__(self, part: str, **arguments: Any) -> None:
        self._part = part
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.child", part, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self._process.kill()
        self._pipe("stdin").close()
        self._process.wait()
        self._pipe("stdout").close()

    def hear(self) -> dict[str, Any]:
        """The next thing it says. Raises: RuntimeError: it ended without a word."""
        line = self._pipe("stdout").readline()
        if not line:
            raise RuntimeError(f"{self._part} ended with {self._process.wait()}")
        facts: dict[str, Any] = json.loads(line)
        return facts

    def nod(self) -> None:
        """It may go on."""
        self._pipe("stdin").write("\n")
        self._pipe("stdin").flush()

    def _pipe(self, name: str) -> IO[str]:
        pipe: IO[str] = getattr(self._process, name)
        return pipe


def play(database: Database, part: str, **arguments: Any) -> dict[str, Any]:
    """Runs a part that says two things, ready and done, and returns what it found in between.

    On SQLite this includes commits and statements, over the child's whole life.
    """
    with Child(part, url=database.url, **arguments) as child:
        child.hear()
        began_s = database.cpu_s()
        child.nod()
        facts = child.hear()
        ended_s = database.cpu_s()
        child.nod()
        facts |= child.hear()
    facts["database_cpu_s"] = None if began_s is None or ended_s is None else ended_s - began_s
    return facts


def run(database: Database, part: str, **arguments: Any) -> dict[str, Any]:
    """As `play`, with commits and statements as a Postgres counts them; nobody else may be connected to it."""
    before = database.counts()
    facts = play(database, part, **arguments)
    return facts | database.counts_since(before)
