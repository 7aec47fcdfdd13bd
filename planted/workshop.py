"""Copies of our code with one bug in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from outlast._store.statements import parse
from planted.bug import Bug

ROOT: Final = Path(__file__).parent.parent
SOURCES: Final = ROOT / "src"


class OutOfDate(Exception):
    """The code has changed, and a bug can no longer be planted as it is written down."""


def changed_text(bug: Bug) -> str:
    """The file with the bug in it.

    Raises: OutOfDate: the old text does not occur exactly once, or what comes of it is no Python or SQL of ours.
    """
    text = (SOURCES / "outlast" / bug.file).read_text()
    if (count := text.count(bug.old)) != 1:
        raise OutOfDate(f"mend this mutation: the old text of {bug.name} occurs {count} times in {bug.file}")
    changed = text.replace(bug.old, bug.new)
    if changed == text:
        raise OutOfDate(f"mend this mutation: {bug.name} changes nothing")
    if bug.file.endswith(".py"):
        try:
            compile(changed, bug.file, "exec")
        except SyntaxError as error:
            raise OutOfDate(f"mend this mutation: with {bug.name} {bug.file} is no Python: {error}") from None
    elif _names(changed) != _names(text):
        raise OutOfDate(f"mend this mutation: {bug.name} changes the names of statements in {bug.file}")
    return changed


def _names(text: str) -> list[str]:
    return [statement.name for statement in parse(text)]


@contextmanager
def planted(bug: Bug) -> Iterator[Path]:
    """A folder for PYTHONPATH with a copy of our code that has the bug. Raises: OutOfDate."""
    changed = changed_text(bug)
    with copied() as folder:
        (folder / "outlast" / bug.file).write_text(changed)
        yield folder


@contextmanager
def copied() -> Iterator[Path]:
    """A folder with a copy of our code as it is."""
    with TemporaryDirectory(prefix="planted-") as made:
        folder = Path(made)
        shutil.copytree(SOURCES / "outlast", folder / "outlast")
        shutil.copy2(SOURCES / "pytest_outlast.py", folder)
        yield folder
