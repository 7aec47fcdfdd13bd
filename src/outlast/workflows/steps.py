"""Steps of workflows: functions whose results are recorded."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Generic, Literal, ParamSpec, TypeVar, overload
from weakref import WeakSet

from outlast._kernel.backoff import Backoff, check_policy, exponential
from outlast._kernel.marks import is_method, mark_step
from outlast._kernel.program import DEFINED
from outlast._kernel.signatures import Signature
from outlast.config import checked_name, duration_s, shown
from outlast.errors import DefinitionError, WorkflowError
from outlast.workflows.errands import ErrandProgram, LimitOfStep, Where, where
from outlast.workflows.loop import current_flow

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_ATTEMPTS_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class StepSettings:
    """What `@step(...)` says; see there."""

    name: str | None
    max_attempts: int
    backoff: Backoff | Callable[[int], float | timedelta]
    timeout_s: float | None
    compensate: Callable[..., Any] | None
    cancellable: bool = False
    where: Where | None = None


class Step(Generic[P, R]):
    """A function whose result is recorded when a workflow calls it; anywhere else it is the plain function.

    Attributes:
        outlast_step_name: Its name in the journal.
        function: The plain function.
        max_attempts: Executions at most.
        timeout_s: Seconds that one execution may take, or None.
        outlast_compensate: The step that undoes it, or None.
        outlast_program: Itself as a program, for the nodes that run it elsewhere; None: it runs in its workflow.
    """

    def __init__(self, function: Callable[P, R], settings: StepSettings) -> None:
        self.function = function
        self.outlast_step_name = function.__name__ if settings.name is None else settings.name
        self.max_attempts = settings.max_attempts
        self.backoff = settings.backoff
        self.timeout_s = settings.timeout_s
        self.is_async = inspect.iscoroutinefunction(function)
        self.signature = Signature(function, who=f"step {self.outlast_step_name!r}")
        self.outlast_compensate = None if settings.compensate is None else _compensation(self, settings.compensate)
        self.outlast_program = None if settings.where is None else ErrandProgram(self, settings.where)
        functools.update_wrapper(self, function, updated=())

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """In a workflow: a coroutine of the recorded result. Anywhere else: the plain function."""
        flow = current_flow()
        if flow is None:
            return self.function(*args, **kwargs)
        recorded: R = flow.call(self, args, kwargs)
        return recorded

    def __repr__(self) -> str:
        return f"<step {self.outlast_step_name!r}>"


_MADE: Final[dict[str, WeakSet[Step[Any, Any]]]] = {}
"""Steps that exist in this process, by name. Definitions only: no workflow's state is held here."""


def steps_called(name: str) -> list[Step[Any, Any]]:
    """The steps of this name that are defined in this process."""
    return list(_MADE.get(name, ()))


def _compensation(of: Step[Any, Any], function: Callable[..., Any]) -> Step[Any, Any]:
    """The step that undoes another: it takes the same arguments, and `result` if it has such a parameter."""
    made: Step[Any, Any] = function if isinstance(function, Step) else make_step(function)
    unknown = made.signature.names - of.signature.names - {"result"}
    if unknown:
        raise DefinitionError(
            f"step {of.outlast_step_name!r}: its compensation {made.outlast_step_name!r} takes {sorted(unknown)[0]!r}, "
            "which is no argument of the step; `result` is what the step returned"
        )
    return made


