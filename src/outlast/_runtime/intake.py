"""Starts: those that arrive together share one transaction; one that arrives alone does not wait for others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from outlast._model import Held, NewInstance
from outlast._runtime.events import Events
from outlast._runtime.patience import TRANSIENT, Patience
from outlast._store.contract import Instances
from outlast._world import World
from outlast.errors import StoreError, StoreUnavailable

_Item = tuple[list[NewInstance], "asyncio.Future[list[Held]]"]
GIVE_UP_S: Final = 5.0
"""A start waits this long for a database that is away before its caller is told."""


class Intake:
    """Inserts rows for callers.

    A row's id is made before, so that inserting it again after a lost reply is harmless.
    """

    def __init__(self, instances: Instances, *, batch_max: int, events: Events, world: World) -> None:
        self._instances = instances
        self._batch_max = batch_max
        self._patience = Patience("intake", events, world)
        self._pending: list[_Item] = []
        self._task: asyncio.Task[None] | None = None
        self._alone = False
        self._calm = asyncio.Event()
        self._closed = False

    async def add(self, rows: list[NewInstance]) -> list[Held]:
        """Inserts all rows, committed when this returns, but those whose key is held: these are returned.

        One that arrives alone is inserted from the caller's own task, which saves half of what it costs beside the
        statement; those that arrive meanwhile are gathered for the next transaction.

        Raises: StoreError: nothing is known to be stored; with StoreUnavailable it may be.
        """
        if self._alone or self._task is not None:
            return await self._gather(rows)
        self._alone = True
        try:
            return await self._insert(rows)
        except _Closed:
            raise _closed_meanwhile() from None
        finally:
            self._alone = False
            self._calm.set()
            if self._pending:
                self._begin()

    async def _gather(self, rows: list[NewInstance]) -> list[Held]:
        if self._closed:
            raise _closed_meanwhile()
        future: asyncio.Future[list[Held]] = asyncio.get_running_loop().create_future()
        self._pending.append((rows, future))
        if not self._alone:
            self._begin()
        return await future

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._flush(), name="outlast-intake")

    def _insert(self, rows: list[NewInstance]) -> Awaitable[list[Held]]:
        return self._patience.until_done(lambda: self._try(rows), give_up_s=GIVE_UP_S)

    def _try(self, rows: list[NewInstance]) -> Awaitable[list[Held]]:
        if self._closed:
            raise _Closed
        return self._instances.add(rows)

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
        self._fail(self._pending, _closed_meanwhile())
        self._pending = []

    async def _flush(self) -> None:
        try:
            while self._pending:
                await self._add(self._next_batch())
        finally:
            self._task = None

    def _next_batch(self) -> list[_Item]:
        count = rows = 0
        for item_rows, _ in self._pending:
            if count and rows + len(item_rows) > self._batch_max:
                break
            count, rows = count + 1, rows + len(item_rows)
        batch = self._pending[:count]
        del self._pending[:count]
        return batch

    async def _add(self, batch: list[_Item]) -> None:
        rows = [row for item_rows, _ in batch for row in item_rows]
        try:
            held = await self._insert(rows)
        except StoreError as error:
            if len(batch) > 1 and not isinstance(error, TRANSIENT):
                for item in batch:  # one row that the database refuses must not cost the others their start.
                    await self._add([item])
                return
            self._fail(batch, error)
            return
        except Exception as error:
            self._fail(batch, _closed_meanwhile() if isinstance(error, _Closed) else error)
            return
        except BaseException:
            self._fail(batch, _closed_meanwhile())
            raise
        if not held:
            for _, future in batch:
                if not future.done():
                    future.set_result([])
            return
        by_id = {item.id: item for item in held}
        for item_rows, future in batch:
            if not future.done():
                future.set_result([by_id[row.id] for row in item_rows if row.id in by_id])

    @staticmethod
    def _fail(batch: list[_Item], error: BaseException) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(error)


class _Closed(Exception):
    """No error of the database: trying again is pointless."""


def _closed_meanwhile() -> StoreUnavailable:
    return StoreUnavailable("the engine was closed while this start was under way")
