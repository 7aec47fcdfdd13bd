"""An object from outside: what is called on a reference travels to wherever the object lives."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar

from outlast.config import checked_name, duration_s, shown
from outlast.errors import ConfigError, did_you_mean
from outlast.objects.kind import HandlerOf, ObjectKind

P = ParamSpec("P")
R = TypeVar("R")

KEEP_ANSWER_S: Final = 86_400.0
"""Seconds that the answer to a call with an idempotency key is kept, unless the call says otherwise."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How a call is made.

    Attributes:
        timeout_s: Seconds to wait for the answer; None: as the object's class says.
        idempotency_key: Calls of one object with the same key happen once; each gets the first one's answer.
        keep_s: Seconds that the answer is kept for such calls.
    """

    timeout_s: float | None = None
    idempotency_key: str | None = None
    keep_s: float = KEEP_ANSWER_S


PLAIN: Final = CallOptions()


class Ordered:
    """A one-way call that goes out with its handler's commit. Awaiting it is not needed, so that a plain `def` can
    send, too."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()


ORDERED: Final = Ordered()


class Caller(Protocol):
    """Who carries calls to objects."""

    def call_object(
        self,
        ref: Ref,
        handler: HandlerOf,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: CallOptions,
    ) -> Any:
        """Calls, and gives the answer; an awaitable of it where there is a loop."""

    def send_object(
        self,
        ref: Ref,
        handler: HandlerOf,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: CallOptions,
    ) -> Any:
        """Sends a one-way call."""


class Ref:
    """An object by type and id. Cheap; nothing happens before a handler is called.

    Attributes:
        outlast_kind: Its type.
        id: Its id.
    """

    def __init__(self, kind: ObjectKind, id: str, caller: Caller) -> None:
        self.outlast_kind = kind
        self.id = checked_name(id, what="an object's id")
        self.outlast_caller = caller

    def __getattr__(self, name: str) -> Any:
        kind: ObjectKind = self.__dict__["outlast_kind"]
        handler = kind.handlers.get(name)
        if handler is None:
            if name.startswith("__"):
                raise AttributeError(name)
            raise AttributeError(_no_handler(kind, name))
        bound: RemoteHandler[..., Any] = RemoteHandler(self, handler, PLAIN)
        self.__dict__[name] = bound
        return bound

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and (self.outlast_kind.name, self.id) == (other.outlast_kind.name, other.id)

    def __hash__(self) -> int:
        return hash((self.outlast_kind.name, self.id))

    def __repr__(self) -> str:
        return f"<object {self.outlast_kind.name} {self.id!r}>"


class RemoteHandler(Generic[P, R]):
    """A handler of an object that lives somewhere."""

    __slots__ = ("_handler", "_options", "_ref")

    def __init__(self, ref: Ref, handler: HandlerOf, options: CallOptions) -> None:
        self._ref = ref
        self._handler = handler
        self._options = options

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Calls it: activates the object wherever it lives, or here. The answer comes after the commit.

        Raises: What the handler raises; CallError; ArgumentError, EncodingError.
        """
        answer: Coroutine[Any, Any, R] = self._ref.outlast_caller.call_object(
            self._ref, self._handler, args, kwargs, self._options
        )
        return answer

    def send(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, None]:
        """Sends a one-way call: stored when this returns, handled at least once, and its answer is dropped.

        In an object's own handler it goes out with that handler's commit; there awaiting it is not needed.

        Raises: ArgumentError, EncodingError, StoreError.
        """
        sent: Coroutine[Any, Any, None] = self._ref.outlast_caller.send_object(
            self._ref, self._handler, args, kwargs, self._options
        )
        return sent

    def with_options(
        self,
        *,
        timeout: float | timedelta | None = None,
        idempotency_key: str | None = None,
        keep: float | timedelta | None = None,
    ) -> RemoteHandler[P, R]:
        """The same handler, called otherwise.

        Args:
            timeout: Seconds (or a timedelta) to wait for the answer; the class's `call_timeout` by default.
            idempotency_key: Calls of this object with the same key happen once; each gets the first one's answer, an
                error included. With one, a call that came to no answer can be made again safely.
            keep: Seconds (or a timedelta) that the answer is kept for such calls; one day by default.

        Raises: ConfigError.
        """
        options = CallOptions(
            None if timeout is None else duration_s(timeout, name="timeout", least_s=0.001),
            None if idempotency_key is None else checked_name(idempotency_key, what="idempotency_key"),
            KEEP_ANSWER_S if keep is None else duration_s(keep, name="keep", least_s=1.0),
        )
        if keep is not None and idempotency_key is None:
            raise ConfigError("keep is for answers to calls with an idempotency_key")
        return RemoteHandler(self._ref, self._handler, options)

    def __repr__(self) -> str:
        return f"<handler {self._handler.name!r} of {self._ref!r}>"


def ref_of(target: Any, make: Callable[[ObjectKind, str], Ref]) -> Ref:
    """What somebody calls an object: a reference, or (class, id). Raises: ConfigError."""
    if isinstance(target, Ref):
        return target
    if isinstance(target, tuple) and len(target) == 2:
        return make(target[0], target[1])
    raise ConfigError(f"an object is what engine.object(Class, id) returns, not {shown(target)}")


def _no_handler(kind: ObjectKind, name: str) -> str:
    if name in kind.field_names:
        return (
            f"{name!r} is a field of {kind.name}: it lives with the object. "
            "Call a handler that returns it, or engine.get_state(...)"
        )
    return f"{kind.name} has no handler {name!r}{did_you_mean(name, kind.handlers)}"
