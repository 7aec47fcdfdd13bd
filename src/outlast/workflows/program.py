"""`@workflow`: an `async def` as a durable program."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast, overload

from outlast._codec import clean_text
from outlast._kernel.cron import Cron, as_cron
from outlast._kernel.failures import failure_text
from outlast._kernel.outcomes import Failed, Outcome, Unreadable
from outlast._kernel.program import DEFINED, WORKFLOW, Activation
from outlast._kernel.requests import StartRequest
from outlast._kernel.signatures import Signature, check_alone
from outlast.config import checked_name, duration_s, shown
from outlast.errors import DefinitionError, EncodingError, WorkflowError
from outlast.workflows.flow import Flow
from outlast.workflows.loop import current_flow
from outlast.workflows.residents import Residence

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_VERSION_MAX: Final = 2**31 - 1


class WorkflowStart(Generic[R_co]):
    """A workflow and its arguments, ready for `engine.start`. Made by `.new(...)`."""

    __slots__ = ("_state", "_workflow")

    def __init__(self, workflow: Workflow[Any, R_co], state: str) -> None:
        self._workflow = workflow
        self._state = state

    def start_request(self) -> StartRequest[R_co]:
        """The request, as data."""
        return StartRequest(self._workflow, WORKFLOW, self._state, self._workflow.read_result)

    def __repr__(self) -> str:
        return f"{self._workflow.name}.new({clean_text(self._state, chars_max=200)})"


@dataclass(frozen=True, slots=True)
class WorkflowSettings:
    """What `@workflow(...)` says; see there."""

    name: str | None
    version: int
    queue: str
    timeout_s: float | None
    retention_s: float | None
    keeps: bool
    schedule: Cron | None = None


class Workflow(Generic[P, R]):
    """A function as a durable workflow. Made by `@workflow`.

    Attributes:
        name, version: Its identity in the database.
        queue: Where it goes unless the start says otherwise.
        lifetime_s: Seconds that it may take in all, or None.
        schedule: When it runs by itself, or None.
        function: The plain function.
    """

    timeout_s: float | None = None  # of one activation: its steps have timeouts of their own.

    def __init__(self, function: Callable[P, Coroutine[Any, Any, R]], settings: WorkflowSettings) -> None:
        self.function = function
        self.name = function.__name__ if settings.name is None else settings.name
        self.version = settings.version
        self.queue = settings.queue
        self.lifetime_s = settings.timeout_s
        self.schedule = settings.schedule
        self._settings = settings
        self._signature = Signature(function, who=f"workflow {self.name!r}")
        self.source = f"{function.__module__}.{function.__qualname__}"
        functools.update_wrapper(self, function, updated=())

    @property
    def outlast_workflow_name(self) -> str:
        """Its name."""
        return self.name

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """The plain function: runs at once, records nothing."""
        if current_flow() is not None:
            raise WorkflowError(f"workflow {self.name!r} was called in a workflow: call a step or a plain function")
        return self.function(*args, **kwargs)

    def new(self, /, *args: P.args, **kwargs: P.kwargs) -> WorkflowStart[R]:
        """Describes a start with these arguments. Nothing happens yet.

        Raises: ArgumentError: they do not fit the signature. EncodingError: one cannot be stored.
        """
        return WorkflowStart(self, self._signature.encode(args, kwargs))

    def new_from_json(self, text: str) -> WorkflowStart[R]:
        """Describes a start with arguments from a JSON object. Raises: ArgumentError, EncodingError."""
        return WorkflowStart(self, self._signature.encode_json(text))

    def revise(self, text: str, changes: Mapping[str, Any]) -> str:
        """Stored arguments with some of them changed, as JSON text. Raises: ArgumentError, EncodingError."""
        return self._signature.revise(text, changes)

    async def run(self, activation: Activation) -> Outcome:
        """Runs the function from its beginning, or from where it has stayed, as far as it comes."""
        resident = activation.resident()
        if isinstance(resident, Residence):
            return await resident.go_on(activation, asyncio.get_running_loop().time())
        await activation.notes()
        try:
            call: Callable[..., Coroutine[Any, Any, Any]] = self.function
            body = functools.partial(call, **self._signature.decode(activation.claim.state))
        except EncodingError as error:
            return Unreadable(failure_text(error))
        flow = Flow(activation, body, self._signature.encode_result, self.lifetime_s)
        del body  # the flow lets go of it as soon as it runs.
        return await flow.run()

    async def failed(self, activation: Activation, error: BaseException) -> Outcome:
        """What goes wrong outside of the workflow's own code ends it."""
        return Failed(failure_text(error))

    def read_result(self, text: str) -> R:
        """A stored result, typed as the function's return annotation; plain data where it does not fit."""
        return cast(R, self._signature.read_result(text))

    def retention_s(self, default_s: float | None) -> float | None:
        """Seconds to keep an ended instance."""
        return self._settings.retention_s if self._settings.keeps else default_s

    def __repr__(self) -> str:
        return f"<workflow {self.name!r} version {self.version}>"


class _Decorator:
    def __init__(self, settings: WorkflowSettings) -> None:
        self._settings = settings

    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> Workflow[P, R]:
        if not inspect.iscoroutinefunction(function):
            raise DefinitionError(f"@workflow goes on an async def, not on {function!r}")
        made = Workflow(function, self._settings)
        checked_name(made.name, what="a workflow's name")
        check_alone(made, made.schedule)
        if "<locals>" not in function.__qualname__:
            DEFINED.add(made)
        return made


_KEPT: Final = object()


@overload
def workflow(function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    version: int = 1,
    queue: str = "default",
    timeout: float | timedelta | None = None,
    retention: Any = _KEPT,
    schedule: str | Cron | None = None,
) -> _Decorator: ...
def workflow(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    version: int = 1,
    queue: str = "default",
    timeout: float | timedelta | None = None,
    retention: Any = _KEPT,
    schedule: str | Cron | None = None,
) -> Any:
    """Makes a durable workflow of an `async def`: the steps that it calls are recorded and never run again.

    Its own code may run again from the beginning whenever it resumes: after a wait, a crash, a deploy. So it must come
    to the same calls from the same recorded results; what touches the world, the clock or chance belongs into steps.

    Args:
        name: Its name in the database (default: the function's name).
        version: A whole number from 1; instances finish on the version that they began with.
        queue: Where it goes unless the start says otherwise.
        timeout: Seconds that it may take in all; then it fails with `WorkflowTimeout`, and what it did is undone.
        retention: Seconds to keep the ended instance; None for ever; left out: as the engine says.
        schedule: When it runs by itself: a cron expression by UTC, or a `Cron`. Engines with workers store it under the
            workflow's name when they open; see `Engine.schedule`, which knows more options.

    Raises: DefinitionError, ConfigError.
    """
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= _VERSION_MAX:
        raise DefinitionError(f"version must be a whole number from 1 to {_VERSION_MAX:,}, not {shown(version)}")
    kept = retention is not _KEPT
    decorate = _Decorator(
        WorkflowSettings(
            name=None if name is None else checked_name(name, what="a workflow's name"),
            version=version,
            queue=checked_name(queue, what="a workflow's queue"),
            timeout_s=None if timeout is None else duration_s(timeout, name="timeout", least_s=0.001),
            retention_s=None if not kept or retention is None else duration_s(retention, name="retention"),
            keeps=kept,
            schedule=None if schedule is None else as_cron(schedule),
        )
    )
    return decorate if function is None else decorate(function)
