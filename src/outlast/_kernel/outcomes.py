"""What a step answers. Frozen values; `settle` turns each into the one write that records it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from outlast.config import duration_s
from outlast.errors import DefinitionError


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
        inline: False hands the instance back to its queue even where the same process could go on at once.
    """

    step: Callable[..., object] | str
    inline: bool = True

    @property
    def name(self) -> str:
        """The step's name."""
        return step_name(self.step)


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


def step_name(step: Callable[..., object] | str) -> str:
    """The name of a step given as a method or by name. Raises: DefinitionError: it is neither."""
    if isinstance(step, str):
        return step
    name = getattr(step, "outlast_step", None)
    if not isinstance(name, str):
        raise DefinitionError(f"{step!r} is not a step: name one, or pass a method that is marked with @step")
    return name


@dataclass(frozen=True, slots=True)
class Finished:
    """Ended well; `result` is JSON text, and so is `state`, or None where it stays as it was."""

    result: str
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Ended badly, for good; `error` is JSON text."""

    error: str
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Ended by its own wish; `error` is JSON text that holds the reason."""

    error: str


@dataclass(frozen=True, slots=True)
class Again:
    """This attempt is over; the same step starts again in `delay_s` seconds. `error` is JSON text or None."""

    delay_s: float
    error: str | None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """The step is done; `step` comes next, with `state` (JSON text). `inline`: at once, if this process may."""

    step: str
    state: str
    inline: bool = True


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The stored row cannot be decoded by this code; an operator must look. `error` is JSON text."""

    error: str


Outcome = Finished | Failed | Cancelled | Again | Moved | Unreadable
"""What a program gives back to the runtime."""
