"""What a step answers. Frozen values; `settle` turns each into the one write that records it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Final, Unpack

import msgspec

from outlast._kernel.requests import (
    PLAIN,
    LimitName,
    Startable,
    Starting,
    StartOptions,
    checked_weight,
    limit_text,
    start_options,
)
from outlast._kernel.states import FAILED
from outlast._model import Entry, NewInstance
from outlast.config import checked_name, duration_s, shown
from outlast.errors import ConfigError, DefinitionError

StepName = Callable[..., object] | str
"""A step, as `self.ship` or by name."""


class Keep(enum.Enum):
    """Leaves something as it is, where None says something of its own."""

    KEEP = "keep"

    def __repr__(self) -> str:
        return "KEEP"


KEEP: Final = Keep.KEEP


@dataclass(frozen=True, slots=True)
class Cancel:
    """End as `cancelled`, at once and for good: no retry, no result.

    Attributes:
        reason: Why, kept with the instance.
    """

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Run the same step again, after `delay` seconds (or a timedelta). Counts as an attempt.

    Attributes:
        delay: Wait before the next attempt; 0 (default) means at once. None leaves it to the backoff.
        reason: Why, kept as the instance's last error.
    """

    delay: float | timedelta | None = 0.0
    reason: str = ""

    def __post_init__(self) -> None:
        if self.delay is not None:
            object.__setattr__(self, "delay", duration_s(self.delay, name="Retry.delay"))


@dataclass(frozen=True, slots=True)
class Next:
    """Go on with another step, once this one is committed. Resets the attempts.

    Attributes:
        step: The step, as `self.ship` or by name.
        inline: Whether the same process may go on at once, without a way through the queue; None (default): as the
            machine says. A step with a rate limit, or another concurrency key, always goes through the queue.
        rate_limit: A rate limit that the next step waits for, as a name or (name, partition); None (default): none.
        weight: Tokens that the next step takes from it.
        concurrency_key: Another key for the steps from here on, as a name or (name, partition); None gives the key up;
            left out, it stays as it is.

    Raises: ConfigError.
    """

    step: StepName
    inline: bool | None = None
    rate_limit: LimitName | None = None
    weight: float = 1.0
    concurrency_key: LimitName | Keep | None = KEEP

    def __post_init__(self) -> None:
        if self.rate_limit is not None:
            object.__setattr__(self, "rate_limit", limit_text(self.rate_limit, what="Next.rate_limit"))
        object.__setattr__(self, "weight", checked_weight(self.weight, what="Next.weight"))
        key = self.concurrency_key
        if key is not None and not isinstance(key, Keep):
            object.__setattr__(self, "concurrency_key", limit_text(key, what="Next.concurrency_key"))

    @property
    def name(self) -> str:
        """The step's name."""
        return step_name(self.step)


@dataclass(frozen=True, slots=True)
class Await:
    """Wait for a signal, holding nothing but a row. Resets the attempts. Signals that came before count.

    Attributes:
        names: A signal's name, or several: any one of them wakes the instance.
        then: The step that runs then, with the signals in `ctx.awaited`; None (default) runs this same step again.
        timeout: Seconds (or a timedelta) after which it wakes in any case, with `ctx.awaited` empty; None: never.

    Raises: ConfigError.
    """

    names: str | Iterable[str]
    then: StepName | None = None
    timeout: float | timedelta | None = None

    def __post_init__(self) -> None:
        given = (self.names,) if isinstance(self.names, str) else self.names
        if not isinstance(given, Iterable):
            raise ConfigError(f"Await.names must be a signal's name or several, not {shown(given)}")
        names = tuple(dict.fromkeys(checked_name(name, what="a signal's name") for name in given))
        if not names:
            raise ConfigError("Await needs at least one signal's name: nothing could ever wake it")
        object.__setattr__(self, "names", names)
        _set_timeout(self, "Await.timeout")


