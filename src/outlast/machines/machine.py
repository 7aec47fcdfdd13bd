"""The base class of machines."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from datetime import timedelta
from typing import Any, ClassVar, dataclass_transform

from outlast._codec import decode_any
from outlast._kernel.outcomes import Stop
from outlast._kernel.program import DEFINED
from outlast._kernel.requests import StartRequest
from outlast.config import checked_name, duration_s, shown
from outlast.errors import ConfigError
from outlast.machines.context import StepContext
from outlast.machines.program import INITIAL, MachineProgram


@dataclass_transform(kw_only_default=True)
class Machine:
    """The base of machines. Subclassing makes a dataclass of the class and a program of it.

    Class arguments:
        name: Its name in the database (default: the class's name).
        version: A whole number from 1 (default 1); raise it when state or steps change under running instances.
        queue: Where it goes unless the start says otherwise (default `default`).
        initial: The first step (default: `start`).
        timeout: Seconds (or a timedelta) that one execution of a step may take; None (default): no limit.
        retention: Seconds (or a timedelta) to keep an ended instance; None (default) keeps it as the engine says.
        run_ahead: Whether `Next` goes on in the same process right after its commit (default), or always by the queue.

    A field's default may be a list, dict or set: each machine gets its own. A class without fields has its state in
    `self.state`, a plain dict.

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
        run_ahead: bool = True,
        **rest: Any,
    ) -> None:
        super().__init_subclass__(**rest)
        _copy_defaults(cls)
        dataclasses.dataclass(kw_only=True, eq=False)(cls)
        if not dataclasses.fields(cls):  # type: ignore[arg-type]
            cls.__init__ = _init_with_dict  # type: ignore[method-assign]
            cls.__repr__ = _repr_of_dict  # type: ignore[method-assign]
        cls.outlast_program = MachineProgram(
            cls,
            name=checked_name(cls.__name__ if name is None else name, what="a machine's name"),
            version=version,
            queue=checked_name(queue, what="a machine's queue"),
            initial=initial,
            timeout_s=None if timeout is None else duration_s(timeout, name="timeout", least_s=0.001),
            retention_s=None if retention is None else duration_s(retention, name="retention"),
            run_ahead=run_ahead,
        )
        if "<locals>" not in cls.__qualname__:
            DEFINED.add(cls.outlast_program)

    async def on_error(self, error: Exception, ctx: StepContext) -> Any:
        """What an exception of a step means: any outcome. The fields are those last committed. Default: `Stop(error)`.

        `ctx` holds no signals and no children here.
        """
        return Stop(error)

    def start_request(self) -> StartRequest[Any]:
        """What `engine.start` takes."""
        program = self.outlast_program
        return StartRequest(program, program.initial, program.write(self), decode_any)


def _copy_defaults(cls: type) -> None:
    """Lets a field have a list, dict or set as its default: each machine gets a copy of its own."""
    for name, kind in inspect.get_annotations(cls).items():
        default = cls.__dict__.get(name)
        if isinstance(default, (list, dict, set)) and "ClassVar" not in str(kind):
            setattr(cls, name, dataclasses.field(default_factory=functools.partial(copy.deepcopy, default)))


def _init_with_dict(self: Any, state: dict[str, Any] | None = None) -> None:
    if state is not None and not isinstance(state, dict):
        raise ConfigError(f"{type(self).__name__} has no fields: its state is a dict, not {shown(state)}")
    self.state = {} if state is None else state


def _repr_of_dict(self: Any) -> str:
    return f"{type(self).__qualname__}({self.state!r})"
