"""Rate limits that somebody waits for and nobody has declared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from outlast._kernel.limits import RATE, limit_name

Gates = Callable[[str], Awaitable[Sequence[Sequence[Any]]]]
"""Reads some gates at which somebody waits, those behind a gate, one in each row."""


async def find_strays(known: Collection[str], gates: Gates, limit: int) -> list[str]:
    """Up to `limit` rate limits at which somebody waits and whose names are not known."""
    found: list[str] = []
    after = RATE
    while len(found) < limit and (rows := await gates(after)):
        after = rows[-1][0]
        waited_for = [gate.removeprefix(RATE) for (gate,) in rows if gate.startswith(RATE)]
        if not waited_for:
            break
        found += [rate for rate in waited_for if limit_name(rate) not in known]
    return found[:limit]
