"""Machines: named steps with explicit transitions. The fields of the class are the typed, durable state.

class Checkout(Machine, queue="checkout", version=1):
    order: int
    paid: bool = False

    @step
    async def start(self, ctx):
        self.paid = await charge(self.order)
        return Next(self.ship)

    @step
    async def ship(self, ctx):
        return Done({"order": self.order})

await engine.start(Checkout(order=42))
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

from outlast._codec import Codec, clean_text, decode_any, encode
from outlast._kernel.failures import failure_text, reason_text
from outlast._kernel.outcomes import (
    Again,
    Cancel,
    Cancelled,
    Done,
    Failed,
    Finished,
    Moved,
    Next,
    Outcome,
    Retry,
    Stop,
    Unreadable,
)
from outlast._kernel.program import DEFINED, Activation, StartRequest
from outlast._kernel.transitions import named_steps
from outlast._world import instant
from outlast.config import checked_name, duration_s
from outlast.errors import ConfigError, DefinitionError, EncodingError, did_you_mean

F = TypeVar("F", bound=Callable[..., Any])

INITIAL: Final = "start"
RESERVED: Final = frozenset({"on_error", "start_request", "state"})
"""Names that a step cannot have."""
_VERSION_MAX = 2**31 - 1
_NOTE_CHARS_MAX = 500


def step(function: F) -> F:
    """Marks a method of a machine as a step: `async def name(self, ctx)`, or `def`, which runs on a thread.

    It returns an outcome: `Next`, `Retry`, `Done` or `Stop`. Raises: DefinitionError.
    """
    if not inspect.isfunction(function):
        raise DefinitionError(f"@step goes on a method, not on {function!r}")
    function.outlast_step = function.__name__  # type: ignore[attr-defined]
    return function


def upgrade(*, from_version: int) -> Callable[[F], F]:
    """Marks a function `(state: dict) -> dict` in a machine's body that makes state of one version fit the next.

    Instances of that version are then run by this class; upgrades follow one another up to the class's version.
    """
    if not isinstance(from_version, int) or isinstance(from_version, bool) or from_version < 1:
        raise DefinitionError(f"from_version must be a whole number from 1, not {from_version!r}")

    def mark(function: F) -> F:
        plain = function.__func__ if isinstance(function, staticmethod) else function
        setattr(plain, "outlast_upgrade", from_version)  # noqa: B010
        return staticmethod(plain)  # type: ignore[return-value]

    return mark


class StepContext:
    """What a running step may know of itself.

    Attributes:
        id: The instance.
        program, version: What runs.
        step: The step's name.
        attempt: Times that this step was retried; 0 on the first run.
        queue: The queue it was claimed from.
        key: Its correlation key, or None.
        deadline: When the step's `timeout` strikes, as an aware instant in UTC, or None.
    """

    __slots__ = ("_report", "attempt", "deadline", "id", "key", "program", "queue", "step", "version")

    def __init__(
        self,
        *,
        id: str = "",
        program: str = "",
        version: int = 1,
        step: str = INITIAL,
        attempt: int = 0,
        queue: str = "default",
        key: str | None = None,
        deadline: datetime | None = None,
        report: Callable[[float, str], None] | None = None,
    ) -> None:
        self.id = id
        self.program = program
        self.version = version
        self.step = step
        self.attempt = attempt
        self.queue = queue
        self.key = key
        self.deadline = deadline
        self._report = report

    def progress(self, fraction: float, note: str = "") -> None:
        """Shows how far the step is, to whoever reads the instance. Cheap, best effort, from any thread.

        Raises: ConfigError: the fraction is not between 0 and 1.
        """
        if not isinstance(fraction, (int, float)) or not 0 <= fraction <= 1:
            raise ConfigError(f"progress must be a fraction between 0 and 1, not {fraction!r}")
        if self._report is not None:
            self._report(float(fraction), clean_text(note, chars_max=_NOTE_CHARS_MAX))


@dataclass_transform(kw_only_default=True)
class Machine:
    """The base of machines. Subclassing makes a dataclass of the class and a program of it.

    Class arguments:
        name: Its name in the database (default: the class's name).
        version: A whole number from 1; raise it when the state or the steps change for running instances.
        queue: Where it goes unless the start says otherwise.
        initial: The first step (default: `start`).
        timeout: Seconds that one execution of a step may take.
        retention: Seconds to keep an ended instance; None keeps it as the engine says.

    A class without fields has its state in `self.state`, a plain dict.

    Raises: DefinitionError: when the class is made.
    """

    outlast_program: ClassVar[MachineProgram]

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        version: int = 1,
        queue: str = "default",
        initial: str = INITIAL,
        timeout: float | timedelta | None = None,
        retention: float | timedelta | None = None,
        **rest: Any,
    ) -> None:
        super().__init_subclass__(**rest)
        dataclasses.dataclass(kw_only=True, eq=False)(cls)
        if not dataclasses.fields(cls):  # type: ignore[arg-type]
            cls.__init__ = _init_with_dict  # type: ignore[method-assign]
            cls.__repr__ = lambda self: f"{type(self).__qualname__}({self.state!r})"  # type: ignore[method-assign, attr-defined]
        cls.outlast_program = MachineProgram(
            cls,
            name=checked_name(cls.__name__ if name is None else name, what="a machine's name"),
            version=version,
            queue=checked_name(queue, what="a machine's queue"),
            initial=initial,
            timeout_s=None if timeout is None else duration_s(timeout, name="timeout", least_s=0.001),
            retention_s=None if retention is None else duration_s(retention, name="retention"),
        )
        if "<locals>" not in cls.__qualname__:
            DEFINED.add(cls.outlast_program)

    async def on_error(self, error: Exception, ctx: StepContext) -> Any:
        """What an exception of a step means. The fields are those last committed. Default: `Stop(error)`."""
        return Stop(error)

    def start_request(self) -> StartRequest:
        """What `engine.start` takes."""
        program = self.outlast_program
        return StartRequest(program, program.initial, program.write(self), decode_any)


def _init_with_dict(self: Any, state: dict[str, Any] | None = None) -> None:
    if state is not None and not isinstance(state, dict):
        raise ConfigError(f"{type(self).__name__} has no fields: its state is a dict, not {state!r}")
    self.state = {} if state is None else state


class MachineProgram:
    """A machine class as the runtime sees it."""

    def __init__(
        self,
        cls: type[Machine],
        *,
        name: str,
        version: int,
        queue: str,
        initial: str,
        timeout_s: float | None,
        retention_s: float | None,
    ) -> None:
        if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= _VERSION_MAX:
            raise DefinitionError(f"machine {name!r}: version must be a whole number from 1, not {version!r}")
        self.name = name
        self.version = version
        self.queue = queue
        self.timeout_s = timeout_s
        self.source = f"{cls.__module__}.{cls.__qualname__}"
        self._cls = cls
        self._retention_s = retention_s
        self._steps = _steps_of(cls, name)
        self._upgrades = _upgrades_of(cls, name, version)
        self.initial = self._known_step(initial, "its initial step")
        for target in sorted(named_steps(cls)):
            self._known_step(target, "a transition")
        self._has_fields = bool(dataclasses.fields(cls))  # type: ignore[arg-type]
        kind: Any = cls if self._has_fields else dict[str, Any]
        self._codec = Codec(kind, what=f"the state of machine {name!r}")

    @property
    def older_versions(self) -> tuple[int, ...]:
        """Versions whose instances this one can run, by its upgrades."""
        return tuple(sorted(self._upgrades))

    def _known_step(self, step_: str, what: str) -> str:
        if step_ not in self._steps:
            raise DefinitionError(
                f"machine {self.name!r}: {what} names step {step_!r}, which does not exist"
                f"{did_you_mean(step_, self._steps)}"
            )
        return step_

    def write(self, machine: Machine) -> str:
        """A machine's fields as text. Raises: EncodingError."""
        value: Any = machine if self._has_fields else machine.state  # type: ignore[attr-defined]
        return self._codec.encode(value)

    def _read(self, text: str, version: int) -> Machine:
        while version < self.version:
            state = self._upgrades[version](decode_any(text))
            text, version = encode(state, what=f"the state upgraded from version {version}"), version + 1
        value = self._codec.decode(text)
        if self._has_fields:
            return value  # type: ignore[no-any-return]
        machine = self._cls.__new__(self._cls)
        machine.state = value  # type: ignore[attr-defined]
        return machine

    async def run(self, activation: Activation) -> Outcome:
        """Runs the instance's step once."""
        claim = activation.claim
        function = self._steps.get(claim.step)
        try:
            if function is None:
                raise EncodingError(f"machine {self.name!r} has no step {claim.step!r}")
            machine = self._read(claim.state, claim.version)
        except Exception as error:  # also what an upgrade raises: nothing of the step has run.
            return Unreadable(failure_text(error))
        answer = await _call(function, machine, self._context(activation), activation)
        return self._outcome(machine, answer, claim.step)

    async def failed(self, activation: Activation, error: BaseException) -> Outcome:
        """Asks `on_error`, with the state as last committed."""
        claim = activation.claim
        if not isinstance(error, Exception):
            return Failed(failure_text(error))
        try:
            machine = self._read(claim.state, claim.version)
            answer = await _call(self._cls.on_error, machine, error, self._context(activation), activation=activation)
            return self._outcome(machine, answer, claim.step, error)
        except Exception as second:
            second.__context__ = second.__context__ or error
            return Failed(failure_text(second))

    def _outcome(self, machine: Machine, answer: Any, step_: str, error: Exception | None = None) -> Outcome:
        state = self.write(machine)
        match answer:
            case Next():
                return Moved(self._known_step(answer.name, f"step {step_!r}"), state, answer.inline)
            case Done(result):
                return Finished(encode(result, what=f"the result of machine {self.name!r}"), state)
            case Retry(delay, reason):
                text = reason_text(reason, kind="Retry") if reason or error is None else failure_text(error)
                return Again(0.0 if delay is None else delay, text, state)  # type: ignore[arg-type]
            case Stop(reason):
                if isinstance(reason, BaseException):
                    return Failed(failure_text(reason), state)
                return Failed(reason_text(reason, kind="Stop"), state)
            case Cancel(reason):
                return Cancelled(reason_text(reason, kind="Cancel"))
        raise DefinitionError(
            f"step {step_!r} of machine {self.name!r} must return Next, Retry, Done, Stop or Cancel, not {answer!r}"
        )

    def _context(self, activation: Activation) -> StepContext:
        claim, due_us = activation.claim, activation.deadline_us
        return StepContext(
            id=claim.id,
            program=self.name,
            version=claim.version,
            step=claim.step,
            attempt=claim.attempt,
            queue=activation.queue,
            key=claim.correlation_key,
            deadline=None if due_us is None else instant(due_us),
            report=activation.report,
        )

    def retention_s(self, default_s: float | None) -> float | None:
        """Seconds to keep an ended instance."""
        return default_s if self._retention_s is None else self._retention_s

    def __repr__(self) -> str:
        return f"<machine {self.name!r} version {self.version}>"


async def _call(function: Callable[..., Any], *args: Any, activation: Activation | None = None) -> Any:
    if activation is None:
        *args_, activation = args
        args = tuple(args_)
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    return await activation.in_thread(functools.partial(function, *args))


def _steps_of(cls: type[Machine], name: str) -> dict[str, Callable[..., Any]]:
    steps: dict[str, Callable[..., Any]] = {}
    for attribute in dir(cls):
        function = inspect.getattr_static(cls, attribute)
        if not isinstance(getattr(function, "outlast_step", None), str):
            continue
        if attribute in RESERVED:
            raise DefinitionError(f"machine {name!r}: a step cannot be called {attribute!r}")
        try:
            inspect.signature(function).bind(None, None)
        except TypeError:
            raise DefinitionError(f"machine {name!r}: step {attribute!r} must take (self, ctx)") from None
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DefinitionError(f"machine {name!r}: step {attribute!r} must return, not yield")
        steps[attribute] = function
    if not steps:
        raise DefinitionError(f"machine {name!r} has no step: mark methods with @step")
    return steps


def _upgrades_of(cls: type[Machine], name: str, version: int) -> dict[int, Callable[[Any], Any]]:
    found: dict[int, Callable[[Any], Any]] = {}
    for attribute in vars(cls).values():
        plain = attribute.__func__ if isinstance(attribute, staticmethod) else attribute
        since = getattr(plain, "outlast_upgrade", None)
        if not isinstance(since, int):
            continue
        if since in found or since >= version:
            raise DefinitionError(
                f"machine {name!r} version {version}: an upgrade from version {since} "
                + ("is written twice" if since in found else "leads nowhere")
            )
        found[since] = plain
    if found and sorted(found) != list(range(min(found), version)):
        raise DefinitionError(f"machine {name!r}: upgrades must follow one another up to version {version}")
    return found
