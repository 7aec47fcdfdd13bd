"""What the code of simulated processes shares with whoever watches it: one simulation runs at a time."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

from simulation.cluster import Cluster, Process
from simulation.referee import Referee
from simulation.universe import Universe


class Scene:
    """One simulation while it runs.

    Attributes:
        dice: Of the workloads.
        calm: Whether faults are over: what is left must end.
        runs: Runs of steps so far.
        notes: What code of the workloads wants to be judged by.
    """

    now: Scene
    """The one that runs."""

    def __init__(self, universe: Universe, cluster: Cluster, referee: Referee, dice: random.Random) -> None:
        self.universe = universe
        self.cluster = cluster
        self.referee = referee
        self.dice = dice
        self.calm = False
        self.runs = 0
        self.notes: list[Any] = []
        self._numbers = itertools.count(1)

    def new_number(self) -> int:
        """A number that nobody else has."""
        return next(self._numbers)

    def ran(self, instance: str, step: str, *, is_recorded: bool = False) -> int:
        """A step's code begins. Returns a number that no other run of a step has."""
        self.runs += 1
        self.referee.tell("ran", instance, step, self.runs)
        if is_recorded and (instance, step) in self.referee.recorded and instance not in self.referee.retried:
            self.referee.accuse(f"step {step} of {instance} runs again, and was recorded")
        return self.runs

    def held(self, instance: str, text: str) -> Any:
        """What a row holds, if it is surely held by the process that this code runs in; else None."""
        process: Process = asyncio.get_running_loop().owner  # type: ignore[attr-defined]
        if len(process.world.node_ids) > 1:  # it was buried once: a run of a former claim may be this.
            return None
        (node,) = process.world.node_ids
        rows = self.query(
            f"SELECT {text} FROM outlast_instances WHERE id = ? AND status = 'running' AND node = ?", instance, node
        )
        return rows[0][0] if rows else None

    def query(self, text: str, *values: Any) -> list[Any]:
        """What stands in the database now."""
        return self.cluster.database.connection.execute(text, values).fetchall()

    def client(self) -> Process:
        """The process that starts and asks; nothing befalls it but a bad connection."""
        return self.cluster.processes["client"]


def scene() -> Scene:
    """The simulation that this code runs in."""
    return Scene.now