@dataclass(frozen=True, slots=True, init=False)
class Child:
    """One child of a `Spawn`, with options of its own: those of `engine.start`.

    Attributes:
        what: A description made by `.new(...)`, or a machine.
    """

    what: Startable[Any]
    options: StartOptions

    def __init__(self, what: Startable[Any], **options: Unpack[Starting]) -> None:
        object.__setattr__(self, "what", _checked_child(what))
        object.__setattr__(self, "options", start_options(**options))


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start children and wait until they have ended, in one transaction. Resets the attempts.

    Attributes:
        children: What to start: descriptions made by `.new(...)`, machines, or `Child(...)`; a generator is fine.
        then: The step that runs when they have ended, well or not; it finds them in `ctx.children`.
        need: Wake when this many have ended; None (default): all. The others run on.
        timeout: Seconds (or a timedelta) after which it wakes in any case; None: never.

    Raises: ConfigError.
    """

    children: Iterable[Startable[Any] | Child]
    then: StepName
    need: int | None = None
    timeout: float | timedelta | None = None

    def __post_init__(self) -> None:
        if isinstance(self.children, (str, bytes)) or not isinstance(self.children, Iterable):
            raise ConfigError(f"Spawn.children must be a list of what to start, not {shown(self.children)}")
        children = [child if isinstance(child, Child) else _checked_child(child) for child in self.children]
        object.__setattr__(self, "children", children)
        if self.need is not None and (
            isinstance(self.need, bool) or not isinstance(self.need, int) or not 1 <= self.need <= len(children)
        ):
            raise ConfigError(
                f"Spawn.need must be a whole number from 1 to the {len(children):,} children, not {shown(self.need)}"
            )
        _set_timeout(self, "Spawn.timeout")

    def described(self) -> Sequence[tuple[Startable[Any], StartOptions]]:
        """Each child with its options."""
        return [(c.what, c.options) if isinstance(c, Child) else (c, PLAIN) for c in self.children]


@dataclass(frozen=True, slots=True)
class Done:
    """End well.

    Attributes:
        result: What `Handle.result()` returns; anything that can be stored.
    """

    result: Any = None


@dataclass(frozen=True, slots=True)
class Stop:
    """End as `failed`, for good.

    Attributes:
        reason: Why: text, or the exception itself.
    """

    reason: object = ""


def step_name(step: StepName) -> str:
    """The name of a step given as a method or by name. Raises: DefinitionError: it is neither."""
    if isinstance(step, str):
        return step
    name = getattr(step, "outlast_step", None)
    if not isinstance(name, str):
        raise DefinitionError(f"{step!r} is not a step: name one, or pass a method that is marked with @step")
    return name


def _set_timeout(outcome: Await | Spawn, name: str) -> None:
    if outcome.timeout is not None:
        object.__setattr__(outcome, "timeout", duration_s(outcome.timeout, name=name, least_s=0.001))


def _checked_child(what: Any) -> Startable[Any]:
    if not hasattr(what, "start_request"):
        raise ConfigError(f"a child must be what .new(...) returns, or a machine, not {shown(what)}")
    return what  # type: ignore[no-any-return]


class Finished(msgspec.Struct, frozen=True, gc=False):
    """Ended well; `result` is JSON text, and so is `state`, or None where it stays as it was.

    `consumed` are the ids of signals that are used up with this outcome, here and below.
    """

    kind: ClassVar[str] = "done"

    result: str
    state: str | None = None
    consumed: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """Ended badly, for good; `error` is JSON text. `status` says what became of what it had done."""

    kind: ClassVar[str] = "failed"

    error: str
    state: str | None = None
    consumed: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    status: str = FAILED


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Ended by its own wish; `error` is JSON text that holds the reason."""

    kind: ClassVar[str] = "cancelled"

    error: str
    consumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Again:
    """This attempt is over; the same step starts again in `delay_s` seconds. `error` is JSON text or None."""

    kind: ClassVar[str] = "retry"

    delay_s: float
    error: str | None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """The step is done; `step` comes next, with `state` (JSON text). `inline`: at once, if this process may.

    `concurrency_key`: None keeps the instance's key, "" gives it up, other text takes its place.
    """

    kind: ClassVar[str] = "next"

    step: str
    state: str
    inline: bool = True
    consumed: tuple[str, ...] = ()
    rate_limit: str | None = None
    rate_weight: float = 1.0
    concurrency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Parked:
    """The step is done; `step` (None: the same) comes when one of the signals `awaits` is there, or after `wake_s`.

    `shown` are the ids of signals that woke this very step: they do not wake it again.
    """

    kind: ClassVar[str] = "await"

    step: str | None
    state: str | None
    awaits: tuple[str, ...]
    wake_s: float | None = None
    shown: tuple[str, ...] = ()
    consumed: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    started: tuple[NewInstance, ...] = ()


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """Something was recorded, and the same claim goes on."""

    kind: ClassVar[str] = "recorded"

    entries: tuple[Entry, ...]
    consumed: tuple[str, ...] = ()
    started: tuple[NewInstance, ...] = ()


@dataclass(frozen=True, slots=True)
class Spawned:
    """The step is done; `step` comes when `need` of the children (None: all) have ended, or after `wake_s`."""

    kind: ClassVar[str] = "spawn"

    step: str
    state: str
    children: Sequence[NewInstance]
    need: int | None = None
    wake_s: float | None = None
    consumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The stored row cannot be decoded by this code; an operator must look. `error` is JSON text."""

    kind: ClassVar[str] = "quarantined"

    error: str


Outcome = Finished | Failed | Cancelled | Again | Moved | Parked | Recorded | Spawned | Unreadable
"""What a program gives back to the runtime."""
