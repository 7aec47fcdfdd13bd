"""One simulation: a cluster, its workloads and what befalls it, all from one seed."""

from __future__ import annotations

import gc
import random
import sys
import time
import traceback
import warnings
from functools import partial
from typing import Any, Final

from outlast import Engine
from simulation.cluster import OPTIONS, Cluster, Process, simulated
from simulation.database import Database, Weather
from simulation.nemesis import WORKERS, Nemesis, draw_plan, draw_storm
from simulation.referee import Referee
from simulation.scene import Scene
from simulation.total import Verdict
from simulation.universe import Stuck, Universe
from simulation.workloads.base import Workload
from simulation.workloads.boxes import Boxes
from simulation.workloads.chains import Chains
from simulation.workloads.counters import Counters
from simulation.workloads.families import Families
from simulation.workloads.orders import Orders
from simulation.workloads.ticks import Ticks
from simulation.workloads.trips import Trips

WORKLOADS: Final[dict[str, type[Workload]]] = {
    "chains": Chains,
    "boxes": Boxes,
    "families": Families,
    "trips": Trips,
    "counters": Counters,
    "ticks": Ticks,
    "orders": Orders,
}
FAULTS_S: Final = 15.0
"""Virtual seconds of faults."""
STORM_S: Final = 6.0
"""The same, where they come by the hundred a second."""
STORM_LEASE_S: Final = 0.7
"""A lease in a storm: short, so that some of the many dead are buried while it lasts."""
CALM_S: Final = 240.0
"""When faults are over, everything must have ended within so many virtual seconds."""


class Trial:
    """A simulation from a seed.

    Args:
        seed: Of every decision.
        names: Workloads; None: the seed draws one to three.
        storm: Whether all that befalls the cluster are deaths, many of them.
    """

    def __init__(self, seed: int, names: tuple[str, ...] | None = None, *, storm: bool = False) -> None:
        dice = random.Random(seed)
        self.verdict = Verdict(seed, are_named=names is not None, storm=storm)
        self.universe = Universe(random.Random(dice.getrandbits(60)))
        self.database = Database(self.universe, random.Random(dice.getrandbits(60)), Weather())
        chosen = names or tuple(sorted(dice.sample(sorted(WORKLOADS), dice.choice((1, 1, 2, 3)))))
        self.verdict.workloads = chosen
        slots = {key: count for name in chosen for key, count in WORKLOADS[name].slots.items()}
        lease_s: float = STORM_LEASE_S if storm else OPTIONS["lease"]
        self.referee = Referee(self.universe, self.database, slots, lease_s)
        self.cluster = Cluster(self.universe, self.database, random.Random(dice.getrandbits(60)))
        rates = {name: rate for workload in chosen for name, rate in WORKLOADS[workload].rates.items()}
        # Few residents, so that code is thrown out of the memory, and comes back.
        self._options: dict[str, Any] = {"lease": lease_s, "residents_max": dice.choice((0, 2, 1000))}
        self._options |= {"concurrency_limits": slots} if slots else {}
        self._options |= {"rate_limits": rates} if rates else {}
        self.scene = Scene(self.universe, self.cluster, self.referee, random.Random(dice.getrandbits(60)))
        Scene.now = self.scene
        self.workloads = [WORKLOADS[name](self.scene, dice.randint(2, 16)) for name in chosen]
        self.workloads[0].is_alone = len(chosen) == 1
        self._programs = [program for workload in self.workloads for program in workload.programs]
        self.plan = (draw_storm if storm else draw_plan)(dice)
        self.nemesis = Nemesis(self.plan, self.cluster, self.referee, random.Random(dice.getrandbits(60)), self._boot)

    def _boot(self, name: str) -> Process:
        return self.cluster.start(name, self._programs, queues={"default": 5, "far": 2}, **self._options)

    async def _act(self, workload: Workload, engine: Engine) -> None:
        try:
            await workload.act(engine)
        except Exception as error:
            self.referee.accuse(f"the client of {type(workload).__name__} got {type(error).__name__}: {error}")

    def run(self) -> Verdict:
        """Runs it, and judges. Nothing of it is left in memory."""
        started = time.process_time()
        verdict, referee = self.verdict, self.referee
        try:
            self._live()
        except Stuck as error:
            referee.accuse(f"stuck: {error}")
        except Exception:  # of the simulation's own code: it must not look like a quiet seed.
            referee.accuse(f"the simulation failed: {traceback.format_exc()}")
        verdict.violations = referee.violations
        if verdict.violations:
            verdict.tail = referee.tail(*_words(verdict.violations[0]))
        verdict.digest = referee.digest
        verdict.faults = self.nemesis.faults
        verdict.crashes = self.nemesis.faults["kill"] + self.nemesis.faults["strike"]
        verdict.hits = self.nemesis.hits
        database = self.database
        verdict.transactions, verdict.writes, verdict.lost = database.transactions, database.writes, database.lost
        verdict.commits, verdict.claims = referee.commits, referee.claims
        verdict.virtual_s = self.universe.now
        self.universe.end()
        self.database.connection.close()
        verdict.cpu_s = time.process_time() - started
        return verdict

    def _live(self) -> None:
        universe, referee, verdict = self.universe, self.referee, self.verdict
        with simulated():
            first = self._boot(WORKERS[0])
            universe.run(lambda: first.is_open, limit_s=10.0)
            referee.attach()
            for name in WORKERS[1:]:
                self._boot(name)
            for workload in self.workloads:
                client = self.cluster.start(
                    f"client-{type(workload).__name__}", workload.programs, queues={}, lease=self._options["lease"]
                )
                client.spawn_open(partial(self._act, workload))
            self.nemesis.begin()
            universe.run(lambda: bool(referee.violations), limit_s=STORM_S if verdict.storm else FAULTS_S)
            self.nemesis.stop()
            for name in WORKERS:
                if not self.cluster.processes[name].is_alive:
                    self._boot(name)
            self.scene.calm = True
            until_s = universe.now + CALM_S
            is_over = universe.run(
                lambda: bool(referee.violations) or all(each.is_over for each in self.workloads), limit_s=until_s
            )
        if not referee.violations:
            if not is_over:
                late = [type(each).__name__ for each in self.workloads if not each.is_over]
                referee.accuse(f"{', '.join(late)} had not ended {CALM_S:g} s after the last fault")
            else:
                for workload in self.workloads:
                    for text in workload.check():
                        referee.accuse(text)


def _words(violation: str) -> list[str]:
    """What a violation speaks of: ids, mostly."""
    return [word.strip("(),.:") for word in violation.split() if len(word) > 8]


_left: list[Trial] = []


def run(seed: int, names: tuple[str, ...] | None = None, *, storm: bool = False, tidy: bool = True) -> Verdict:
    """Runs one seed, cleanly.

    `tidy`: what it leaves in memory is cleared away. Else its process has to end with it, by `os._exit`.
    """
    former = sys.unraisablehook
    gc.freeze()  # what was there before need not be looked at each time.
    gc.disable()  # a dead process's coroutines must not be closed while others run.
    try:
        trial = Trial(seed, names, storm=storm)
        verdict = trial.run()
        if not tidy:
            _left.append(trial)
        del trial
        del Scene.now
        # They are closed now, all at once; what their `finally` says of loops that run no more is of no interest, nor
        # that some had not begun.
        sys.unraisablehook = lambda error: None
        if tidy:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
                gc.collect()
    finally:
        if tidy:
            sys.unraisablehook = former
            gc.enable()
    return verdict
