"""The journal of one workflow while it runs: what it holds, what is to be written, and what is to be told next."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Collection

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
    """

    def __init__(self, activation: Activation) -> None:
        self.notes: dict[str, Note] = {note.key: note for note in activation.claim.notes}
        self._news: asyncio.Event | None = None
        self._activation = activation
        self._numbers = {key: note.number for key, note in self.notes.items()}
        self._last = max(self._numbers.values(), default=0)
        self._outbox: list[Item] = []
        self._awaited = 0  # how many of these somebody waits for.
        self._writer: asyncio.Task[None] | None = None
        self._fault: BaseException | None = None
        self._recalled: list[tuple[int, int, Resolve]] = []
        self._recalls = 0
        self._told_numbers: set[int] = set()
        self._told: deque[Resolve] = deque()

    @property
    def news(self) -> asyncio.Event:
        """Set whenever something has happened that the workflow may wait for. It is made for the first who waits."""
        if self._news is None:
            self._news = asyncio.Event()
            self._news.set()  # whatever has happened before.
        return self._news

    def _tell_news(self) -> None:
        if self._news is not None:
            self._news.set()

    def number(self, key: str) -> int:
        """The place of a key in the order in which keys were first seen."""
        if (number := self._numbers.get(key)) is None:
            number = self._last = self._numbers[key] = self._last + 1
        return number

    def entry(
        self,
        key: str,
        kind: str,
        status: str,
        attempt: int = 0,
        *,
        value: str | None = None,
        error: str | None = None,
        duration_s: float | None = None,
        wake_s: float | None = None,
    ) -> Entry:
        """An entry. What is over is numbered in the order in which it is over."""
        number = self.number(key)
        if number != self._last and status in ("done", "failed"):
            number = self._last = self._numbers[key] = self._last + 1
        return Entry(key, kind, status, number, attempt, value, error, duration_s, wake_s)

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
        if resolve is not None:
            self._awaited += 1
        self._tell_news()

    def recall(self, number: int, resolve: Resolve) -> None:
        """Something was asked for that is recorded already."""
        self._recalls += 1
        self._told_numbers.add(number)
        heapq.heappush(self._recalled, (number, self._recalls, resolve))

    def move(self, activation: Activation) -> None:
        """Belongs to another activation from now on."""
        self._activation = activation
        self._news = None  # as in a run from the beginning.

    def forget_told(self, open: Collection[str]) -> None:
        """Forgets what the code has been told and cannot ask for again; `open` are the keys of what it waits for."""
        told = self._told_numbers
        self.notes = {key: note for key, note in self.notes.items() if note.number not in told}
        self._numbers = {key: number for key, number in self._numbers.items() if key in self.notes or key in open}
        told.clear()

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
        return self._awaited > 0 or self._writer is not None

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
            self._tell_news()

    def write(self) -> Awaitable[None]:
        """Makes durable what was put, after what is being written."""
        return self._write_batch() if self._writer is None else self._write_after(self._writer)

    async def _write_after(self, writer: asyncio.Task[None]) -> None:
        await asyncio.wait([writer])
        self.raise_fault()
        await self._write_batch()

    async def _write_batch(self) -> None:
        if not self._outbox:
            return
        batch, self._outbox, self._awaited = self._outbox, [], 0
        if len(batch) == 1:  # most often.
            entry, resolve, used, started = batch[0]
            await self._activation.record(Recorded((entry,), used, () if started is None else (started,)))
            if resolve is not None:
                self._told.append(resolve)
            return
        used = tuple(id for _, _, ids, _ in batch for id in ids)
        rows = tuple(row for _, _, _, row in batch if row is not None)
        await self._activation.record(Recorded(_last_of_each([item[0] for item in batch]), used, rows))
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
        self._tell_news()

    def raise_fault(self) -> None:
        """Raises what went wrong, if anything has."""
        if self._fault is not None:
            raise self._fault

    def left(self) -> tuple[Entry, ...]:
        """What is not written yet, to go with the outcome."""
        entries = _last_of_each([item[0] for item in self._outbox])
        self._outbox.clear()
        self._awaited = 0
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
