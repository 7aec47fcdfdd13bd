"""What an object in memory needs of its keeper, and its keeper of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from outlast._kernel.objects import Body, ObjectType
from outlast._model import ObjectKey, Owned
from outlast._runtime.objects.items import Item, Pending


class Guest(Protocol):
    """An object in memory, as its keeper is told of it.

    Attributes:
        key, kind: What it is.
        node, epoch: Under which it is owned.
    """

    key: ObjectKey
    kind: ObjectType
    node: str
    epoch: int


class House(Protocol):
    """What a resident needs of its keeper."""

    bytes_max: int

    async def acquire(self, kind: ObjectType, id: str) -> Owned:
        """Makes this node the owner. Raises: Elsewhere, StoreError."""

    def load(self, kind: ObjectType, owned: Owned) -> Body:
        """The object in memory. Raises: EncodingError."""

    def loaded(self, resident: Guest, is_new: bool) -> None:
        """The object is in memory, and its `after_load` has run."""

    def load_failed(self, resident: Guest, error: BaseException) -> None:
        """The object is owned, and cannot be loaded."""

    def node(self) -> str:
        """This node's id; empty while nothing may be begun."""

    async def well(self) -> None:
        """Waits until something may be begun again."""

    def is_sure(self) -> bool:
        """Whether this node's lease is good beyond doubt."""

    def moment(self) -> int:
        """A number greater than all before: what was asked for at a greater one was asked for later."""

    def monotonic(self) -> float:
        """Seconds on the monotonic clock."""

    async def confirm(self, resident: Guest) -> bool:
        """Asks the store whether the resident's object is still owned here."""

    def dirty(self, resident: Any) -> None:
        """There is something to commit."""

    def left(self, resident: Any) -> None:
        """The resident has left the memory."""

    async def release(self, resident: Guest, *, is_done: bool = False) -> None:
        """Gives the object up; `is_done`: a commit has done so."""

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        """Runs a plain function on a thread."""

    def now_us(self) -> int:
        """The time, microseconds since 1970."""

    def retry_s(self, kind: ObjectType, alarm: str, failures: int) -> float | None:
        """Seconds until an alarm that failed is tried again, or None."""

    def failed(self, resident: Guest, item: Item, error: BaseException) -> None:
        """A handler has raised."""

    def lost(self, resident: Guest) -> None:
        """Another node owns the object by now."""

    def served(self, resident: Guest, pending: Pending) -> None:
        """A commit has landed."""

    def outdated(self, item: Item) -> None:
        """What was listed may no longer be so: it is not begun, and looked for again."""

    def dropped(self, items: list[Any]) -> None:
        """Stored calls and alarms that were taken are not being served any more."""
