"""What stays in memory of parked instances: bounded, and used only where it is provably what the database holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple
from weakref import finalize

from outlast._kernel.program import Program, Resident
from outlast._kernel.states import WAITING
from outlast._model import Claim, Settlement
from outlast._runtime.events import Events
from outlast._world import World


class _Place(NamedTuple):
    """A resident, and the park that it belongs to: the claim's epoch, and the outcomes that the row holds with it."""

    resident: Resident
    program: Program
    epoch: int
    commits: int
    since: float


class Residents:
    """Keeps what programs leave of parked instances until these are claimed here again.

    A resident is of use only when nothing has happened to its instance but that it was woken. So its park must be
    known to be durable, and the new claim must be the very next one (the epoch is one more) and find no other outcome
    written since (`commits`). In any doubt it is left, and the program begins anew.

    Args:
        count_max: So many stay at most; who was parked first goes first.
        age_s: None stays longer. Nothing stays where one of the two is 0.
    """

    name = "residents"

    def __init__(self, count_max: int, age_s: float, *, events: Events, world: World) -> None:
        self.is_on = count_max > 0 and age_s > 0
        self._count_max = count_max
        self._age_s = age_s
        self._events = events
        self._world = world
        self._unsure: dict[str, _Place] = {}  # parked, and the commit is on its way.
        self._sure: OrderedDict[str, _Place] = OrderedDict()
        self._closed = False
        # Code that waits must not be ended by the interpreter, which knows nothing of its loop: steps would run.
        self._end = finalize(self, _leave_all, (self._unsure, self._sure))

    def __len__(self) -> int:
        return len(self._sure) + len(self._unsure)

    def put(self, claim: Claim, program: Program, resident: Resident) -> bool:
        """Keeps a resident whose instance is about to be parked. False: nothing is kept here."""
        if not self.is_on or self._closed:
            return False
        self.drop((claim.id,))
        while len(self) >= self._count_max:
            places = self._sure or self._unsure
            self.drop((next(iter(places)),))
        self._unsure[claim.id] = _Place(resident, program, claim.epoch, claim.commits + 1, self._world.monotonic())
        return True

    def settled(self, batch: Iterable[Settlement], stale: Collection[str]) -> None:
        """Outcomes are durable; those of `stale` were refused."""
        if not self._unsure:
            return
        for item in batch:
            place = self._unsure.get(item.id)
            if place is None or place.epoch != item.epoch:
                continue
            if item.status == WAITING and item.id not in stale:
                self._sure[item.id] = self._unsure.pop(item.id)
            else:
                self.drop((item.id,))

    def waits(self, claim: Claim) -> Sequence[str] | None:
        """What a claimed instance's resident waits for by the clock, by key in the journal. None: there is none."""
        place = self._sure.get(claim.id)
        if place is not None and _is_next(claim, place):
            return place.resident.timed
        self.drop((claim.id,))
        return None

    def take(self, claim: Claim, program: Program) -> Resident | None:
        """The resident of a claimed instance, if it is as the database has it: from now on the caller's."""
        place = self._sure.get(claim.id)
        if (
            place is not None
            and place.program is program
            and _is_next(claim, place)
            and claim.left is not None
            and claim.left.keys() >= set(place.resident.timed)
        ):
            return self._sure.pop(claim.id).resident
        self.drop((claim.id,))
        return None

    def drop(self, ids: Iterable[str]) -> None:
        """Leaves the residents of these instances, where there are any."""
        for id in ids:
            place = self._unsure.pop(id, None) or self._sure.pop(id, None)
            if place is not None:
                self._leave(place)

    def drop_all(self) -> None:
        """Leaves all."""
        self.drop([*self._unsure, *self._sure])

    async def beat(self) -> float:
        """Leaves who has stayed too long. Returns seconds until the next may have."""
        oldest = self._world.monotonic() - self._age_s
        for places in (self._unsure, self._sure):
            self.drop([id for id, place in places.items() if place.since <= oldest])
        since = [place.since for places in (self._unsure, self._sure) for place in places.values()]
        return max(_LEAST_S, min(since) - oldest) if since else self._age_s

    def close(self) -> None:
        """Leaves all, and keeps nothing from now on."""
        self._closed = True
        self.drop_all()
        self._end.detach()

    def _leave(self, place: _Place) -> None:
        try:
            place.resident.leave()
        except Exception as error:
            self._events.emit("loop.failed", loop=self.name, error=f"{type(error).__name__}: {error}")


_LEAST_S: Final = 0.05
"""Between looks at the ages, at least."""


def _is_next(claim: Claim, place: _Place) -> bool:
    """Whether a claim is the first after the park, and no other outcome was written since."""
    return claim.epoch == place.epoch + 1 and claim.commits == place.commits


def _leave_all(rooms: Iterable[dict[str, _Place]]) -> None:
    for places in rooms:
        while places:
            places.popitem()[1].resident.leave()
