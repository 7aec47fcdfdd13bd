"""From an outcome to the one fenced write that records it."""

from __future__ import annotations

from typing import assert_never

from outlast._kernel import states
from outlast._kernel.outcomes import Again, Cancelled, Done, Failed, Outcome, Unreadable
from outlast._model import Claim, Settlement


def settle(claim: Claim, outcome: Outcome, *, retention_s: float | None) -> Settlement:
    """The write for `outcome` of `claim`.

    Args:
        claim: What was run.
        outcome: What it answered.
        retention_s: Seconds to keep the row once it has ended; None keeps it for ever.
    """
    id, epoch, attempt = claim.id, claim.epoch, claim.attempt
    match outcome:
        case Done(result):
            return Settlement(id, epoch, states.DONE, attempt, result, None, None, retention_s)
        case Again(delay_s, error):
            status = states.SCHEDULED if delay_s > 0 else states.READY
            return Settlement(id, epoch, status, attempt + 1, None, error, delay_s)
        case Failed(error):
            return Settlement(id, epoch, states.FAILED, attempt + 1, None, error, None, retention_s)
        case Cancelled(error):
            return Settlement(id, epoch, states.CANCELLED, attempt, None, error, None, retention_s)
        case Unreadable(error):
            return Settlement(id, epoch, states.QUARANTINED, attempt, None, error)
        case _:
            assert_never(outcome)
