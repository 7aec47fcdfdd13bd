"""What every job does, whoever runs it: it takes a few milliseconds, and writes down when it began and ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Final

from chaos.history import History

NAP_S: Final = (0.005, 0.05)
"""The shortest and longest time that a job takes."""
_histories: list[History] = []


def write_to(path: Path) -> None:
    """Where the jobs of this process are written down."""
    _histories[:] = [History(path)]


async def do(number: int) -> None:
    """The job: the same number takes the same time, every time."""
    history = _histories[0]
    history.write("begin", number)
    await asyncio.sleep(Random(number).uniform(*NAP_S))
    history.write("end", number)
