"""What stays in memory of parked instances: within bounds, and only for the very next claim."""

from typing import Any

import pytest

from outlast._kernel.states import FAILED, READY, RUNNING, WAITING
from outlast._model import Claim, Settlement
from outlast._runtime.events import Events
from outlast._runtime.residents import Residents
from tests.runtime.stage import Clock, Heard

PROGRAM: Any = object()


class Guest:
    """A resident that notes that it was left."""

    def __init__(self, *timed: str, bad: bool = False) -> None:
        self.timed = timed
        self.left = 0
        self._bad = bad

    def leave(self) -> None:
        self.left += 1
        if self._bad:
            raise ZeroDivisionError("in a finally block")


class House:
    """Residents, with a clock of their own."""

    def __init__(self, count_max: int, age_s: float, events: Events) -> None:
        self.world = Clock()
        self.residents = Residents(count_max, age_s, events=events, world=self.world)

    def park(self, id: str, guest: Guest, *, epoch: int = 3, commits: int = 5, status: str = WAITING) -> bool:
        """Takes a guest in, whose park becomes durable at once."""
        taken = self.residents.put(claim(id, epoch=epoch, commits=commits), PROGRAM, guest)
        self.residents.settled([Settlement(id, epoch, status, 0)], set())
        return taken

    def claimed(self, claim: Claim, program: Any = PROGRAM) -> Any:
        """What a claim finds, in the two looks that a node takes."""
        timed = self.residents.waits(claim)
        claim.left = None if timed is None else dict.fromkeys(timed, 1.0)
        return self.residents.take(claim, program)


def claim(id: str, *, epoch: int = 4, commits: int = 6) -> Claim:
    return Claim(id, "p", 1, "workflow", "{}", epoch, 0, 0, 0, None, commits)


@pytest.fixture
def house(events: Events) -> House:
    return House(3, 600.0, events)


def test_the_next_claim_gets_it_and_no_other_after_it(house: House) -> None:
    guest = Guest("sleep#1")
    assert house.park("a", guest)

    assert house.residents.waits(claim("a")) == ("sleep#1",)
    assert house.claimed(claim("a")) is guest
    assert guest.left == 0
    assert house.claimed(claim("a")) is None
    assert len(house.residents) == 0


@pytest.mark.parametrize(("epoch", "commits"), [(5, 6), (3, 6), (4, 7), (4, 5), (6, 8)])
def test_a_claim_that_is_not_the_very_next_one_leaves_it(house: House, epoch: int, commits: int) -> None:
    guest = Guest()
    house.park("a", guest)

    assert house.claimed(claim("a", epoch=epoch, commits=commits)) is None
    assert (guest.left, len(house.residents)) == (1, 0)


@pytest.mark.parametrize("status", [FAILED, READY, RUNNING])
def test_an_outcome_that_is_no_park_leaves_it(house: House, status: str) -> None:
    # The database refused the park, and something else was written in its place, with the same epoch.
    guest = Guest()
    house.park("a", guest, status=status)

    assert house.claimed(claim("a")) is None
    assert guest.left == 1


def test_a_refused_park_leaves_it(house: House) -> None:
    guest = Guest()
    house.residents.put(claim("a", epoch=3, commits=5), PROGRAM, guest)
    house.residents.settled([Settlement("b", 3, WAITING, 0), Settlement("a", 2, WAITING, 0)], {"a"})
    assert guest.left == 0

    house.residents.settled([Settlement("a", 3, WAITING, 0)], {"a"})

    assert (guest.left, len(house.residents)) == (1, 0)


def test_a_park_of_which_nobody_knows_whether_it_is_durable_is_not_gone_on_with(house: House) -> None:
    guest = Guest()
    house.residents.put(claim("a", epoch=3, commits=5), PROGRAM, guest)

    assert house.claimed(claim("a")) is None
    assert guest.left == 1

    house.residents.settled([Settlement("a", 3, WAITING, 0)], set())  # its reply comes late.
    assert len(house.residents) == 0


def test_a_claim_whose_journal_was_read_does_not_get_it(house: House) -> None:
    guest = Guest()
    house.park("a", guest)

    assert house.residents.take(claim("a"), PROGRAM) is None
    assert guest.left == 1


def test_a_time_that_the_database_does_not_know_leaves_it(house: House) -> None:
    guest, next_claim = Guest("sleep#1", "~timeout"), claim("a")
    house.park("a", guest)
    next_claim.left = {"sleep#1": 1.0}

    assert house.residents.take(next_claim, PROGRAM) is None
    assert guest.left == 1


def test_another_program_does_not_get_it(house: House) -> None:
    guest = Guest()
    house.park("a", guest)

    assert house.claimed(claim("a"), object()) is None
    assert guest.left == 1


def test_who_was_parked_first_goes_first(house: House) -> None:
    guests = {id: Guest() for id in "abcd"}
    for id in "abc":
        house.park(id, guests[id])
    house.park("a", again := Guest(), epoch=4, commits=6)
    house.park("d", guests["d"])

    assert [guests[id].left for id in "abcd"] == [1, 1, 0, 0]
    assert again.left == 0
    assert len(house.residents) == 3


def test_those_on_their_way_count_too(house: House) -> None:
    guests = [Guest() for _ in range(5)]
    for number, guest in enumerate(guests):
        house.residents.put(claim(str(number)), PROGRAM, guest)

    assert [guest.left for guest in guests] == [1, 1, 0, 0, 0]


async def test_nobody_stays_too_long(house: House) -> None:
    old, young = Guest(), Guest()
    house.park("a", old)
    house.world.now += 500.0
    house.park("b", young)

    assert await house.residents.beat() == 100.0
    house.world.now += 100.0
    assert await house.residents.beat() == 500.0

    assert (old.left, young.left) == (1, 0)
    house.world.now += 500.0
    assert await house.residents.beat() == 600.0
    assert young.left == 1


@pytest.mark.parametrize(("count_max", "age_s"), [(0, 600.0), (10, 0.0)])
def test_off(events: Events, count_max: int, age_s: float) -> None:
    house, guest = House(count_max, age_s, events), Guest()

    assert not house.park("a", guest)
    assert (len(house.residents), guest.left) == (0, 0)


def test_dropped_and_closed(house: House) -> None:
    guests = [Guest() for _ in range(3)]
    for id, guest in zip("abc", guests, strict=True):
        house.park(id, guest)

    house.residents.drop(["a", "nobody"])
    house.residents.close()

    assert [guest.left for guest in guests] == [1, 1, 1]
    assert not house.park("d", Guest())


def test_one_that_raises_on_its_way_out_harms_nobody(house: House, heard: Heard) -> None:
    guests = [Guest(bad=True), Guest()]
    for id, guest in zip("ab", guests, strict=True):
        house.park(id, guest)

    house.residents.drop_all()

    assert [guest.left for guest in guests] == [1, 1]
    assert [fields["error"] for fields in heard.of("loop.failed")] == ["ZeroDivisionError: in a finally block"]


def test_what_nobody_has_closed_is_left_with_the_interpreter(events: Events) -> None:
    guest, house = Guest(), House(3, 600.0, events)
    house.park("a", guest)
    end = house.residents._end
    del house

    end()  # as at the interpreter's exit.

    assert guest.left == 1
