"""What a worker may write down beside its work, and how hints are kept from it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from chaos.history import History, Story
from outlast import Engine

_LOOK_S = 0.5


def gauge(engine: Engine, history: History) -> None:
    """Writes down how long claims take, each attempt to connect, and twice a second how many tasks there are."""

    def note(name: str, fields: dict[str, Any]) -> None:
        if name == "claim.stop":
            history.write("claimed", round(fields["duration_s"] * 1e6), fields["count"])

    engine.events.listen(note)
    links: Any = getattr(engine._store, "_links", None)
    if links is not None:
        connect = links.connect

        async def dialled(*values: Any, **more: Any) -> Any:
            history.write("dialled")
            return await connect(*values, **more)

        links.connect = dialled
    loop = asyncio.get_running_loop()

    def look() -> None:
        history.write("tasks", len(asyncio.all_tasks()))
        loop.call_later(_LOOK_S, look)

    look()


def deafen(engine: Engine) -> None:
    """Drops every hint between this process and others."""
    bell: Any = engine._store.bell

    async def listen(heard: Any) -> None:
        """Nobody is ever heard."""

    def ring(message: str) -> None:
        """Nobody hears."""

    bell.listen, bell.ring = listen, ring


def waits_s(stories: Sequence[Story]) -> dict[str, float]:
    """By instance: seconds from the acknowledgement of its start until its code first began."""
    began_us: dict[str, int] = {}
    for story in stories:
        for (id, _), at_us in story.runs.items():
            began_us[id] = min(at_us, began_us.get(id, at_us))
    return {
        id: max(0, began_us[id] - started_us) / 1e6
        for story in stories
        for id, started_us in story.started_us.items()
        if id in began_us
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
