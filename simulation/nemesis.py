"""Who does things to processes and to the database. What, and how often, each seed draws anew."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from simulation.cluster import Cluster, Process
from simulation.database import Weather
from simulation.referee import Referee

WORKERS: Final = ("ann", "bob", "cid", "dan")
_FREEZE_S: Final = 6.0
_JUMP_S: Final = (1.0, 10.0, 60.0)
"""On SQLite the clock of whoever writes is the database's: what was set by one that is ahead comes as much later."""


@dataclass(frozen=True)
class Plan:
    """What befalls a cluster.

    Attributes:
        kill_s, freeze_s, block_s, drain_s, away_s, full_s, jump_s: Mean seconds between two faults of a kind; 0: none.
        restart_s: The longest time until a worker that has died is there again.
        struck, stilled: Shares of commits after which the process dies, or freezes, at once, the answer unheard.
        weather: What befalls messages.
        spared: Workers to which nothing happens.
    """

    kill_s: float
    freeze_s: float
    block_s: float
    drain_s: float
    away_s: float
    full_s: float
    jump_s: float
    restart_s: float
    struck: float
    stilled: float
    weather: Weather
    spared: int = 0


def draw_storm(dice: random.Random) -> Plan:
    """A plan of deaths and nothing else, hundreds a second: processes hardly open before they are killed.

    One is spared: who never lives as long as a lease cannot know that another one is dead.
    """
    return Plan(
        *(0.002 * 5 ** dice.random(), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        restart_s=dice.choice((0.002, 0.005, 0.01)),
        struck=0.3 + 0.7 * dice.random(),
        stilled=0.0,
        weather=Weather(latency_s=dice.choice((0.0002, 0.001))),
        spared=1,
    )


def draw_plan(dice: random.Random) -> Plan:
    """A plan: each kind of fault is on or off, rare or frequent."""

    def mean_s(share: float, shortest: float, longest: float) -> float:
        return shortest * (longest / shortest) ** dice.random() if dice.random() < share else 0.0

    def rate(share: float, most: float) -> float:
        return most * dice.random() ** 2 if dice.random() < share else 0.0

    if dice.random() < 0.15:  # nothing but a bad network: what deaths would cure must be cured otherwise.
        lost = Weather(lost_requests=rate(0.7, 0.2), lost_answers=0.05 + 0.25 * dice.random())
        return Plan(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, restart_s=0.1, struck=0.0, stilled=0.0, weather=lost)
    return Plan(
        kill_s=mean_s(0.8, 0.03, 2.0),
        freeze_s=mean_s(0.5, 1.0, 10.0),
        block_s=mean_s(0.4, 1.0, 10.0),
        drain_s=mean_s(0.3, 1.0, 8.0),
        away_s=mean_s(0.3, 3.0, 15.0),
        full_s=mean_s(0.2, 3.0, 15.0),
        jump_s=mean_s(0.2, 1.0, 8.0),
        restart_s=dice.choice((0.02, 0.1, 0.5)),
        struck=rate(0.6, 0.2),
        stilled=rate(0.4, 0.05),
        weather=Weather(
            lost_requests=rate(0.5, 0.1),
            lost_answers=rate(0.5, 0.1),
            slow=rate(0.5, 0.1),
            slow_s=dice.choice((0.1, 1.0, 5.0)),
            latency_s=dice.choice((0.001, 0.004, 0.02)),
            dropped_bells=dice.choice((0.0, 0.3, 1.0)),
        ),
    )


class Nemesis:
    """Carries a plan out until it is told to stop.

    Args:
        boot: Starts a worker of this name.

    Attributes:
        faults: How often each kind was done.
        hits: How many deaths hit a process that held something, or waited for an answer.
    """

    def __init__(
        self, plan: Plan, cluster: Cluster, referee: Referee, dice: random.Random, boot: Callable[[str], object]
    ) -> None:
        self.faults: Counter[str] = Counter()
        self.hits = 0
        self._plan = plan
        self._cluster = cluster
        self._referee = referee
        self._dice = dice
        self._boot = boot
        self._is_over = False

    def begin(self) -> None:
        """Starts to do things."""
        plan = self._plan
        self._cluster.database.weather = plan.weather
        if plan.struck or plan.stilled:
            self._cluster.database.on_written = self._strike
        deeds: list[tuple[float, Callable[[], None]]] = [
            (plan.kill_s, self._kill),
            (plan.freeze_s, self._freeze),
            (plan.block_s, self._block),
            (plan.drain_s, self._drain),
            (plan.away_s, self._take_away),
            (plan.full_s, self._fill),
            (plan.jump_s, self._jump),
        ]
        for mean_s, deed in deeds:
            if mean_s:
                self._again(mean_s, deed)

    def stop(self) -> None:
        """From here on all goes well: everybody who stood still goes on, everything that was away is back."""
        self._is_over = True
        database = self._cluster.database
        is_deaf = self._plan.weather.dropped_bells == 1.0  # then all must end by looking now and then.
        database.weather = Weather(dropped_bells=1.0 if is_deaf else 0.0)
        database.is_away = database.is_full = False
        database.on_written = lambda issuer: None
        for process in self._cluster.alive():
            process.world.ahead_us = 0
            if process.is_still:
                process.thaw()
        self._tell("calm", "")

    def _again(self, mean_s: float, deed: Callable[[], None]) -> None:
        def act() -> None:
            if not self._is_over:
                deed()
                self._again(mean_s, deed)

        universe = self._cluster.universe
        universe.at(universe.now + self._dice.expovariate(1 / mean_s), act)

    def _later(self, longest_s: float, deed: Callable[[], object]) -> None:
        universe = self._cluster.universe
        universe.at(universe.now + longest_s * self._dice.random(), deed)

    def _tell(self, kind: str, who: str) -> None:
        self.faults[kind] += 1
        self._referee.tell("fault", kind, who)

    def _victim(self) -> Process | None:
        targets = WORKERS[self._plan.spared :]
        found = [each for each in self._cluster.alive() if each.name in targets and not each.is_still]
        return self._dice.choice(found) if found else None

    def _kill(self) -> None:
        if (victim := self._victim()) is not None:
            self._end(victim, "kill")

    def _strike(self, issuer: Any) -> None:
        if issuer is None or issuer.name not in WORKERS[self._plan.spared :] or not issuer.is_alive or issuer.is_still:
            return
        throw = self._dice.random()
        if throw < self._plan.struck:
            self._end(issuer, "strike")
        elif throw < self._plan.struck + self._plan.stilled:
            self._halt(issuer, "still")

    def _end(self, victim: Process, kind: str) -> None:
        self.hits += kind == "strike" or any(self._referee.running[node] > 0 for node in victim.world.node_ids)
        self._tell(kind, victim.name)
        victim.kill()
        self._later(self._plan.restart_s, lambda: self._boot(victim.name))

    def _freeze(self) -> None:
        if (victim := self._victim()) is not None:
            self._halt(victim, "freeze")

    def _halt(self, victim: Process, kind: str) -> None:
        self._tell(kind, victim.name)
        victim.freeze()
        self._later(_FREEZE_S, lambda: self._thaw(victim))

    def _block(self) -> None:
        if (victim := self._victim()) is not None:
            self._tell("block", victim.name)
            victim.block()
            self._later(_FREEZE_S, lambda: self._thaw(victim))

    def _thaw(self, victim: Process) -> None:
        if victim.is_alive and victim.is_still:
            self._referee.tell("fault", "thaw", victim.name)
            victim.thaw()

    def _drain(self) -> None:
        if (victim := self._victim()) is not None:
            self._tell("drain", victim.name)
            victim.drain(lambda: self._later(self._plan.restart_s, lambda: self._boot(victim.name)))

    def _take_away(self) -> None:
        self._tell("away", "database")
        self._cluster.database.is_away = True
        self._later(5.0, self._bring_back)

    def _bring_back(self) -> None:
        self._referee.tell("fault", "back", "database")
        self._cluster.database.is_away = False

    def _fill(self) -> None:
        self._tell("full", "disk")
        self._cluster.database.is_full = True
        self._later(3.0, self._empty)

    def _empty(self) -> None:
        self._cluster.database.is_full = False

    def _jump(self) -> None:
        if (victim := self._victim()) is not None:
            victim.world.ahead_us = int(self._dice.choice(_JUMP_S) * self._dice.uniform(-1, 1) * 1_000_000)
            self._tell("jump", victim.name)
