"""Starts and signals of this process's callers, gathered into transactions."""

from __future__ import annotations

from collections.abc import Sequence

from outlast._model import Held, NewInstance, Receipt, Signal
from outlast._runtime.events import Events
from outlast._runtime.gather import Gather
from outlast._store.contract import Instances, Signals
from outlast._world import World


class Intake(Gather[NewInstance, Held]):
    """Inserts rows for callers. Their ids are made before, so that inserting again after a lost reply is harmless."""

    def __init__(self, instances: Instances, *, batch_max: int, events: Events, world: World) -> None:
        super().__init__(
            "start",
            lambda rows: instances.add(rows),
            _held_of,
            batch_max=batch_max,
            events=events,
            world=world,
        )

    async def add(self, rows: list[NewInstance]) -> list[Held]:
        """Inserts all rows, committed when this returns, but those whose key is held: these are returned.

        Raises: StoreError: nothing is known to be stored; with StoreUnavailable it may be.
        """
        return await self.put(rows)


class Post(Gather[Signal, Receipt]):
    """Delivers signals for callers. A signal's id is made before, so that sending it again is harmless."""

    def __init__(self, signals: Signals, *, batch_max: int, events: Events, world: World) -> None:
        super().__init__(
            "signal",
            lambda batch: signals.send(batch),
            _receipts_of,
            batch_max=batch_max,
            events=events,
            world=world,
        )

    async def send(self, batch: Sequence[Signal]) -> list[Receipt]:
        """Delivers signals, committed when this returns; one receipt each, in order. Raises: StoreError."""
        return await self.put(batch)


def _held_of(held: list[Held], rows: Sequence[NewInstance]) -> list[Held]:
    if not held:
        return []
    by_id = {item.id: item for item in held}
    return [by_id[row.id] for row in rows if row.id in by_id]


def _receipts_of(receipts: list[Receipt], signals: Sequence[Signal]) -> list[Receipt]:
    by_id = {receipt.id: receipt for receipt in receipts}
    return [by_id[signal.id] for signal in signals]
