"""How methods are marked as handlers and alarms."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from outlast._kernel.backoff import Backoff, check_policy, exponential
from outlast.config import shown
from outlast.errors import DefinitionError
from outlast.objects.kind import ALARM_ATTEMPTS
from outlast.objects.refs import RemoteHandler

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class Handler(Generic[P, R]):
    """A method of an object that can be called from outside.

    On a reference it is a call that travels; on `self` it is the plain method.

    Attributes:
        function: The plain function.
        read_only: Whether it may not change the state.
    """

    def __init__(self, function: Callable[..., Any], *, read_only: bool) -> None:
        self.function = function
        self.read_only = read_only
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    @overload
    def __get__(self, instance: None, owner: type) -> Handler[P, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> RemoteHandler[P, R]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else self.function.__get__(instance)

    def __repr__(self) -> str:
        return f"<handler {self.function.__qualname__}>"


class _Decorator:
    """What `handler(...)` with options returns."""

    def __init__(self, read_only: bool) -> None:
        self._read_only = read_only

    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R]) -> Handler[P, R]: ...
    def __call__(self, function: Callable[..., Any]) -> Any:
        return Handler(_checked(function, "handler"), read_only=self._read_only)


@overload
def handler(function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /) -> Handler[P, R]: ...
@overload
def handler(function: Callable[Concatenate[Any, P], R], /) -> Handler[P, R]: ...
@overload
def handler(*, read_only: bool = False) -> _Decorator: ...
def handler(function: Any = None, /, *, read_only: bool = False) -> Any:
    """Makes a method of an `Object` one that can be called from outside, as `await engine.object(Cls, id).name(...)`.

    Handlers of one object run one at a time. The caller gets the answer after the new state is committed; a handler
    that leaves the state as it was costs no commit. An exception leaves the state as it was, and reaches the caller.
    `async def` runs on the engine's loop, a plain `def` on a thread.

    Args:
        read_only: The handler may not change the state: if it does, the call fails. Such calls are the cheapest.

    Raises: DefinitionError.
    """
    if not isinstance(read_only, bool):
        raise DefinitionError(f"read_only must be true or false, not {shown(read_only)}")
    decorate = _Decorator(read_only)
    return decorate if function is None else decorate(function)


class Alarm:
    """A method of an object that one of its alarms calls.

    Attributes:
        function: The plain function.
        max_attempts: Times that it is tried.
        backoff: Wait between attempts.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        max_attempts: int,
        backoff: Backoff | Callable[[int], float | timedelta],
    ) -> None:
        self.function = function
        self.max_attempts = max_attempts
        self.backoff = backoff
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else self.function.__get__(instance)


@overload
def alarm(function: F, /) -> F: ...
@overload
def alarm(
    *, max_attempts: int = ALARM_ATTEMPTS, backoff: Backoff | Callable[[int], float | timedelta] | None = None
) -> Callable[[F], F]: ...
def alarm(
    function: Any = None,
    /,
    *,
    max_attempts: int = ALARM_ATTEMPTS,
    backoff: Backoff | Callable[[int], float | timedelta] | None = None,
) -> Any:
    """Makes a method of an `Object` the handler of the alarm of its name, which `self.schedule_alarm(name, ...)` sets.

    What it leaves of the state is committed together with the end of the alarm. One that raises is tried again; after
    `max_attempts` the alarm stays as failed, where `engine.list_alarms` shows it. A parameter named `ctx` receives the
    `AlarmContext`; it takes no other.

    Args:
        max_attempts: Times that it is tried (default 10).
        backoff: Wait between attempts (default: 1 s, 2 s, 4 s... 300 s).

    Raises: DefinitionError.
    """
    if isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or not 1 <= max_attempts <= 1_000_000:
        raise DefinitionError(f"max_attempts must be a whole number from 1 to 1,000,000, not {shown(max_attempts)}")
    policy = exponential() if backoff is None else backoff
    check_policy(policy)

    def decorate(given: Any) -> Any:
        return Alarm(_checked(given, "alarm"), max_attempts, policy)

    return decorate if function is None else decorate(function)


def _checked(function: Any, what: str) -> Callable[..., Any]:
    if not inspect.isfunction(function):
        raise DefinitionError(f"@{what} goes on a method of an Object, not on {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"{what} {function.__name__!r} must return, not yield")
    return function
