"""The step of a workflow that runs now, and what may come of it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from outlast._kernel.outcomes import Await, Cancel, Done, Next, Retry, Spawn, Stop
from outlast._kernel.signatures import Signature
from outlast._model import Claim
from outlast.errors import ValueTooLarge, WorkflowError

OUTCOMES: Final = (Await, Cancel, Done, Next, Retry, Spawn, Stop)
"""What jobs and machines answer, and steps of workflows do not."""


@dataclass(frozen=True, slots=True)
class StepInfo:
    """What a running step of a workflow may know of itself.

    Attributes:
        id: The instance.
        program: The workflow's name.
        key: The step's key in the journal: the same in every attempt, and in every run after a crash.
        attempt: Failed attempts so far; 0 in the first.
    """

    id: str
    program: str
    key: str
    attempt: int

    @property
    def idempotency_key(self) -> str:
        """A key for whoever must do this once: it is the same however often the step runs, and no other step has it."""
        return f"{self.id}:{self.key}"


STEP: Final[ContextVar[StepInfo | tuple[Claim, tuple[str, int]] | None]] = ContextVar("outlast_step_info", default=None)
"""The step that this code belongs to; where it runs with its workflow, the claim, the step's key and its failed
attempts, of which the rest is made when somebody asks."""


def current_step() -> StepInfo | None:
    """The workflow's step that this code belongs to (in its threads, too), or None."""
    found = STEP.get()
    if found is None or isinstance(found, StepInfo):
        return found
    claim, place = found
    return StepInfo(claim.id, claim.program, *place)


def result_text(step: str, signature: Signature, value: Any, bytes_max: int) -> str:
    """What a step returned, as JSON text. Raises: WorkflowError, EncodingError, ValueTooLarge."""
    if isinstance(value, OUTCOMES):
        raise WorkflowError(
            f"step {step!r} returned {type(value).__name__}, an outcome of jobs and machines: a workflow's step "
            "returns its result, or raises"
        )
    text = signature.encode_result(value)
    if len(text) > bytes_max // 4 and (size := len(text.encode())) > bytes_max:
        raise ValueTooLarge(f"the result of step {step!r}", size, bytes_max)
    return text
