"""How other commands tell what they have run: a line of JSON for each row, which `--add` takes."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chaos.record.command import current_commit
from chaos.record.entries import Entry, append_line
from chaos.report import versions


def append(path: Path, row: str, ran: str, **facts: Any) -> None:
    """Adds a line: which row, what was run, in words, and the fields of an `Entry`; date, commit and versions come by
    themselves."""
    entry = Entry(
        row=row,
        ran=ran,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        commit=current_commit(),
        versions=facts.pop("versions", None) or versions(),
        **facts,
    )
    append_line(path, entry)


def words() -> str:
    """The command line that runs, without what names files: how to do it again."""
    spec = sys.modules["__main__"].__spec__
    name = Path(sys.argv[0]).stem if spec is None else spec.name.removesuffix(".__main__")
    told = [word for word in sys.argv[1:] if os.sep not in word and word != "--record"]
    return " ".join(["python -m", name, *told])
