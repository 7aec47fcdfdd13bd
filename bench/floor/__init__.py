"""The floor: the same durable work as bare SQL, with no engine. Every part here has its twin on the other database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from outlast._world import SystemWorld

Change = Callable[[str], Awaitable[None]]
"""Changes a row and commits."""


def ids(n: int) -> list[str]:
    """Keys that the client makes, as the engine does: an insert can then be repeated. They grow with time."""
    world = SystemWorld()
    return [world.new_id() for _ in range(n)]
