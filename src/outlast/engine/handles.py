"""One instance, from outside."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Generic, Literal, Protocol, TypedDict, TypeVar, Unpack

from outlast._model import Ended, Instance
from outlast.engine.reading import read_ended

R_co = TypeVar("R_co", covariant=True)

SignalResult = Literal["delivered", "duplicate", "no_target", "ended"]
"""What became of a signal. `duplicate`: it, or one with its dedup key, was there already. Nothing is stored for
`no_target` (no such instance) and `ended` (the instance is over)."""


class Changes(TypedDict, total=False):
    """What a retry changes; see `Engine.retry`."""

    from_step: str | None
    input: Mapping[str, Any] | None
    state: Mapping[str, Any] | None
    result_of: Mapping[str, Any] | None
    reason: str
    by: str | None


class Asked(Protocol):
    """The engine, as far as a handle needs it."""

    async def ended(self, id: str, timeout: float | timedelta | None) -> Ended:
        """How the instance ended, once it has."""

    async def get(self, id: str) -> Instance:
        """The instance as it stands."""

    async def cancel(self, id: str, reason: str = "", *, tree: bool = False) -> Instance:
        """Ends it as cancelled."""

    async def signal(self, target: Any, name: str, payload: Any = None, *, dedup_key: str | None = None) -> Any:
        """Sends it a signal."""

    async def retry(self, id: str, **changes: Unpack[Changes]) -> Instance:
        """Runs it again."""

    async def pause(self, id: str, reason: str = "", *, tree: bool = False, by: str | None = None) -> Instance:
        """Lets it begin no further step."""

    async def resume(self, id: str, reason: str = "", *, tree: bool = False, by: str | None = None) -> Instance:
        """Takes a pause back."""


class Handle(Generic[R_co]):
    """One instance, from outside. Cheap; holds no row.

    Attributes:
        id: The instance.
    """

    __slots__ = ("_engine", "_read_result", "id")

    def __init__(self, engine: Asked, id: str, read_result: Any = None) -> None:
        self.id = id
        self._engine = engine
        self._read_result = read_result

    async def result(self, timeout: float | timedelta | None = None) -> R_co:
        """Waits for the end and returns the result.

        Args:
            timeout: Seconds to wait; None for ever. Running out harms nothing: call again to wait longer.

        Raises: InstanceFailed, InstanceCancelled, InstanceQuarantined: how it ended. ResultTimeout. NotFound.
        """
        ended = await self._engine.ended(self.id, timeout)
        return read_ended(ended, self._read_result)  # type: ignore[no-any-return]

    async def get(self) -> Instance:
        """The instance as it stands. Raises: NotFound."""
        return await self._engine.get(self.id)

    async def signal(self, name: str, payload: Any = None, *, dedup_key: str | None = None) -> SignalResult:
        """See `Engine.signal`."""
        return await self._engine.signal(self, name, payload, dedup_key=dedup_key)  # type: ignore[no-any-return]

    async def cancel(self, reason: str = "", *, tree: bool = False) -> Instance:
        """See `Engine.cancel`."""
        return await self._engine.cancel(self.id, reason, tree=tree)

    async def retry(self, **changes: Unpack[Changes]) -> Instance:
        """See `Engine.retry`."""
        return await self._engine.retry(self.id, **changes)

    async def pause(self, reason: str = "", *, tree: bool = False, by: str | None = None) -> Instance:
        """See `Engine.pause`."""
        return await self._engine.pause(self.id, reason, tree=tree, by=by)

    async def resume(self, reason: str = "", *, tree: bool = False, by: str | None = None) -> Instance:
        """See `Engine.resume`."""
        return await self._engine.resume(self.id, reason, tree=tree, by=by)

    def __repr__(self) -> str:
        return f"<Handle {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)
