"""A machine class as the runtime sees it: from a claim to a step's call, and from its answer to an outcome."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from outlast._codec import Codec, decode_any, encode
from outlast._kernel.failures import failure_text, reason_text
from outlast._kernel.outcomes import (
    Again,
    Await,
    Cancel,
    Cancelled,
    Done,
    Failed,
    Finished,
    Keep,
    Moved,
    Next,
    Outcome,
    Parked,
    Retry,
    Spawn,
    Spawned,
    Stop,
    Unreadable,
    step_name,
)
from outlast._kernel.program import Activation
from outlast._kernel.signatures import plain_object
from outlast._kernel.transitions import named_steps
from outlast._model import NewInstance
from outlast.config import shown
from outlast.errors import ArgumentError, DefinitionError, EncodingError, did_you_mean
from outlast.machines.context import Children, StepContext, deadline_of, read_letter
from outlast.machines.definition import steps_of, upgrades_of

INITIAL: Final = "start"
_VERSION_MAX: Final = 2**31 - 1
_AT_ONCE: Final = 500
"""Children that are made into rows before others have a turn on the event loop."""


class MachineProgram:
    """A machine class as the runtime sees it."""

    def __init__(
        self,
        cls: type[Any],
        *,
        name: str,
        version: int,
        queue: str,
        initial: str,
        timeout_s: float | None,
        retention_s: float | None,
        run_ahead: bool,
    ) -> None:
        if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= _VERSION_MAX:
            raise DefinitionError(f"machine {name!r}: version must be a whole number from 1, not {shown(version)}")
        if not isinstance(run_ahead, bool):
            raise DefinitionError(f"machine {name!r}: run_ahead must be true or false, not {shown(run_ahead)}")
        self.name = name
        self.version = version
        self.queue = queue
        self.timeout_s = timeout_s
        self.run_ahead = run_ahead
        self.source = f"{cls.__module__}.{cls.__qualname__}"
        self._cls = cls
        self._retention_s = retention_s
        self._steps = steps_of(cls, name)
        self._upgrades = upgrades_of(cls, name, version)
        self.initial = self._known_step(initial, "its initial step")
        for target in sorted(named_steps(cls)):
            self._known_step(target, "a transition")
        self._has_fields = bool(dataclasses.fields(cls))
        kind: Any = cls if self._has_fields else dict[str, Any]
        self._codec = Codec(kind, what=f"the state of machine {name!r}")

    @property
    def older_versions(self) -> tuple[int, ...]:
        """Versions whose instances this one can run, by its upgrades."""
        return tuple(sorted(self._upgrades))

    def _known_step(self, name: str, what: str) -> str:
        if name not in self._steps:
            raise DefinitionError(
                f"machine {self.name!r}: {what} names step {name!r}, which does not exist"
                f"{did_you_mean(name, self._steps)}"
            )
        return name

    def write(self, machine: Any) -> str:
        """A machine's fields as text. Raises: EncodingError."""
        return self._codec.encode(machine if self._has_fields else machine.state)

    def new_from_json(self, text: str) -> Any:
        """A machine with fields from a JSON object, as the command line has them. Raises: ArgumentError."""
        try:
            if not isinstance(decode_any(text), dict):
                raise EncodingError(f"the fields of machine {self.name!r} must be a JSON object, not {text[:80]}")
            return self._read(text, self.version)
        except EncodingError as error:
            raise ArgumentError(str(error)) from None

    def _read(self, text: str, version: int) -> Any:
        while version < self.version:
            state = self._upgrades[version](decode_any(text))
            text, version = encode(state, what=f"the state upgraded from version {version}"), version + 1
        value = self._codec.decode(text)
        if self._has_fields:
            return value
        machine = object.__new__(self._cls)
        machine.state = value
        return machine

    @property
    def steps(self) -> tuple[str, ...]:
        """Its steps' names."""
        return tuple(self._steps)

    def revise(self, text: str, version: int, changes: Mapping[str, Any]) -> str:
        """Stored fields with some of them changed, as JSON text of this version.

        Fields that cannot be read are made of the changes alone. Raises: ArgumentError, EncodingError.
        """
        names = {field.name for field in dataclasses.fields(self._cls)}
        for name in changes if self._has_fields else ():
            if name not in names:
                raise ArgumentError(f"machine {self.name!r} has no field {name!r}{did_you_mean(name, names)}")
        try:
            stored = plain_object(self.write(self._read(text, version)))
        except Exception:  # also what an upgrade raises.
            stored = {}
        what = f"the state of machine {self.name!r}"
        try:
            return self.write(self._read(encode({**stored, **changes}, what=what), self.version))
        except EncodingError as error:
            raise ArgumentError(str(error)) from None

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
        context = self._context(activation)
        answer = await _call(activation, function, machine, context)
        return await self._outcome(activation, machine, answer, context)

    async def failed(self, activation: Activation, error: BaseException) -> Outcome:
        """Asks `on_error`, with the state as last committed."""
        claim = activation.claim
        if not isinstance(error, Exception):
            return Failed(failure_text(error))
        try:
            machine = self._read(claim.state, claim.version)
            context = self._context(activation, views=False)
            answer = await _call(activation, self._cls.on_error, machine, error, context)
            return await self._outcome(activation, machine, answer, context, error)
        except Exception as second:
            second.__context__ = second.__context__ or error
            return Failed(failure_text(second))

    async def _outcome(
        self, activation: Activation, machine: Any, answer: Any, context: StepContext, error: Exception | None = None
    ) -> Outcome:
        state, step_, asked = self.write(machine), context.step, tuple(context._consumed)
        used = (*asked, *(signal.id for signal in context.awaited))
        match answer:
            case Next():
                return self._moved(answer, state, step_, used)
            case Await(names, then, timeout):
                target = None if then is None else self._known_step(step_name(then), f"step {step_!r}")
                # Only what it was woken for: a signal that merely lay in the inbox has not been waited for yet.
                seen = tuple(signal.id for signal in context.awaited)
                return Parked(target, state, tuple(names), timeout, seen, asked)  # type: ignore[arg-type]
            case Spawn(_, then, need, timeout):
                target = self._known_step(step_name(then), f"step {step_!r}")
                children = await _rows(activation, answer)
                return Spawned(target, state, children, need, timeout, used)  # type: ignore[arg-type]
            case Done(result):
                return Finished(encode(result, what=f"the result of machine {self.name!r}"), state, used)
            case Retry(delay, reason):
                text = reason_text(reason, kind="Retry") if reason or error is None else failure_text(error)
                return Again(0.0 if delay is None else delay, text, state)  # type: ignore[arg-type]
            case Stop(reason):
                text = failure_text(reason) if isinstance(reason, BaseException) else reason_text(reason, kind="Stop")
                return Failed(text, state, used)
            case Cancel(reason):
                return Cancelled(reason_text(reason, kind="Cancel"), used)
        where = "on_error" if error is not None else f"step {step_!r}"
        raise DefinitionError(
            f"{where} of machine {self.name!r} must return Next, Retry, Await, Spawn, Done, Stop or Cancel, "
            f"not {shown(answer)}"
        )

    def _moved(self, answer: Next, state: str, step_: str, used: tuple[str, ...]) -> Moved:
        key = answer.concurrency_key
        return Moved(
            self._known_step(answer.name, f"step {step_!r}"),
            state,
            self.run_ahead if answer.inline is None else answer.inline,
            used,
            answer.rate_limit,  # type: ignore[arg-type]  # text by now: Next has checked it.
            answer.weight,
            None if isinstance(key, Keep) else "" if key is None else key,  # type: ignore[arg-type]
        )

    def _context(self, activation: Activation, *, views: bool = True) -> StepContext:
        claim = activation.claim
        loop = asyncio.get_running_loop() if views and claim.round else None
        return StepContext(
            id=claim.id,
            program=self.name,
            version=claim.version,
            step=claim.step,
            attempt=claim.attempt,
            queue=activation.queue,
            key=claim.correlation_key,
            deadline=deadline_of(activation.deadline_us),
            signals=[read_letter(letter) for letter in claim.letters] if views else (),
            awaits=msgspec.json.decode(claim.awaits) if views and claim.awaits else (),
            children=Children(activation, claim.round, loop) if loop else None,
            report=activation.report,
        )

    def retention_s(self, default_s: float | None) -> float | None:
        """Seconds to keep an ended instance."""
        return default_s if self._retention_s is None else self._retention_s

    def __repr__(self) -> str:
        return f"<machine {self.name!r} version {self.version}>"


async def _rows(activation: Activation, spawn: Spawn) -> list[NewInstance]:
    rows: list[NewInstance] = []
    for what, options in spawn.described():
        rows.append(activation.new_instance(what.start_request(), options))
        if len(rows) % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return rows


async def _call(activation: Activation, function: Callable[..., Any], *args: Any) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    return await activation.in_thread(functools.partial(function, *args))
