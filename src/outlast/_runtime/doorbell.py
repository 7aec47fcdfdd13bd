"""Who is woken by what. A ring only wakes a loop; the loop looks for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from outlast._store.contract import Bell

ENDED_NAMED_MAX = 100
"""Above this many ended instances in one commit, others are told to look at all they wait for."""


class Doorbell:
    """Rings here at once, and elsewhere through the store's bell.

    Messages between processes: `q:<queue>` work arrived, `t` an earlier due time, `s` a schedule was changed, `f:<id>`
    ended (`f:*` many), `c:<id>` cancelled or paused while running, `o:<node>` a call or an alarm for an object that a
    node owns (`o:*` nobody), `a:<sender>` answers to calls, `*` anything.
    """

    def __init__(self, bell: Bell, *, remote: bool) -> None:
        self._bell = bell
        self._remote = remote
        self._queues: dict[str, Callable[[], None]] = {}
        self._timer: Callable[[], None] = _nobody
        self._schedule: Callable[[], None] = _nobody
        self._objects: Callable[[str], None] = _nobody_named
        self._answers: Callable[[str], None] = _nobody_named
        self._ended: Callable[[str], None] = _nobody_named
        self._cancelled: Callable[[str], None] = _nobody_named

    def on_queue(self, name: str, wake: Callable[[], None]) -> None:
        """`wake()` when work may have arrived in a queue."""
        self._queues[name] = wake

    def on_timer(self, wake: Callable[[], None]) -> None:
        """`wake()` when there may be an earlier due time."""
        self._timer = wake

    def on_schedule(self, wake: Callable[[], None]) -> None:
        """`wake()` when there may be an earlier tick. `*` does not: they change seldom, and are looked at anyway."""
        self._schedule = wake

    def on_objects(self, told: Callable[[str], None]) -> None:
        """`told(node)` when there is a call or an alarm for an object that a node owns; `told("*")`: or nobody."""
        self._objects = told

    def on_answers(self, told: Callable[[str], None]) -> None:
        """`told(sender)` when calls that somebody made have their answers; `told("*")`: perhaps anybody's."""
        self._answers = told

    def on_ended(self, told: Callable[[str], None]) -> None:
        """`told(id)` when another process has ended an instance; `told("*")`: perhaps any."""
        self._ended = told

    def on_cancelled(self, told: Callable[[str], None]) -> None:
        """`told(id)` when an instance was cancelled that may be running here; `told("*")`: perhaps any."""
        self._cancelled = told

    async def open(self) -> None:
        """Begins to hear other processes."""
        if self._remote:
            await self._bell.listen(self.heard)

    def work(self, queues: Iterable[str], *, tell_others: bool = True) -> None:
        """Work arrived in these queues."""
        for queue in queues:
            if wake := self._queues.get(queue):
                wake()
            if tell_others and self._remote:
                self._bell.ring(f"q:{queue}")

    def others(self, queues: Iterable[str]) -> None:
        """Work that this process has given back; others may want it. In queues it does not know (`*`), so may we."""
        for queue in queues:
            if queue == "*":
                for wake in self._queues.values():
                    wake()
            if self._remote:
                self._bell.ring("*" if queue == "*" else f"q:{queue}")

    def timer(self, *, tell_others: bool = True) -> None:
        """Something is due earlier than was known."""
        self._timer()
        if tell_others and self._remote:
            self._bell.ring("t")

    def schedule(self) -> None:
        """A schedule was changed."""
        self._schedule()
        if self._remote:
            self._bell.ring("s")

    def objects(self, node: str) -> None:
        """There is a call or an alarm for an object that a node owns; "*": or nobody."""
        self._objects(node)
        if self._remote:
            self._bell.ring(f"o:{node}")

    def answers(self, sender: str) -> None:
        """Calls that somebody made have their answers."""
        self._answers(sender)
        if self._remote:
            self._bell.ring(f"a:{sender}")

    def ended(self, ids: list[str]) -> None:
        """These ended here; others may wait for them."""
        if not self._remote:
            return
        if len(ids) > ENDED_NAMED_MAX:
            self._bell.ring("f:*")
        else:
            for id in ids:
                self._bell.ring(f"f:{id}")

    def cancelled(self, ids: list[str]) -> None:
        """Instances that may be running were cancelled; whoever runs them should stop."""
        for id in ids if len(ids) <= ENDED_NAMED_MAX else ["*"]:
            self._cancelled(id)
            if self._remote:
                self._bell.ring(f"c:{id}")

    def heard(self, message: str) -> None:
        """Another process rang."""
        kind, _, name = message.partition(":")
        if kind == "q":
            if wake := self._queues.get(name):
                wake()
        elif kind == "f":
            self._ended(name)
        elif kind == "t":
            self._timer()
        elif kind == "s":
            self._schedule()
        elif kind == "c":
            self._cancelled(name)
        elif kind == "o":
            self._objects(name)
        elif kind == "a":
            self._answers(name)
        else:
            for wake in self._queues.values():
                wake()
            self._timer()
            self._ended("*")
            self._cancelled("*")
            self._objects("*")
            self._answers("*")


def _nobody() -> None: ...


def _nobody_named(id: str) -> None: ...
