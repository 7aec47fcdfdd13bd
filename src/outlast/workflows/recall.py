"""From what the journal holds to what a workflow's code gets: results, and errors of the class that was raised."""

from __future__ import annotations

from outlast._kernel.failures import read_error
from outlast._kernel.raised import heir_of
from outlast.errors import StepFailed


def failure_of(step: str, text: str | None) -> StepFailed:
    """The recorded error of a step, as an exception that is also of the class that was raised, if it is known here."""
    error = read_error(text) or {"type": "unknown", "message": "", "traceback": ""}
    name = str(error.get("type", ""))
    message = f"step {step!r} failed: {name}: {error.get('message', '')}"
    kind = heir_of(StepFailed, name)
    if kind is not None:
        try:
            made: StepFailed = kind.__new__(kind, message)  # type: ignore[assignment]
            StepFailed.__init__(made, message, step=step, error=error)
        except Exception:  # a class with ideas of its own: its heirs cannot be made like this.
            pass
        else:
            return made
    return StepFailed(message, step=step, error=error)
