"""Calls that travel through the store: those made here, and those that come for objects of this node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from outlast._model import Answer, NewCall, Posted, WaitingCall
from outlast._runtime.doorbell import Doorbell
from outlast._runtime.events import Events
from outlast._runtime.gather import Gather
from outlast._store.objects import Calls
from outlast._world import World

ANSWERS_MAX: Final = 1_000
"""Answers that are looked for at once."""
INBOX_MAX: Final = 1_000
"""Calls that are taken at once."""
REFUSED_MAX: Final = 20_000
"""Calls looked past at most that their objects cannot take now."""


class Outbox:
    """Posts calls, and hears of their answers.

    Attributes:
        sender: What others ring when there are answers.
    """

    name = "object-answers"

    def __init__(
        self, calls: Calls, doorbell: Doorbell, *, batch_max: int, poll_s: float, events: Events, world: World
    ) -> None:
        self.sender = world.new_node_id()
        self._calls = calls
        self._doorbell = doorbell
        self._poll_s = poll_s
        self._gather: Gather[NewCall, dict[str, Posted]] = Gather(
            "call", self._post, _share, batch_max=batch_max, events=events, world=world
        )
        self._waiting: dict[str, list[asyncio.Future[Answer]]] = {}
        self._given_up: list[str] = []
        self._wake: Callable[[], None] = _nothing

    def on_wake(self, wake: Callable[[], None]) -> None:
        """What makes the next look come now."""
        self._wake = wake

    def heard(self, sender: str) -> None:
        """Somebody has answers."""
        if self._waiting and sender in (self.sender, "*"):
            self._wake()

    async def _post(self, calls: Sequence[NewCall]) -> list[dict[str, Posted]]:
        posted = await self._calls.post(calls)
        for node in {each.node for each in posted}:
            self._doorbell.objects(node or "*")
        return [{call.call: each for call, each in zip(calls, posted, strict=True)}]

    async def post(self, call: NewCall) -> Posted:
        """Stores a call, together with others, and rings its owner. Raises: StoreError."""
        (posted,) = await self._gather.put([call])
        return posted[call.call]

    async def answer(self, call: NewCall) -> Answer:
        """Stores a call and waits for its answer; cancelled, it is forgotten unless it has a key.

        Raises: StoreError.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        posted: Posted | None = None
        try:
            posted = await self.post(call)
            self._waiting.setdefault(posted.call, []).append(future)
            self._wake()
            return await future
        finally:
            if not future.done() or future.cancelled():
                self._give_up(call, posted, future)

    def _give_up(self, call: NewCall, posted: Posted | None, future: asyncio.Future[Answer]) -> None:
        if posted is None:
            return
        waiting = self._waiting.get(posted.call, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._waiting.pop(posted.call, None)
            if call.key is None:
                self._given_up.append(posted.call)
                self._wake()

    async def beat(self) -> float:
        """Looks for answers, and forgets calls that nobody waits for."""
        if self._given_up:
            given_up, self._given_up = self._given_up, []
            await self._calls.drop(given_up)
        if not self._waiting:
            return 3_600.0
        known = list(self._waiting)
        for start in range(0, len(known), ANSWERS_MAX):
            await self._look(known[start : start + ANSWERS_MAX])
        return self._poll_s if self._waiting else 3_600.0

    async def _look(self, calls: Sequence[str]) -> None:
        answers = await self._calls.answers(calls)
        for answer in answers:
            for future in self._waiting.pop(answer.call, ()):
                if not future.done():
                    future.set_result(answer)
        if answers:
            await self._calls.drop([answer.call for answer in answers])

    def tasks(self) -> list[asyncio.Task[None]]:
        """What is at work now."""
        return self._gather.tasks()

    async def settled(self) -> None:
        """Waits until everything taken so far is stored or refused."""
        await self._gather.settled()

    def close(self, error: BaseException) -> None:
        """Refuses who still waits."""
        self._gather.close()
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        self._waiting.clear()


class Inbox:
    """Takes calls for objects that this node owns, or that nobody does."""

    name = "object-calls"

    def __init__(
        self,
        calls: Calls,
        *,
        node: Callable[[], str],
        types: Callable[[], Sequence[str]],
        take: Callable[[WaitingCall, int], bool],
        moment: Callable[[], int],
        poll_s: float,
    ) -> None:
        self._calls = calls
        self._node = node
        self._types = types
        self._take = take
        self._moment = moment
        self._poll_s = poll_s
        self._taken: set[str] = set()
        self._meanwhile: set[str] = set()
        self._refused = 0
        self._wake: Callable[[], None] = _nothing

    def on_wake(self, wake: Callable[[], None]) -> None:
        """What makes the next look come now."""
        self._wake = wake

    def heard(self, node: str) -> None:
        """Somebody has called an object of a node."""
        if node in (self._node(), "*"):
            self._wake()

    async def beat(self) -> float:
        """Takes what waits."""
        node, types = self._node(), self._types()
        if not node or not types:
            return self._poll_s
        limit = INBOX_MAX + len(self._taken) + min(self._refused, REFUSED_MAX)
        self._meanwhile.clear()
        seen = self._moment()
        found = await self._calls.waiting(node, types, limit)
        self._refused = 0
        for call in found:
            if call.call in self._taken or call.call in self._meanwhile:  # the list may be older than their answers.
                continue
            self._taken.add(call.call)
            if not self._take(call, seen):
                self._taken.discard(call.call)
                self._refused += 1
        return 0.05 if len(found) >= limit else self._poll_s

    def over(self, calls: Iterable[str]) -> None:
        """These are answered, or not being served here any more."""
        over = list(calls)
        self._taken.difference_update(over)
        self._meanwhile.update(over)
        if self._refused:  # there may be room for them now.
            self._refused = 0
            self._wake()

    def again(self, call: str) -> None:
        """This one was not begun after all, and is looked for again."""
        self.over((call,))
        self._wake()


def _share(answers: list[dict[str, Posted]], items: Sequence[NewCall]) -> list[dict[str, Posted]]:
    return answers  # one mapping for the whole batch.


def _nothing() -> None: ...
