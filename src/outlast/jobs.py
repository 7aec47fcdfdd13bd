"""Jobs: one step, with retries. `@job` makes a program of a function.

@job(queue="email", max_attempts=10)
async def send_email(to: str, subject: str) -> dict: ...

send_email(...)        # the plain function
send_email.new(...)    # a description for engine.start, checked against the signature
"""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, cast, overload

from outlast._kernel.backoff import Backoff, check_policy, checked_delay_s, exponential
from outlast._kernel.cron import Cron, as_cron
from outlast._kernel.failures import failure_text, reason_text
from outlast._kernel.outcomes import Again, Cancel, Cancelled, Failed, Finished, Outcome, Retry, Unreadable
from outlast._kernel.program import DEFINED, Activation
from outlast._kernel.progress import checked_report
from outlast._kernel.requests import StartRequest
from outlast._kernel.signatures import Signature, check_alone
from outlast._world import instant
from outlast.config import checked_name, duration_s, shown
from outlast.errors import DefinitionError, EncodingError

P = ParamSpec("P")
Q = ParamSpec("Q")
Raw = TypeVar("Raw")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

STEP: Final = "run"
"""The name of a job's only step."""
_VERSION_MAX = 2**31 - 1
_ATTEMPTS_MAX = 1_000_000
_SHOWN_CHARS_MAX = 200


class LeftOut(enum.Enum):
    """An option that was left out, where None says something of its own."""

    LEFT_OUT = "left out"

    def __repr__(self) -> str:
        return "<left out>"


LEFT_OUT: Final = LeftOut.LEFT_OUT


class Context:
    """What a running job may know of itself; ask for it with a parameter named `ctx`.

    Attributes:
        id: The instance.
        program: The job's name.
        attempt: Failed attempts so far; 0 on the first run.
        queue: The queue it was claimed from.
        key: Its correlation key, or None.
        deadline: When its `timeout` strikes, as an aware instant in UTC, or None.
    """

    __slots__ = ("_report", "attempt", "deadline", "id", "key", "program", "queue")

    def __init__(
        self,
        *,
        id: str = "",
        program: str = "",
        attempt: int = 0,
        queue: str = "default",
        key: str | None = None,
        deadline: datetime | None = None,
        report: Callable[[float, str], None] | None = None,
    ) -> None:
        self.id = id
        self.program = program
        self.attempt = attempt
        self.queue = queue
        self.key = key
        self.deadline = deadline
        self._report = report

    def progress(self, fraction: float, note: str = "") -> None:
        """Shows how far the job is, to whoever reads the instance. Cheap, best effort, from any thread.

        Args:
            fraction: Share done, from 0 to 1.
            note: A short text; what is longer than 500 characters is cut.

        Raises: ConfigError: the fraction is out of range.
        """
        report = checked_report(fraction, note)
        if self._report is not None:
            self._report(*report)


class Start(Generic[R_co]):
    """A job and its arguments, ready for `engine.start`. Made by `.new(...)`; holds nothing but text."""

    __slots__ = ("_job", "_state")

    def __init__(self, job: Job[Any, Any, Any, R_co], state: str) -> None:
        self._job = job
        self._state = state

    def start_request(self) -> StartRequest[R_co]:
        """The request, as data."""
        return StartRequest(self._job, STEP, self._state, self._job.read_result)

    def __repr__(self) -> str:
        more = "..." if len(self._state) > _SHOWN_CHARS_MAX else ""
        return f"{self._job.name}.new({self._state[:_SHOWN_CHARS_MAX]}{more})"


@dataclass(frozen=True, slots=True)
class Settings:
    """What `@job(...)` says of a job; see there.

    Raises: DefinitionError, ConfigError.
    """

    name: str | None
    version: int
    queue: str
    max_attempts: int
    backoff: Backoff | Callable[[int], float | timedelta]
    timeout_s: float | None
    retention_s: float | LeftOut | None
    schedule: Cron | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            checked_name(self.name, what="a job's name")
        checked_name(self.queue, what="a job's queue")
        _check_whole("version", self.version, _VERSION_MAX)
        _check_whole("max_attempts", self.max_attempts, _ATTEMPTS_MAX)
        check_policy(self.backoff)


