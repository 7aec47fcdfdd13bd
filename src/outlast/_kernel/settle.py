"""From an outcome to the one fenced write that records it."""

from __future__ import annotations

from typing import assert_never

from outlast._kernel import states
from outlast._kernel.outcomes import Again, Cancelled, Failed, Finished, Moved, Outcome, Unreadable
from outlast._model import Claim, Settlement


def settle(
    claim: Claim,
    outcome: Outcome,
    *,
    retention_s: float | None,
    version: int | None = None,
    ahead: bool = False,
    deadline_s: float | None = None,
) -> Settlement:
    """The write for `outcome` of `claim`.

    Args:
        claim: What was run.
        outcome: What it answered.
        retention_s: Seconds to keep the row once it has ended; None keeps it for ever.
        version: The program's version that wrote the state, where it is newer than the row's.
        ahead: The claim is kept, for the step that comes next.
        deadline_s: Seconds after which others may take a kept claim away although its node lives; None: never.
    """
    id, epoch, attempt = claim.id, claim.epoch, claim.attempt
    match outcome:
        case Finished(result, state):
            made = Settlement(id, epoch, states.DONE, attempt, result, None, None, retention_s, None, state)
        case Moved(step, state):
            status = states.RUNNING if ahead else states.READY
            delay_s = None if ahead else 0.0
            made = Settlement(id, epoch, status, 0, None, None, delay_s, None, step, state, version)
            made.deadline_s = deadline_s if ahead else None
        case Again(delay_s, error, state):
            status = states.SCHEDULED if delay_s > 0 else states.READY
            made = Settlement(id, epoch, status, attempt + 1, None, error, delay_s, None, None, state)
            made.version = None if state is None else version
        case Failed(error, state):
            made = Settlement(id, epoch, states.FAILED, attempt + 1, None, error, None, retention_s, None, state)
        case Cancelled(error):
            made = Settlement(id, epoch, states.CANCELLED, attempt, None, error, None, retention_s)
        case Unreadable(error):
            made = Settlement(id, epoch, states.QUARANTINED, attempt, None, error)
        case _:
            assert_never(outcome)
    if ahead or claim.kept:  # this claim writes more than one outcome.
        made.commits = claim.commits
    return made
