"""The doorbell: who is woken here, and what others are told."""

import pytest

from outlast._runtime.doorbell import ENDED_NAMED_MAX, Doorbell
from tests.runtime.stage import Bell


class House:
    """A doorbell with two queues, a timer and two ears."""

    def __init__(self, *, remote: bool = True) -> None:
        self.bell = Bell()
        self.doorbell = Doorbell(self.bell, remote=remote)
        self.woken: list[str] = []
        for name in ("mail", "side"):
            self.doorbell.on_queue(name, lambda name=name: self.woken.append(name))  # type: ignore[misc]
        self.doorbell.on_timer(lambda: self.woken.append("timer"))
        self.doorbell.on_ended(lambda id: self.woken.append(f"ended {id}"))
        self.doorbell.on_cancelled(lambda id: self.woken.append(f"cancelled {id}"))


@pytest.mark.parametrize(
    ("message", "woken"),
    [
        ("q:mail", ["mail"]),
        ("q:unheard", []),
        ("q:", []),
        ("t", ["timer"]),
        ("f:7", ["ended 7"]),
        ("f:*", ["ended *"]),
        ("c:7", ["cancelled 7"]),
        ("*", ["mail", "side", "timer", "ended *", "cancelled *"]),
        ("from a later release", ["mail", "side", "timer", "ended *", "cancelled *"]),
    ],
)
def test_what_another_process_rings_wakes_whom_it_concerns(message: str, woken: list[str]) -> None:
    house = House()

    house.doorbell.heard(message)

    assert house.woken == woken
    assert house.bell.rung == []


def test_a_queue_with_colons_in_its_name_is_told_whole() -> None:
    house, woken = House(), []
    house.doorbell.on_queue("a:b", lambda: woken.append("a:b"))

    house.doorbell.heard("q:a:b")

    assert woken == ["a:b"]


def test_work_wakes_here_and_tells_others() -> None:
    house = House()

    house.doorbell.work(["mail", "elsewhere"])
    house.doorbell.timer()

    assert house.woken == ["mail", "timer"]
    assert house.bell.rung == ["q:mail", "q:elsewhere", "t"]


def test_work_given_back_is_for_others_and_of_unknown_queues_for_all() -> None:
    house = House()

    house.doorbell.others(["mail"])
    assert house.woken == []
    house.doorbell.others(["*"])

    assert house.woken == ["mail", "side"]
    assert house.bell.rung == ["q:mail", "*"]


def test_a_cancelled_step_is_looked_for_everywhere() -> None:
    house = House()

    house.doorbell.cancelled("7")

    assert house.woken == ["cancelled 7"]
    assert house.bell.rung == ["c:7"]


def test_few_that_ended_are_named_and_many_are_not() -> None:
    house = House()

    house.doorbell.ended([])
    house.doorbell.ended(["1", "2"])
    assert house.bell.rung == ["f:1", "f:2"]
    house.doorbell.ended(["x"] * (ENDED_NAMED_MAX + 1))

    assert house.bell.rung[2:] == ["f:*"]


def test_a_local_doorbell_tells_nobody_else() -> None:
    house = House(remote=False)

    house.doorbell.work(["mail"])
    house.doorbell.timer()
    house.doorbell.ended(["1"])
    house.doorbell.cancelled("1")
    house.doorbell.others(["mail", "*"])

    assert house.bell.rung == []
    assert house.woken == ["mail", "timer", "cancelled 1", "mail", "side"]


def test_with_nobody_at_home_nothing_happens() -> None:
    doorbell = Doorbell(Bell(), remote=True)

    for message in ("q:mail", "t", "f:1", "c:1", "*"):
        doorbell.heard(message)