class Job(Generic[P, Q, Raw, R]):
    """A function as a durable program. Made by `@job`.

    Attributes:
        name, version: Its identity in the database.
        queue: Where it goes unless the start says otherwise.
        max_attempts: Executions at most.
        timeout_s: Seconds that one execution may take, or None.
        schedule: When it runs by itself, or None.
        function: The plain function.
    """

    def __init__(self, function: Callable[Q, Raw], settings: Settings) -> None:
        self.function = function
        self.name = function.__name__ if settings.name is None else settings.name
        self.version = settings.version
        self.queue = settings.queue
        self.max_attempts = settings.max_attempts
        self.timeout_s = settings.timeout_s
        self.schedule = settings.schedule
        self._retention_s = settings.retention_s
        self._backoff = settings.backoff
        self._call: Callable[..., Any] = function  # The same, for arguments that come from the database.
        self._is_async = inspect.iscoroutinefunction(function)
        self.source = f"{function.__module__}.{function.__qualname__}"
        # Its name and docstring, and nothing that somebody has hung on it: that could be called like one of ours.
        functools.update_wrapper(self, function, updated=())
        self._signature = Signature(function, who=f"job {self.name!r}", context=Context, outcomes=(Cancel, Retry))

    def __call__(self, /, *args: Q.args, **kwargs: Q.kwargs) -> Raw:
        """The plain function: runs at once, stores nothing."""
        return self.function(*args, **kwargs)

    def new(self, /, *args: P.args, **kwargs: P.kwargs) -> Start[R]:
        """Describes a start with these arguments. Nothing happens yet.

        Raises: ArgumentError: they do not fit the signature. EncodingError: one cannot be stored.
        """
        return Start(self, self._signature.encode(args, kwargs))

    def new_from_json(self, text: str) -> Start[R]:
        """Describes a start with arguments from a JSON object, as the command line has them.

        Raises: ArgumentError, EncodingError.
        """
        return Start(self, self._signature.encode_json(text))

    def revise(self, text: str, changes: Mapping[str, Any]) -> str:
        """Stored arguments with some of them changed, as JSON text. Raises: ArgumentError, EncodingError."""
        return self._signature.revise(text, changes)

    async def run(self, activation: Activation) -> Outcome:
        """Runs the function once, with the stored arguments."""
        claim = activation.claim
        try:
            arguments = self._signature.decode(claim.state)
        except EncodingError as error:
            return Unreadable(failure_text(error))
        if self._signature.wants_context:
            arguments["ctx"] = self._context(activation)
        if self._is_async:
            answer = await self._call(**arguments)
        else:
            answer = await activation.in_thread(functools.partial(self._call, **arguments))
            if inspect.isawaitable(answer):
                answer = await answer
        if isinstance(answer, Cancel):
            return Cancelled(reason_text(answer.reason, kind="Cancel"))
        if isinstance(answer, Retry):
            return self._again(activation, answer)
        if answer is None:
            return _DONE_WITH_NOTHING
        return Finished(self._signature.encode_result(answer))

    async def failed(self, activation: Activation, error: BaseException) -> Outcome:
        """An exception is a failed attempt: run again after the backoff, up to `max_attempts` executions.

        A result that cannot be stored is final: the same code would give the same answer after the same effects.
        """
        text = failure_text(error)
        if isinstance(error, EncodingError) or activation.claim.attempt + 1 >= self.max_attempts:
            return Failed(text)
        return self._later(activation, text)

    def _again(self, activation: Activation, answer: Retry) -> Outcome:
        text = reason_text(answer.reason, kind="Retry")
        if activation.claim.attempt + 1 >= self.max_attempts:
            return Failed(text)
        if answer.delay is None:
            return self._later(activation, text)
        return Again(duration_s(answer.delay, name="Retry.delay"), text)

    def _later(self, activation: Activation, text: str) -> Outcome:
        try:
            delay_s = checked_delay_s(self._backoff, activation.claim.attempt + 1, activation.dice)
        except Exception as error:  # The user's own backoff: its fault ends the job, visibly.
            return Failed(failure_text(error))
        return Again(delay_s, text)

    def _context(self, activation: Activation) -> Context:
        claim, due_us = activation.claim, activation.deadline_us
        return Context(
            id=claim.id,
            program=self.name,
            attempt=claim.attempt,
            queue=activation.queue,
            key=claim.correlation_key,
            deadline=None if due_us is None else instant(due_us),
            report=activation.report,
        )

    def read_result(self, text: str) -> R:
        """A stored result, typed as the function's return annotation; plain data where it does not fit."""
        return cast(R, self._signature.read_result(text))

    def retention_s(self, default_s: float | None) -> float | None:
        """Seconds to keep an ended instance."""
        return default_s if isinstance(self._retention_s, LeftOut) else self._retention_s

    def __repr__(self) -> str:
        return f"<job {self.name!r} version {self.version}>"


