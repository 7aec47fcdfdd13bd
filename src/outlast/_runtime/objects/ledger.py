"""Group commit of what objects' calls leave: while one transaction is under way the next gathers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from outlast._model import ObjectCommit, ObjectKey
from outlast._runtime.events import Events
from outlast._runtime.objects.resident import Resident
from outlast._runtime.patience import Patience
from outlast._store.objects import Objects
from outlast._world import World
from outlast.errors import CallError, StoreError


class Ledger:
    """Commits residents that have something pending, each at most once in a transaction.

    Args:
        batch_max: Objects in one transaction at most.
    """

    def __init__(self, objects: Objects, *, batch_max: int, events: Events, world: World) -> None:
        self._objects = objects
        self._batch_max = batch_max
        self._patience = Patience("object-ledger", events, world)
        self._dirty: dict[int, Resident] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def put(self, resident: Resident) -> None:
        """There is something to commit."""
        if self._closed:
            return
        self._dirty[id(resident)] = resident
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._flush(), name="outlast-object-ledger")

    async def settled(self) -> None:
        """Waits until everything is committed or lost."""
        while self._task is not None:
            await asyncio.shield(self._task)

    def tasks(self) -> list[asyncio.Task[None]]:
        """What is at work now."""
        return [] if self._task is None else [self._task]

    def close(self) -> None:
        """Takes nothing any more."""
        self._closed = True

    async def _flush(self) -> None:
        try:
            while self._dirty:
                batch = list(self._dirty.values())[: self._batch_max]
                for resident in batch:
                    del self._dirty[id(resident)]
                await self._commit([each for each in batch if not each.gone and each.pending is not None])
        finally:
            self._task = None

    async def _commit(self, residents: list[Resident]) -> None:
        by_node: dict[str, list[tuple[Resident, ObjectCommit]]] = {}
        for resident in residents:
            by_node.setdefault(resident.node, []).append((resident, resident.take()))
        for node, taken in by_node.items():
            await self._save(node, taken)
        for resident in residents:
            if not resident.gone and resident.pending is not None:
                self._dirty[id(resident)] = resident

    async def _save(self, node: str, taken: Sequence[tuple[Resident, ObjectCommit]]) -> None:
        commits = [commit for _, commit in taken]
        tries = 0

        def save() -> Awaitable[list[ObjectKey]]:
            nonlocal tries
            tries += 1
            return self._objects.save(node, commits)

        try:
            lost = set(await self._patience.until_done(save))
        except Exception as error:  # transient trouble is waited out.
            if len(taken) > 1:  # one that the database refuses must not cost the others theirs.
                half = len(taken) // 2
                await self._save(node, taken[:half])
                await self._save(node, taken[half:])
                return
            resident, commit = taken[0]
            is_certain = tries == 1 and isinstance(error, StoreError)
            resident.lose(
                CallError(
                    f"the changes of {commit.type} {commit.id!r} could not be stored: {error}",
                    type=commit.type,
                    id=commit.id,
                    happened=False if is_certain else None,
                ),
                is_certain=is_certain,
            )
            return
        for resident, _ in taken:
            if resident.gone:
                continue
            if resident.key in lost:
                # Whose reply was lost may be in the row all the same, under what its new owner has written since.
                resident.lose(is_certain=tries == 1)
            else:
                resident.land()
