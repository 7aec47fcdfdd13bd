"""Pairs and triples of operations, in all orders of their statements or in some."""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from math import comb

from tests.lab.answers import falsehoods
from tests.lab.check import violations
from tests.lab.lab import Hold, Lab, holds
from tests.lab.orders import Exhaustive, held, sample
from tests.lab.scenes import SCENES, Scene
from tests.lab.stepping import DEADLOCK, Choose, Operation, Play

Planted = Callable[[Lab], AbstractAsyncContextManager[object]]

FINDINGS_MAX = 20
"""Findings kept of a trial; the others are only counted."""
_LEFT_MAX = 5


@dataclass
class Tally:
    """What was tried, and found.

    Attributes:
        groups: Pairs, or triples, of operations.
        plays: Interleavings: orders of statements that were run.
        statements: Statements that were stepped.
        blocked: Plays in which one waited for another's lock.
        deadlocks: Deadlocks that the server resolved.
        cut: Groups that have more orders than were tried of them.
        strayed: Plays that did not repeat what they had in common with the one before.
        broken: Plays in which something was wrong.
        findings: What was wrong, with the order in which it came about.
    """

    groups: int = 0
    plays: int = 0
    statements: int = 0
    blocked: int = 0
    deadlocks: int = 0
    cut: int = 0
    strayed: int = 0
    broken: int = 0
    findings: list[str] = field(default_factory=list)
    deadlocked: set[str] = field(default_factory=set)

    @property
    def noticed(self) -> int:
        """Plays in which something was wrong, and deadlocks."""
        return self.broken + self.deadlocks

    def add(self, other: "Tally") -> None:
        """Adds another's counts."""
        for name in ("groups", "plays", "statements", "blocked", "deadlocks", "cut", "strayed", "broken"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.findings += other.findings[: FINDINGS_MAX - len(self.findings)]
        self.deadlocked |= other.deadlocked

    def note(self, names: Sequence[str], play: Play, wrong: Sequence[str]) -> None:
        """Counts a play."""
        self.plays += 1
        self.statements += len(play.moves)
        self.blocked += play.was_blocked
        deadlocks = play.codes.count(DEADLOCK)
        self.deadlocks += deadlocks
        if deadlocks:
            self.deadlocked.add(" and ".join(names))
        self.broken += bool(wrong)
        if wrong and len(self.findings) < FINDINGS_MAX:
            order = "; ".join(map(str, play.moves))
            self.findings.append(f"{' and '.join(names)}: {'; '.join(wrong[:_LEFT_MAX])}\n    in the order {order}")


@dataclass(frozen=True)
class Plan:
    """What is tried.

    Attributes:
        cap: Orders of a group at most; None: all there are.
        limit: How many those may be; what has more is cut: as many of the first ones, and as many by chance.
        holds: Rows that a third holds while a pair meets on it, picked by chance; None: all there are.
        triples: So many triples of operations, picked by chance, instead of all pairs.
        seed: Whence chance comes.
        stop_at_first: Whether the first finding ends it.
        rare: Whether operations that are much like others are tried, too.
    """

    cap: int | None = None
    limit: int = 1_000
    holds: int | None = None
    triples: int = 0
    seed: int = 1
    stop_at_first: bool = False
    rare: bool = True


class Trial:
    """Plays of a scene's operations."""

    def __init__(self, lab: Lab, plan: Plan) -> None:
        self._lab = lab
        self._plan = plan
        self._holds: list[Hold] = []

    async def run(
        self, name: str, only: Iterable[Sequence[str]] | None = None, *, mutant: Planted = nullcontext
    ) -> Tally:
        """Tries groups of operations of a scene: these, else what the plan says. The scene is made before the bug."""
        tally = Tally()
        scene = await self.set_up(name)
        dice = random.Random(f"{self._plan.seed} {name}")
        async with mutant(self._lab):
            for names in only or self._groups(scene, dice):
                await self._group(scene, names, dice, tally)
                if self._has_seen_enough(tally):
                    break
        return tally

    async def set_up(self, name: str) -> Scene:
        """Makes a scene's rows."""
        lab = self._lab
        lab.world.pin()
        await lab.clear()
        scene = SCENES[name](lab.given)
        await scene.prepare()
        await lab.save()
        rows = await lab.rows()
        self._holds = holds(rows)
        if wrong := violations(rows):
            raise AssertionError(f"scene {name} begins with what is wrong: {wrong}")
        return scene

    def _has_seen_enough(self, tally: Tally) -> bool:
        return self._plan.stop_at_first and tally.noticed > 0

    def _groups(self, scene: Scene, dice: random.Random) -> Iterator[Sequence[str]]:
        if not self._plan.triples:
            names = [name for name in scene.operations if self._plan.rare or name not in scene.rare]
            yield from itertools.combinations_with_replacement(names, 2)
        for _ in range(self._plan.triples):
            yield dice.choices(scene.operations, k=3)

    async def _group(self, scene: Scene, names: Sequence[str], dice: random.Random, tally: Tally) -> None:
        tally.groups += 1
        if len(names) == 2:
            await self._held(scene, names, dice, tally)
        cap = self._plan.cap
        if cap is None:
            await self._all(scene, names, dice, tally)
            return
        seen: set[tuple[tuple[int, str], ...]] = set()
        for choose in sample(names, cap, dice):
            if self._has_seen_enough(tally):
                return
            play = await self._play(scene, names, choose, tally)
            seen.add(tuple((move.actor, move.statement) for move in play.moves))
            if len(seen) >= _orders(play):
                return  # that was all there is.

    async def _held(self, scene: Scene, names: Sequence[str], dice: random.Random, tally: Tally) -> None:
        """Both meet within their statements: a third holds a row until they can go no further."""
        chosen = (
            self._holds
            if self._plan.holds is None
            else dice.sample(self._holds, min(self._plan.holds, len(self._holds)))
        )
        for hold in chosen:
            firsts = [(0, 1, 2), (1, 0, 2)][: 1 if names[0] == names[1] else 2]
            for first in firsts if self._plan.holds is None else [dice.choice(firsts)]:
                await self._play(scene, names, held(first), tally, hold)
                if self._has_seen_enough(tally):
                    return

    async def _all(self, scene: Scene, names: Sequence[str], dice: random.Random, tally: Tally) -> None:
        """Every order; of a pair that has too many the first ones, and as many by chance."""
        orders, limit = Exhaustive(), self._plan.limit
        more, count = True, 0
        while more and count < limit and not self._has_seen_enough(tally):
            more = orders.ended(await self._play(scene, names, orders.begin(), tally))
            count += 1
        tally.strayed += orders.strayed
        if more and not self._has_seen_enough(tally):
            tally.cut += 1
            for choose in sample(names, limit, dice):
                await self._play(scene, names, choose, tally)

    async def _play(
        self, scene: Scene, names: Sequence[str], choose: Choose, tally: Tally, hold: Hold | None = None
    ) -> Play:
        lab = self._lab
        await lab.restore()
        doings: list[Operation] = [getattr(scene, name) for name in names]
        if hold is not None:
            doings.append(lab.holding(hold))
        play = await lab.driver.play(lab.actors[: len(doings)], doings, choose)
        rows, results = await lab.rows(), play.results[: len(names)]
        wrong = [*violations(rows), *falsehoods(results, rows), *scene.verify(rows, names, results)]
        tally.note(names, play, wrong)
        return play


def _orders(play: Play) -> int:
    """How many orders there are of as many statements, were there no locks."""
    counts = [sum(move.actor == place for move in play.moves) for place in {move.actor for move in play.moves}]
    total, orders = 0, 1
    for count in counts:
        total += count
        orders *= comb(total, count)
    return orders
