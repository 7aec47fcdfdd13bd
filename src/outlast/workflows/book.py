"""The journal of one workflow while it runs: what it holds, what is to be written, and what is to be told next."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

from outlast._kernel.outcomes import Recorded
from outlast._kernel.program import Activation
from outlast._model import Entry, NewInstance, Note

Resolve = Callable[[], None]
Item = tuple[Entry, Resolve | None, tuple[str, ...], NewInstance | None]
"""An entry, who waits for it, the signals used up with it, and the child started with it."""


class Book:
    """Reads notes and writes entries, one commit after the other; what comes meanwhile goes with the next.

    The workflow's code is told of results one at a time, in the order in which they were recorded: so a race is won by
    the same branch whenever the code runs again.

    Attributes:
        notes: What was recorded before this activation, by key.
        news: Set whenever something has happened that the workflow may wait for.
    """

    def __init__(self, activation: Activation) -> None:
        self.notes: dict[str, Note] = {note.key: note for note in activation.claim.notes}
        self.news = asyncio.Event()
        self._activation = activation
        self._numbers = {key: note.number for key, note in self.notes.items()}
        self._last = max(self._numbers.values(), default=0)
        self._outbox: list[Item] = []
        self._writer: asyncio.Task[None] | None = None
        self._fault: BaseException | None = None
        self._recalled: list[tuple[int, int, Resolve]] = []
        self._recalls = 0
        self._told: deque[Resolve] = deque()

    def number(self, key: str) -> int:
        """The place of a key in the order in which keys were first seen."""
        if (number := self._numbers.get(key)) is None:
            number = self._last = self._numbers[key] = self._last + 1
        return number

    def entry(self, key: str, kind: str, status: str, attempt: int = 0, **columns: Any) -> Entry:
        """An entry. What is over is numbered in the order in which it is over."""
        number = self.number(key)
        if status in ("done", "failed") and number != self._last:
            number = self._last = self._numbers[key] = self._last + 1
        return Entry(key, kind, status, number, attempt, **columns)

    def put(
        self,
        entry: Entry,
        resolve: Resolve | None = None,
        used: tuple[str, ...] = (),
        started: NewInstance | None = None,
    ) -> None:
        """Takes an entry; `resolve` is called once it is durable. With it the signals `used` are used up, and `started`
        begins."""
        self._outbox.append((entry, resolve, used, started))
        self.news.set()

    def recall(self, number: int, resolve: Resolve) -> None:
        """Something was asked for that is recorded already."""
        self._recalls += 1
        heapq.heappush(self._recalled, (number, self._recalls, resolve))

    def tell_next(self) -> bool:
        """Tells the workflow's code of the next result. Whether there was one."""
        if self._recalled:
            heapq.heappop(self._recalled)[2]()
            return True
        if self._told:
            self._told.popleft()()
            return True
        return False

    @property
    def has_results(self) -> bool:
        """Whether somebody waits for something to become durable."""
        return self._writer is not None or any(resolve is not None for _, resolve, _, _ in self._outbox)

    def write_soon(self) -> None:
        """Begins to write, if there is anything to write and nothing is being written."""
        if self._writer is None and self._outbox:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            await self._write_batch()
        except BaseException as error:
            self._fault = error
        finally:
            self._writer = None
            self.news.set()

    async def write(self) -> None:
        """Makes durable what was put, after what is being written."""
        if self._writer is not None:
            await asyncio.wait([self._writer])
            self.raise_fault()
        if self._outbox:
            await self._write_batch()

    async def _write_batch(self) -> None:
        batch, self._outbox = self._outbox, []
        used = tuple(id for _, _, ids, _ in batch for id in ids)
        started = tuple(row for _, _, _, row in batch if row is not None)
        await self._activation.record(Recorded(_last_of_each([item[0] for item in batch]), used, started))
        self._told.extend(resolve for _, resolve, _, _ in batch if resolve is not None)

    async def settled(self) -> None:
        """Waits for what is being written."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    def withdraw(self, key: str) -> bool:
        """Takes back what was put under a key, if it is not written yet. Whether it was so."""
        kept = [item for item in self._outbox if item[0].key != key]
        found = len(kept) < len(self._outbox)
        self._outbox = kept
        return found

    def fault(self, error: BaseException) -> None:
        """Something went wrong that is not the workflow's: the activation ends with it."""
        self._fault = error
        self.news.set()

    def raise_fault(self) -> None:
        """Raises what went wrong, if anything has."""
        if self._fault is not None:
            raise self._fault

    def left(self) -> tuple[Entry, ...]:
        """What is not written yet, to go with the outcome."""
        entries = _last_of_each([item[0] for item in self._outbox])
        self._outbox.clear()
        return entries

    def children_left(self) -> tuple[NewInstance, ...]:
        """The children among that; to be asked first."""
        return tuple(row for _, _, _, row in self._outbox if row is not None)

    async def close(self) -> None:
        """Ends writing."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])


def _last_of_each(entries: list[Entry]) -> tuple[Entry, ...]:
    """Of entries with one key the last: one statement writes each row once."""
    if len(entries) == 1:
        return (entries[0],)
    return tuple({entry.key: entry for entry in entries}.values())
