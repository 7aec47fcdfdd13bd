"""Where shapes and loops meet: a program takes an activation and gives back an outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextvars import ContextVar
from datetime import datetime
from random import Random
from typing import Any, Final, Protocol

from outlast._kernel.outcomes import Outcome, Recorded
from outlast._kernel.requests import StartOptions, StartRequest
from outlast._model import Claim, Letter, NewInstance, Note, Row
from outlast.errors import DefinitionError, UnknownProgram, did_you_mean

WORKFLOW: Final = "workflow"
"""The step of an instance that records what it does in the journal."""
ERRAND: Final = "~errand"
"""The step of an instance in which a workflow's step runs that is to run elsewhere: its parent is that workflow."""
DOING: Final[ContextVar[tuple[str, int] | None]] = ContextVar("outlast_doing", default=None)
"""The step of a workflow that this code belongs to: its key in the journal, and its failed attempts. None in the
workflow's own code and in other shapes; in threads of steps, too."""


class Resident(Protocol):
    """What a program leaves in memory of a parked instance, to go on from there when it is claimed here again.

    Attributes:
        timed: The keys in the journal of what it waits for by the clock.
    """

    timed: Sequence[str]

    def leave(self) -> None:
        """Ends it: it will never go on."""


class Activation(Protocol):
    """One claimed instance about to run, and what the runtime lends to it."""

    claim: Claim
    queue: str
    dice: Random
    deadline_us: int | None

    @property
    def bytes_max(self) -> int:
        """Largest encoded size of what is stored, in bytes."""

    @property
    def stopping(self) -> bool:
        """Whether nothing new may begin: the engine shuts down, the instance is paused, or it was late for a step."""

    def may_begin(self) -> bool:
        """Whether a step may begin now. Once the answer is no, it is stopping.

        Beyond that it looks at the clock, whether others may own the instance by now.
        """

    def let_go(self) -> None:
        """Gives the claim back, at no attempt's cost. Raises: CancelledError, always."""

    def report(self, fraction: float, note: str) -> None:
        """Shows progress to others, soon and best effort. Any thread may call it."""

    def in_thread(self, call: Callable[[], Any]) -> Awaitable[Any]:
        """Runs blocking code on a thread of the engine's own pool, with this context's variables."""

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
        """Runs a coroutine, in a task of its own, until it first waits. The rest, to be awaited; None: it is over."""

    def new_instance(self, request: StartRequest[Any], options: StartOptions, *, anywhere: bool = False) -> NewInstance:
        """A described start as a row to insert. `anywhere`: its rate limit may be one that only others declare.

        Raises: ValueTooLarge, ConfigError.
        """

    def seconds_until(self, moment: datetime) -> float:
        """Seconds from now until an aware instant; negative when it is past."""

    def emit(self, event: str, **fields: Any) -> None:
        """Reports something of this instance: an event of `_runtime.scheme`, with these fields and its ids."""

    async def inbox(self) -> Sequence[Letter]:
        """The signals that no step has used up, as they are now."""

    async def cancel(self, id: str, reason: str) -> None:
        """Ends another instance and its descendants as cancelled, if it has not ended."""

    def stay(self, resident: Resident) -> bool:
        """Keeps a resident of an instance whose next outcome is its park. False: nothing stays here."""

    def resident(self) -> Resident | None:
        """What has stayed of this instance, if nothing but its waking has happened to it since; it is the caller's."""

    async def notes(self) -> Sequence[Note]:
        """What this instance has recorded, all of it; read now where the claim did not bring it."""

    def record(self, outcome: Recorded) -> Awaitable[None]:
        """Makes durable what was recorded, and goes on. Raises: CancelledError: the claim is lost."""

    async def children(self, round: int | None, after: tuple[int, int] | None, limit: int) -> Sequence[Row]:
        """Children of this instance, by (round, number), those after a place in that order."""


RUNNING: Final[ContextVar[Activation | None]] = ContextVar("outlast_running", default=None)
"""The activation that this code belongs to: in steps of workflows and in threads, too; not in a workflow's own code."""


class Program(Protocol):
    """What a shape makes of the user's code. The runtime knows nothing else of it."""

    name: str
    version: int
    queue: str
    timeout_s: float | None

    async def run(self, activation: Activation) -> Outcome:
        """Runs one step. Exceptions are the user's and go to `failed`."""

    async def failed(self, activation: Activation, error: BaseException) -> Outcome:
        """What an exception of `run` means. Never raises."""

    def retention_s(self, default_s: float | None) -> float | None:
        """Seconds to keep an ended instance; None keeps it for ever."""


class Catalogue:
    """Programs by name and version."""

    def __init__(self, programs: Iterable[Program] = ()) -> None:
        self._programs: dict[tuple[str, int], Program] = {}
        self._upgrading: dict[tuple[str, int], Program] = {}
        self.changes = 0
        for program in programs:
            self.add(program)

    def add(self, program: Program) -> None:
        """Knows `program` from now on. Raises: DefinitionError: another one has its name and version."""
        key = (program.name, program.version)
        known = self._programs.get(key)
        if known is program:
            return
        if known is not None and not _same_source(known, program):
            raise DefinitionError(
                f"program {program.name!r} version {program.version} is defined twice "
                f"({_source(known)} and {_source(program)}); give one of them "
                f"{getattr(program, 'told_apart_by', 'name=... or version=...')}"
            )
        self._programs[key] = program
        for version in getattr(program, "older_versions", ()):
            self._upgrading[program.name, version] = program
        self.changes += 1

    def known(self) -> list[str]:
        """What can be run, as "name@version", older versions that are upgraded included."""
        return sorted(f"{name}@{version}" for name, version in self._programs.keys() | self._upgrading.keys())

    def find(self, name: str, version: int) -> Program | None:
        """The program, or None."""
        return self._programs.get((name, version)) or self._upgrading.get((name, version))

    def newest(self, name: str) -> Program:
        """The program's highest version. Raises: UnknownProgram."""
        versions = [version for known, version in self._programs if known == name]
        if not versions:
            hint = did_you_mean(name, {known for known, _ in self._programs})
            raise UnknownProgram(f"no program is called {name!r}{hint}")
        return self._programs[name, max(versions)]

    def __iter__(self) -> Iterator[Program]:
        return iter(list(self._programs.values()))


def _source(program: Program) -> str:
    return getattr(program, "source", type(program).__qualname__)


def _same_source(one: Program, two: Program) -> bool:
    return _source(one) == _source(two)


DEFINED = Catalogue()
"""Programs defined at module level anywhere in this process. Definitions only: engines hold no state here."""
