"""One part of a measurement, in a fresh process: `python -m bench.child MODULE:FUNCTION ARGUMENTS`.

Its CPU, memory and interpreter lock are its own. It speaks to its parent in lines of JSON; see `children`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any

from bench import meter


class Stage:
    """How a part keeps step with its parent."""

    def say(self, **facts: Any) -> None:
        """Tells the parent."""
        print(json.dumps(facts), flush=True)

    async def ask(self, **facts: Any) -> None:
        """Tells the parent, and waits for its nod (or its end)."""
        self.say(**facts)
        await asyncio.to_thread(sys.stdin.readline)


async def main(part: str, arguments: str) -> None:
    """Runs one part: an async function of a stage and of the given arguments."""
    module, _, name = part.partition(":")
    play = getattr(importlib.import_module(module), name)
    meter.count_sqlite()
    await play(Stage(), **json.loads(arguments))
    Stage().say(**meter.sqlite_counts())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