def make_step(function: Callable[..., Any], settings: StepSettings | None = None) -> Step[Any, Any]:
    """A step of a function. Raises: DefinitionError."""
    if not inspect.isfunction(function):
        raise DefinitionError(f"@step goes on a function or a machine's method, not on {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"step {function.__name__!r} must return, not yield")
    if settings is not None and settings.cancellable and not inspect.iscoroutinefunction(function):
        raise DefinitionError(
            f"step {function.__name__!r} is a def, which runs on a thread that nobody can stop: "
            "cancellable=True needs an async def"
        )
    made: Step[Any, Any] = Step(function, settings or StepSettings(None, 1, exponential(), None, None))
    _MADE.setdefault(made.outlast_step_name, WeakSet()).add(made)
    if made.outlast_program is not None and "<locals>" not in function.__qualname__:
        DEFINED.add(made.outlast_program)
    return made


def _for_machines(function: Any) -> Any:
    """A machine's step, which a workflow's own code cannot call: it would not be recorded."""
    if not inspect.isfunction(function) or not inspect.iscoroutinefunction(function):
        return function

    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        if current_flow() is not None:
            raise WorkflowError(
                f"{function.__qualname__} is a machine's step: in a workflow call a step that is a function"
            )
        return await function(*args, **kwargs)

    return run


class _Decorator:
    """What `step(...)` with options returns."""

    def __init__(self, settings: StepSettings) -> None:
        self._settings = settings

    def __call__(self, function: Callable[P, R]) -> Step[P, R]:
        if self._settings.where is not None and is_method(function):
            raise DefinitionError(
                f"{getattr(function, '__qualname__', function)} is a machine's step, whose limits are said where it is "
                "gone to: Next(step, rate_limit=..., concurrency_key=...); on= is for steps of workflows"
            )
        return make_step(function, self._settings)


@overload
def step(function: F, /) -> F: ...
@overload
def step(
    *,
    name: str | None = None,
    max_attempts: int = 1,
    backoff: Backoff | Callable[[int], float | timedelta] | None = None,
    timeout: float | timedelta | None = None,
    compensate: Callable[..., Any] | None = None,
    cancellable: Literal[True] | None = None,
    on: str | None = None,
    concurrency_key: LimitOfStep | None = None,
    rate_limit: LimitOfStep | None = None,
    weight: float = 1.0,
) -> _Decorator: ...
def step(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    max_attempts: int = 1,
    backoff: Backoff | Callable[[int], float | timedelta] | None = None,
    timeout: float | timedelta | None = None,
    compensate: Callable[..., Any] | None = None,
    cancellable: Literal[True] | None = None,
    on: str | None = None,
    concurrency_key: LimitOfStep | None = None,
    rate_limit: LimitOfStep | None = None,
    weight: float = 1.0,
) -> Any:
    """Makes a function a recorded step of workflows, or a method of a `Machine` one of its steps.

    In a workflow a call is recorded once and never runs again after its commit; it must be awaited there, also when the
    function is a plain `def` (which runs on a thread). Outside of workflows it is the plain function. A machine's step
    takes `(self, ctx)` and returns an outcome (`Next`, `Await`, `Done`...); it has no options.

    Args:
        name: Its name in the journal (default: the function's name).
        max_attempts: Executions at most (1: an exception is final). Failed ones are counted through crashes.
        backoff: Wait between attempts, as for a job. It holds no worker.
        timeout: Seconds that one execution may take; then it is stopped and counts as failed.
        compensate: The function that undoes the step when the workflow fails later. It takes the step's arguments, by
            name, or some of them, and `result`, what the step returned, if it has such a parameter. It is a step
            itself: decorate it to give it attempts of its own.
        cancellable: True: it must be possible to stop it at once when its workflow is cancelled, so a `def`, whose
            thread nobody can stop, is refused. Left out: an `async def` is stopped, too; a `def` runs to its end,
            unheard.
        on: The queue whose workers run it, while the workflow waits, holding nothing; None: where the workflow runs.
            With this or a limit it runs as an instance of its own, an errand: its arguments are stored, and its name
            is its own among all such steps.
        concurrency_key: Of the steps with the same key, one runs at a time in the whole cluster, or as many as
            `concurrency_limits` says for its name. A name, (name, partition), or a function of the step's arguments
            that gives one, or None.
        rate_limit: A limit of `rate_limits` that each attempt waits for. Given as `concurrency_key` is.
        weight: Tokens that each attempt takes from the rate limit.

    Raises: DefinitionError, ConfigError.
    """
    if name is not None:
        checked_name(name, what="a step's name")
    if isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or not 1 <= max_attempts <= _ATTEMPTS_MAX:
        raise DefinitionError(
            f"max_attempts must be a whole number from 1 to {_ATTEMPTS_MAX:,}, not {shown(max_attempts)}"
        )
    policy = exponential() if backoff is None else backoff
    check_policy(policy)
    timeout_s = None if timeout is None else duration_s(timeout, name="timeout", least_s=0.001)
    if function is not None and is_method(function):
        return mark_step(_for_machines(function))
    if cancellable is not None and cancellable is not True:
        raise DefinitionError(
            f"cancellable must be True or left out, not {shown(cancellable)}: "
            "an async def is always stopped when its workflow is cancelled"
        )
    place = where(on, concurrency_key, rate_limit, weight)
    decorate = _Decorator(StepSettings(name, max_attempts, policy, timeout_s, compensate, cancellable is True, place))
    return decorate if function is None else decorate(function)
