"""What a drain has done."""

from __future__ import annotations

from dataclasses import asdict, dataclass


class TooManySteps(AssertionError):
    """A drain ran as many steps as it may, and there was more to run."""


@dataclass(repr=False)
class Tally:
    """How many steps a drain ran, and what came of them.

    Attributes:
        steps: Steps run, whatever came of them.
        next: Went on with another step.
        retry: Will run again.
        await_: Parked until a signal comes.
        spawn: Parked until children have ended.
        done, failed, cancelled: Ended like this.
        quarantined: Could not be read, and wait for an operator.
        crashes: Steps after which a crash was simulated; see `crash_before_commit`.
    """

    steps: int = 0
    next: int = 0
    retry: int = 0
    await_: int = 0
    spawn: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    quarantined: int = 0
    crashes: int = 0

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={count}" for name, count in asdict(self).items() if count or name == "steps")
        return f"Tally({told})"

    def add(self, kind: str | None) -> None:
        """Counts a step by the kind of its outcome; None: it has none, for it was stopped."""
        self.steps += 1
        if kind is not None:
            field = "await_" if kind == "await" else kind
            setattr(self, field, getattr(self, field) + 1)
