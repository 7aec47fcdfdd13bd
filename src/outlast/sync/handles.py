"""One instance, from outside, for code without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeVar, Unpack

from outlast import engine as asynchronous
from outlast._model import Instance
from outlast.engine import Changes, SignalResult

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)


class Asked(Protocol):
    """The engine, as far as a handle needs it."""

    def _call(self, work: Callable[[asynchronous.Engine], Coroutine[Any, Any, T]]) -> T: ...

    def get(self, id: str) -> Instance:
        """The instance as it stands."""

    def signal(self, target: Any, name: str, payload: Any = None, *, dedup_key: str | None = None) -> SignalResult:
        """Sends it a signal."""

    def cancel(self, id: str, reason: str = "", *, tree: bool = False) -> Instance:
        """Ends it as cancelled."""

    def retry(self, id: str, **changes: Unpack[Changes]) -> Instance:
        """Runs it again."""

    def pause(self, id: str, reason: str = "", *, tree: bool = False, by: str | None = None) -> Instance:
        """Lets it begin no further step."""

    def resume(self, id: str, reason: str = "", *, tree: bool = False, by: str | None = None) -> Instance:
        """Takes a pause back."""


class Handle(Generic[R_co]):
    """One instance, from outside. See `outlast.Handle`."""

    __slots__ = ("_engine", "_handle")

    def __init__(self, engine: Asked, handle: asynchronous.Handle[R_co]) -> None:
        self._engine = engine
        self._handle = handle

    @property
    def id(self) -> str:
        """The instance."""
        return self._handle.id

    def result(self, timeout: float | timedelta | None = None) -> R_co:
        """See `outlast.Handle.result`."""
        return self._engine._call(lambda engine: engine.handle_of(self._handle).result(timeout))

    def get(self) -> Instance:
        """See `Engine.get`."""
        return self._engine.get(self.id)

    def signal(self, name: str, payload: Any = None, *, dedup_key: str | None = None) -> SignalResult:
        """See `Engine.signal`."""
        return self._engine.signal(self, name, payload, dedup_key=dedup_key)

    def cancel(self, reason: str = "", *, tree: bool = False) -> Instance:
        """See `Engine.cancel`."""
        return self._engine.cancel(self.id, reason, tree=tree)

    def retry(self, **changes: Unpack[Changes]) -> Instance:
        """See `Engine.retry`."""
        return self._engine.retry(self.id, **changes)

    def pause(self, reason: str = "", *, tree: bool = False, by: str | None = None) -> Instance:
        """See `Engine.pause`."""
        return self._engine.pause(self.id, reason, tree=tree, by=by)

    def resume(self, reason: str = "", *, tree: bool = False, by: str | None = None) -> Instance:
        """See `Engine.resume`."""
        return self._engine.resume(self.id, reason, tree=tree, by=by)

    def __repr__(self) -> str:
        return f"<Handle {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)
