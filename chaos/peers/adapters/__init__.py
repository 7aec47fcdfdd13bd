"""One module for each system, with a class `Adapter`. Each needs its package, so only the one asked for is imported."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Final, Protocol

CONCURRENCY: Final = 10
"""Jobs that one worker process runs at the same time."""
SHORT_S: Final = 5
"""Seconds after which a silent worker, or a job that still runs, is given up in the runs called `short`."""
NAMES: Final = {
    "outlast": ("outlast", False),
    "outlast-short": ("outlast", True),
    "dbos": ("dbos", False),
    "procrastinate": ("procrastinate", False),
    "procrastinate-short": ("procrastinate", True),
    "oban": ("oban", False),
    "oban-short": ("oban", True),
    "absurd": ("absurd", False),
    "absurd-short": ("absurd", True),
}
"""What can be run: the adapter, and whether it is set to recover quickly."""


class Adapter(Protocol):
    """One system with its settings. Every method but `__init__` is called in a process of its own.

    Attributes:
        PACKAGES: What was installed for it, by the names of the index.
        OPEN: The SQL that counts the jobs which its database does not call done.
        settings: Everything that is not a default, and the defaults that matter here.
    """

    PACKAGES: Sequence[str]
    OPEN: str
    settings: str

    def __init__(self, short: bool) -> None: ...

    def prepare(self, url: str) -> None:
        """Makes its tables and queues."""

    def submit(self, url: str, numbers: Sequence[int]) -> None:
        """Hands in one job for each number. When it returns, they are promised."""

    def work(self, url: str, place: int) -> None:
        """Runs jobs until it is killed. `place`: which of the workers it is; who replaces it has the same."""


def adapter(name: str) -> Adapter:
    """The one of that name. Raises: ImportError: its package is not installed."""
    module, short = NAMES[name]
    made: Adapter = import_module(f"{__name__}.{module}").Adapter(short)
    return made
