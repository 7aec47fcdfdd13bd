"""When the alarm clock looks again: as soon as something is due that its next look would come too late for."""

from typing import Any

from outlast._model import AlarmMove, AlarmRow, AlarmsDue
from outlast._runtime.objects.alarms import AlarmClock

NOW_US = 1_000_000_000


class Alarms:
    """A store's alarms: nothing is due, and the next one is after so many seconds."""

    def __init__(self, next_s: float | None) -> None:
        self.next_s = next_s
        self.meanwhile: Any = None

    async def due(self, node: str, types: Any, limit: int) -> AlarmsDue:
        if self.meanwhile is not None:
            self.meanwhile()
        return AlarmsDue(NOW_US, [], self.next_s)

    async def set(self, alarms: Any) -> None:
        raise NotImplementedError

    async def cancel(self, type: str, id: str, name: str | None) -> int:
        raise NotImplementedError

    async def list(self, type: str, id: str | None, limit: int) -> list[AlarmRow]:
        raise NotImplementedError


def clock(alarms: Alarms, woken: list[None], now: float = 50.0) -> AlarmClock:
    made = AlarmClock(
        alarms,
        node=lambda: "ann",
        types=lambda: ["a"],
        ring=lambda alarm, seen: True,
        moment=lambda: 1,
        monotonic=lambda: now,
        poll_s=10.0,
    )
    made.on_wake(lambda: woken.append(None))
    return made


def again(seconds: float) -> list[AlarmMove]:
    return [AlarmMove("x", "r", due_us=NOW_US + round(seconds * 1_000_000))]


async def test_only_what_is_due_again_before_its_next_look_makes_it_look_now() -> None:
    woken: list[None] = []
    alarms = clock(Alarms(next_s=4.0), woken)
    assert await alarms.beat() == 4.0

    for moves in (again(5.0), [AlarmMove("x", "r", delay_s=4.5)], [AlarmMove("x", "r")], []):
        alarms.moved(moves, NOW_US)
    assert woken == []

    alarms.moved([AlarmMove("x", "r"), *again(3.0)], NOW_US)
    assert len(woken) == 1
    alarms.moved([AlarmMove("x", "r", delay_s=0.0)], NOW_US)
    assert len(woken) == 2


async def test_what_is_due_again_while_it_looks_makes_it_look_once_more() -> None:
    woken: list[None] = []
    store = Alarms(next_s=None)
    alarms = clock(store, woken)
    store.meanwhile = lambda: alarms.moved(again(3_600.0), NOW_US)

    assert await alarms.beat() == 10.0

    assert len(woken) == 1
