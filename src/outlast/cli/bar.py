"""How far long work is, on standard error: rich's bar on a terminal that has it, else a plain line now and then."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Final, Self

from outlast.cli import terminal

_WIDTH: Final = 30
_STEPS: Final = 10
"""Lines that a bar takes where it cannot be redrawn."""


class Bar:
    """A bar from 0 to `total`, as a context manager.

    Args:
        what: What is counted, in one word.
        shown: Whether to show it at all; notes are shown in any case.
    """

    def __init__(self, what: str, total: int, *, shown: bool = True) -> None:
        self._what = what
        self._total = total
        self._shown = shown
        self._on_terminal = sys.stderr.isatty()
        self._progress: Any = None
        self._task: Any = None
        self._drawn = -1

    def __enter__(self) -> Self:
        if self._shown and self._on_terminal:
            self._progress = _rich_progress()
        if self._progress is not None:
            self._progress.start()
            self._task = self._progress.add_task(self._what, total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
        elif self._shown and self._on_terminal:
            terminal.note("")

    def show(self, done: int, *, total: int | None = None) -> None:
        """So many are done."""
        self._total = self._total if total is None else total
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=self._total)
        elif self._shown:
            self._draw(done)

    def say(self, text: str) -> None:
        """A line beside the bar."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False)
        elif self._shown and self._on_terminal:
            sys.stderr.write(f"\r{text:<70}\n")
            self._drawn = -1
        else:
            terminal.note(text)

    def _draw(self, done: int) -> None:
        share = done / self._total if self._total else 1.0
        place = int(share * (_WIDTH if self._on_terminal else _STEPS))
        if place == self._drawn:
            return
        self._drawn = place
        if self._on_terminal:
            filled = "#" * place + "." * (_WIDTH - place)
            sys.stderr.write(f"\r{self._what} [{filled}] {done:,}/{self._total:,}")
            sys.stderr.flush()
        else:
            terminal.note(f"{self._what}: {done:,} of {self._total:,}")


def _rich_progress() -> Any:
    """A bar of rich's; None: it is not installed."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        return None
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