_DONE_WITH_NOTHING = Finished("null")
AsyncResult = Coroutine[Any, Any, R]


class _Decorator:
    """What `job(...)` with options returns: applied to a function, it makes the job."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, P], AsyncResult[R]]
    ) -> Job[P, Concatenate[Context, P], AsyncResult[R], R]: ...
    @overload
    def __call__(self, function: Callable[P, AsyncResult[R]]) -> Job[P, P, AsyncResult[R], R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R]) -> Job[P, Concatenate[Context, P], R, R]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> Job[P, P, R, R]: ...
    def __call__(self, function: Callable[..., Any]) -> Job[Any, Any, Any, Any]:
        if not inspect.isfunction(function):
            raise DefinitionError(f"@job goes on a function, not on {function!r}")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DefinitionError(f"job {function.__name__!r} must return, not yield")
        made: Job[Any, Any, Any, Any] = Job(function, self._settings)
        checked_name(made.name, what="a job's name")
        check_alone(made, made.schedule)
        if "<locals>" not in function.__qualname__:
            DEFINED.add(made)
        return made


@overload
def job(
    function: Callable[Concatenate[Context, P], AsyncResult[R]], /
) -> Job[P, Concatenate[Context, P], AsyncResult[R], R]: ...
@overload
def job(function: Callable[P, AsyncResult[R]], /) -> Job[P, P, AsyncResult[R], R]: ...
@overload
def job(function: Callable[Concatenate[Context, P], R], /) -> Job[P, Concatenate[Context, P], R, R]: ...
@overload
def job(function: Callable[P, R], /) -> Job[P, P, R, R]: ...
@overload
def job(
    *,
    name: str | None = None,
    version: int = 1,
    queue: str = "default",
    max_attempts: int = 20,
    backoff: Backoff | Callable[[int], float | timedelta] | None = None,
    timeout: float | timedelta | None = None,
    retention: float | timedelta | LeftOut | None = LEFT_OUT,
    schedule: str | Cron | None = None,
) -> _Decorator: ...
def job(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    version: int = 1,
    queue: str = "default",
    max_attempts: int = 20,
    backoff: Backoff | Callable[[int], float | timedelta] | None = None,
    timeout: float | timedelta | None = None,
    retention: float | timedelta | LeftOut | None = LEFT_OUT,
    schedule: str | Cron | None = None,
) -> Any:
    """Makes a durable job of an `async def` or a `def` (which then runs on the engine's own threads).

    The value returned is the result. An exception is a failed attempt. `Cancel(reason)` ends the job for good,
    `Retry(delay)` runs it again. A parameter named `ctx` receives the `Context` and is not part of the arguments.

    Args:
        name: Its name in the database (default: the function's name).
        version: A whole number from 1; raise it when old and new code must run side by side.
        queue: Where it goes unless the start says otherwise.
        max_attempts: Executions at most (default 20); then the instance is `failed`.
        backoff: Wait between attempts: `backoff.exponential(...)`, `linear`, `constant`, or a function of the number
            of failures so far, from 1, that returns seconds. Default: 1 s, 2 s, 4 s, ... at most 300 s.
        timeout: Seconds that one execution may take; then it is stopped and counts as a failed attempt. A `def`
            cannot be stopped: it is given up, and its late answer is dropped.
        retention: Seconds to keep the ended instance; None for ever; left out: as the engine says.
        schedule: When it runs by itself: a cron expression by UTC, or a `Cron`. Engines with workers store it under the
            job's name when they open; see `Engine.schedule`, which knows more options.

    Raises: DefinitionError, ConfigError.
    """
    decorate = _Decorator(
        Settings(
            name=name,
            version=version,
            queue=queue,
            max_attempts=max_attempts,
            backoff=exponential() if backoff is None else backoff,
            timeout_s=None if timeout is None else duration_s(timeout, name="timeout", least_s=0.001),
            retention_s=_own_retention(retention),
            schedule=None if schedule is None else as_cron(schedule),
        )
    )
    return decorate if function is None else decorate(function)


def _own_retention(retention: float | timedelta | LeftOut | None) -> float | LeftOut | None:
    if retention is None or isinstance(retention, LeftOut):
        return retention
    return duration_s(retention, name="retention")


def _check_whole(name: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise DefinitionError(f"{name} must be a whole number from 1 to {most:,}, not {shown(value)}")
