"""Group commit for callers: what arrives together shares a transaction; what arrives alone waits for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from outlast._runtime.events import Events
from outlast._runtime.patience import TRANSIENT, Patience
from outlast._world import World
from outlast.errors import StoreError, StoreUnavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")

GIVE_UP_S: Final = 5.0
"""A call waits this long for a database that is away before its caller is told."""


class Gather(Generic[Item, Answer]):
    """Writes items for callers. Writing an item again after a lost reply must be harmless.

    Args:
        what: What a caller does, for errors: "start", "signal".
        write: Writes items in one transaction; returns answers.
        share: Of the answers to a batch, those that belong to one caller's items.
        batch_max: Items in one transaction at most, unless one caller brings more.
    """

    def __init__(
        self,
        what: str,
        write: Callable[[Sequence[Item]], Awaitable[list[Answer]]],
        share: Callable[[list[Answer], Sequence[Item]], list[Answer]],
        *,
        batch_max: int,
        events: Events,
        world: World,
    ) -> None:
        self._what = what
        self._write = write
        self._share = share
        self._batch_max = batch_max
        self._patience = Patience(what, events, world)
        self._pending: list[tuple[Sequence[Item], asyncio.Future[list[Answer]]]] = []
        self._task: asyncio.Task[None] | None = None
        self._alone = False
        self._calm = asyncio.Event()
        self._closed = False

    async def put(self, items: Sequence[Item]) -> list[Answer]:
        """Writes items; committed when this returns.

        What arrives alone is written from the caller's own task, which saves half of what it costs beside the
        statement; what arrives meanwhile is gathered for the next transaction.

        Raises: StoreError: nothing is known to be stored; with StoreUnavailable it may be.
        """
        if self._alone or self._task is not None:
            return await self._gathered(items)
        self._alone = True
        try:
            return await self._written(items)
        except _Closed:
            raise self._closed_meanwhile() from None
        finally:
            self._alone = False
            self._calm.set()
            if self._pending:
                self._begin()

    async def _gathered(self, items: Sequence[Item]) -> list[Answer]:
        if self._closed:
            raise self._closed_meanwhile()
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._pending.append((items, future))
        if not self._alone:
            self._begin()
        return await future

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._flush(), name=f"outlast-{self._what}")

    def _written(self, items: Sequence[Item]) -> Awaitable[list[Answer]]:
        return self._patience.until_done(lambda: self._try(items), give_up_s=GIVE_UP_S)

    def _try(self, items: Sequence[Item]) -> Awaitable[list[Answer]]:
        if self._closed:
            raise _Closed
        return self._write(items)

    def tasks(self) -> list[asyncio.Task[None]]:
        """What is at work now."""
        return [] if self._task is None else [self._task]

    async def settled(self) -> None:
        """Waits until everything taken so far is stored or refused."""
        while self._alone or self._task is not None:
            if self._task is not None:
                await asyncio.shield(self._task)
            else:
                self._calm.clear()
                await self._calm.wait()

    def close(self) -> None:
        """Takes nothing any more, and refuses what still waits."""
        self._closed = True
        self._fail(self._pending, self._closed_meanwhile())
        self._pending = []

    async def _flush(self) -> None:
        try:
            while self._pending:
                await self._serve(self._next_batch())
        finally:
            self._task = None

    def _next_batch(self) -> list[tuple[Sequence[Item], asyncio.Future[list[Answer]]]]:
        count = total = 0
        for items, _ in self._pending:
            if count and total + len(items) > self._batch_max:
                break
            count, total = count + 1, total + len(items)
        batch = self._pending[:count]
        del self._pending[:count]
        return batch

    async def _serve(self, batch: list[tuple[Sequence[Item], asyncio.Future[list[Answer]]]]) -> None:
        try:
            answers = await self._written([item for items, _ in batch for item in items])
        except StoreError as error:
            if len(batch) > 1 and not isinstance(error, TRANSIENT):
                for one in batch:  # an item that the database refuses must not cost the others theirs.
                    await self._serve([one])
                return
            self._fail(batch, error)
            return
        except Exception as error:
            self._fail(batch, self._closed_meanwhile() if isinstance(error, _Closed) else error)
            return
        except BaseException:
            self._fail(batch, self._closed_meanwhile())
            raise
        for items, future in batch:
            if not future.done():
                future.set_result(self._share(answers, items))

    @staticmethod
    def _fail(batch: list[tuple[Sequence[Item], asyncio.Future[list[Answer]]]], error: BaseException) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(error)

    def _closed_meanwhile(self) -> StoreUnavailable:
        return StoreUnavailable(f"the engine was closed while this {self._what} was under way")


class _Closed(Exception):
    """No error of the database: trying again is pointless."""
