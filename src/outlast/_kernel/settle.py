"""From an outcome to the one fenced write that records it."""

from __future__ import annotations

from typing import assert_never

from outlast._kernel import states
from outlast._kernel.outcomes import (
    Again,
    Cancelled,
    Failed,
    Finished,
    Moved,
    Outcome,
    Parked,
    Recorded,
    Spawned,
    Unreadable,
)
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
            made.version = None if state is None else version
        case Moved():
            made = _moved(claim, outcome, version, ahead, deadline_s)
        case Parked(step, state, awaits, wake_s, shown):
            made = Settlement(id, epoch, states.WAITING, 0, step=step, state=state, version=version)
            made.awaits, made.wake_s, made.shown = list(awaits), wake_s, list(shown)
            _clear_rate(made, claim)
        case Recorded():
            return recorded(claim, outcome)
        case Spawned(step, state, children, need, wake_s):
            made = Settlement(id, epoch, states.WAITING, 0, step=step, state=state, version=version)
            made.children, made.need, made.wake_s = list(children), need, wake_s
            made.round = claim.round + 1
            _clear_rate(made, claim)
        case Again(delay_s, error, state):
            limited = claim.concurrency_key is not None or claim.rate_limit is not None
            status = states.SCHEDULED if delay_s > 0 or limited else states.READY
            made = Settlement(id, epoch, status, attempt + 1, None, error, delay_s, None, None, state)
            made.version = None if state is None else version
        case Failed(error, state):
            made = Settlement(id, epoch, outcome.status, attempt + 1, None, error, None, retention_s, None, state)
            made.version = None if state is None else version
        case Cancelled(error):
            made = Settlement(id, epoch, states.CANCELLED, attempt, None, error, None, retention_s)
        case Unreadable(error):
            made = Settlement(id, epoch, states.QUARANTINED, attempt, None, error)
        case _:
            assert_never(outcome)
    if entries := getattr(outcome, "entries", ()):
        made.entries = entries
    if started := getattr(outcome, "started", ()):
        made.started = started
    if used := getattr(outcome, "consumed", ()):
        made.consumed = used
    if made.status != states.RUNNING:
        made.frees = claim.concurrency_key
    if made.status in states.FINAL:
        made.parent = claim.parent
    made.commits = claim.commits
    return made


def recorded(claim: Claim, outcome: Recorded) -> Settlement:
    """The write for what a claim has recorded; it goes on."""
    made = Settlement(claim.id, claim.epoch, states.RUNNING, claim.attempt, commits=claim.commits)
    made.entries, made.started = outcome.entries or None, outcome.started or None
    made.consumed = outcome.consumed or None
    return made


def _moved(claim: Claim, outcome: Moved, version: int | None, ahead: bool, deadline_s: float | None) -> Settlement:
    made = Settlement(claim.id, claim.epoch, states.RUNNING, 0, step=outcome.step, state=outcome.state)
    made.version, made.concurrency_key = version, outcome.concurrency_key
    if outcome.rate_limit is not None:
        made.rate_limit, made.rate_weight = outcome.rate_limit, outcome.rate_weight
    else:
        _clear_rate(made, claim)
    if ahead:
        made.deadline_s = deadline_s
    else:
        key = claim.concurrency_key if outcome.concurrency_key is None else outcome.concurrency_key
        # What has a limit is admitted by the timekeeper: only it knows who else wants the same.
        made.status = states.SCHEDULED if key or outcome.rate_limit else states.READY
        made.delay_s = 0.0
    return made


def _clear_rate(made: Settlement, claim: Claim) -> None:
    """A rate limit holds for the step it was named for."""
    if claim.rate_limit is not None:
        made.rate_limit = ""


def may_run_ahead(outcome: Moved) -> bool:
    """Whether the next step needs nobody's leave."""
    return outcome.inline and outcome.rate_limit is None and outcome.concurrency_key is None
