"""What the engine asks of a database for objects; a part of the contract.

An object is owned by one node at a time; every write of an owner carries type, id, node and epoch. An owner whose row
in `nodes` is gone owns nothing: whoever wants the object takes it over, which adds one to its epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from outlast._model import (
    Activated,
    AlarmRow,
    AlarmsDue,
    Answer,
    NewCall,
    ObjectCommit,
    ObjectKey,
    ObjectRow,
    Posted,
    WaitingCall,
    Wanted,
)


class Objects(Protocol):
    """Objects and who owns them."""

    async def activate(self, node: str, wanted: Sequence[Wanted]) -> Activated:
        """Makes `node` the owner of these, unless another living node is. Makes those that do not exist.

        One that `node` owns already gets a new epoch: what was written under the old one comes too late. Whether an
        owner lives is looked at after its object's row was locked: a node that registered meanwhile counts.
        """

    async def save(self, node: str, batch: Sequence[ObjectCommit]) -> list[ObjectKey]:
        """Writes what calls left, all in one transaction; at most one commit for each object.

        Returns: Objects that are no longer owned under their epoch; of these nothing was written. A commit that an
        earlier try has written (its number is that of the row) counts as written, and does nothing.
        """

    async def owned(self, node: str, held: Sequence[tuple[str, str, int]]) -> list[ObjectKey]:
        """Of these (type, id, epoch), those that the node still owns."""

    async def release(self, node: str, held: Sequence[tuple[str, str, int]] | None) -> int:
        """Gives these (type, id, epoch) up, or all that the node owns. Returns how many."""

    async def get(self, type: str, id: str) -> ObjectRow | None:
        """One object."""

    async def counts(self) -> list[tuple[str, int, int]]:
        """Type, how many objects there are, how many of them living nodes own. Reads the whole table."""

    async def list(self, type: str, *, after: str, limit: int, owned: bool | None = None) -> list[ObjectRow]:
        """Objects of a type by id, those behind `after`; with `owned`, those that a living node owns, or the others."""

    async def prune(self, limit: int) -> int:
        """Deletes up to `limit` objects past their time that nobody owns, with their alarms; never one that a call
        waits for, or that has an alarm still to ring. Returns how many."""


class Calls(Protocol):
    """Calls that travel through the store."""

    async def post(self, calls: Sequence[NewCall]) -> list[Posted]:
        """Stores calls, in order. One whose key the object knows already is left out."""

    async def waiting(self, node: str, types: Sequence[str], limit: int) -> list[WaitingCall]:
        """Up to `limit` calls without an answer to objects of these types that `node` owns, or that nobody does, in the
        order in which they were made. Those past their time are left out."""

    async def answers(self, calls: Sequence[str]) -> list[Answer]:
        """Of these calls, the answers that are there."""

    async def drop(self, calls: Sequence[str]) -> None:
        """Forgets calls that nobody waits for any more: answers that were read (those with a key stay), and calls whose
        caller gave up."""

    async def prune(self, limit: int) -> int:
        """Deletes up to `limit` calls past their time: unanswered ones a minute later, answers without a key five
        minutes after they were given, those with a key when `keep_s` has passed. Returns how many."""


class Alarms(Protocol):
    """Alarms, as others see them than the object that owns them."""

    async def due(self, node: str, types: Sequence[str], limit: int) -> AlarmsDue:
        """Up to `limit` due alarms of objects of these types that `node` owns, or that nobody does."""

    async def set(self, alarms: Sequence[AlarmRow]) -> None:
        """Sets alarms; one of the same object and name is replaced."""

    async def cancel(self, type: str, id: str, name: str | None) -> int:
        """Cancels one alarm of an object, or all. Returns how many there were."""

    async def list(self, type: str, id: str | None, limit: int) -> list[AlarmRow]:
        """Alarms of an object, or of all objects of the type, the earliest first; those that failed for good last."""
