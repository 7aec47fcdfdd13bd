"""What a process of the simulation knows of the outside: virtual clocks and seeded dice."""

from __future__ import annotations

import random
from typing import Final

from outlast._world import uuid7_text
from simulation.database import Database
from simulation.universe import ProcessLoop, Universe

BEGIN_US: Final = 1_767_225_600_000_000
"""2026-01-01, when every simulation begins."""


class SimulatedWorld:
    """See `outlast._world.World`.

    Args:
        universe: Its time.
        database: Where its store leads.
        lease_lane: The loop that renews its lease.
        seed: Of this run of a process.

    Attributes:
        ahead_us: How far its wall clock is wrong.
        node_ids: The ids under which this process has been a node.
    """

    def __init__(self, universe: Universe, database: Database, lease_lane: ProcessLoop, seed: int) -> None:
        self.database = database
        self.lease_lane = lease_lane
        self.dice = random.Random(seed)
        self.ahead_us = 0
        self.node_ids: set[str] = set()
        self._ids = random.Random(seed + 1)
        self._universe = universe
        self._serial = 0

    def monotonic(self) -> float:
        return self._universe.now

    def wall_us(self) -> int:
        return BEGIN_US + int(self._universe.now * 1_000_000) + self.ahead_us

    def pinned_us(self) -> int | None:
        return None

    def new_id(self) -> str:
        self._serial += 1
        return uuid7_text(self.wall_us() // 1000, self._serial & 0xFFF, self._ids.getrandbits(62))

    def new_node_id(self) -> str:
        id = f"{self._ids.getrandbits(128):032x}"
        self.node_ids.add(id)
        return id
