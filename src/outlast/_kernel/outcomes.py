"""What a step answers. Frozen values; `settle` turns each into the one write that records it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from outlast.config import duration_s


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
class Done:
    """Ended well; `result` is JSON text."""

    result: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Ended badly, for good; `error` is JSON text."""

    error: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Ended by its own wish; `error` is JSON text that holds the reason."""

    error: str


@dataclass(frozen=True, slots=True)
class Again:
    """This attempt failed; the next one starts in `delay_s` seconds. `error` is JSON text or None."""

    delay_s: float
    error: str | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The stored row cannot be decoded by this code; an operator must look. `error` is JSON text."""

    error: str


Outcome = Done | Failed | Cancelled | Again | Unreadable
"""What a program gives back to the runtime."""
