"""Statuses of an instance, and the only moves between them.

Every status change in the SQL of both stores is one of these moves; a test holds the statements against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SCHEDULED: Final = "scheduled"
READY: Final = "ready"
BLOCKED: Final = "blocked"
RUNNING: Final = "running"
WAITING: Final = "waiting"
DONE: Final = "done"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
COMPENSATED: Final = "compensated"
COMPENSATION_FAILED: Final = "compensation_failed"
QUARANTINED: Final = "quarantined"

LIVE: Final = (SCHEDULED, READY, BLOCKED, RUNNING, WAITING, QUARANTINED)
"""Not ended. Quarantined is live: it waits for an operator and keeps its key."""
FINAL: Final = (DONE, FAILED, CANCELLED, COMPENSATED, COMPENSATION_FAILED)
UNDONE: Final = (COMPENSATED, COMPENSATION_FAILED)
"""Ended after what had been done was undone, or was to be."""
ALL: Final = LIVE + FINAL

MOVES: Final[Mapping[str, Mapping[str, str]]] = {
    "promote": {SCHEDULED: READY},
    "block": {SCHEDULED: BLOCKED},
    "open": {BLOCKED: READY},
    "deny": {RUNNING: BLOCKED},
    "claim": {READY: RUNNING},
    "release": {RUNNING: READY},
    "release_limited": {RUNNING: SCHEDULED},
    "reclaim": {RUNNING: READY},
    "reclaim_limited": {RUNNING: SCHEDULED},
    "crash_out": {RUNNING: QUARANTINED},
    "done": {RUNNING: DONE},
    "fail": {RUNNING: FAILED},
    "compensated": {RUNNING: COMPENSATED},
    "compensation_failed": {RUNNING: COMPENSATION_FAILED},
    "give_up": {RUNNING: CANCELLED},
    "again": {RUNNING: READY},
    "next": {RUNNING: READY},
    "next_inline": {RUNNING: RUNNING},
    "later": {RUNNING: SCHEDULED},
    "unreadable": {RUNNING: QUARANTINED},
    "park": {RUNNING: WAITING},
    "wake": {WAITING: READY},
    "wake_limited": {WAITING: SCHEDULED},
    "hold": {READY: BLOCKED},
    "unhold": {BLOCKED: READY},
    "unhold_limited": {BLOCKED: SCHEDULED},
    "cancel": dict.fromkeys(LIVE, CANCELLED),
    "retry": dict.fromkeys((FAILED, CANCELLED, COMPENSATED, COMPENSATION_FAILED, QUARANTINED), READY),
    "retry_limited": dict.fromkeys((FAILED, CANCELLED, COMPENSATED, COMPENSATION_FAILED, QUARANTINED), SCHEDULED),
}
"""By event: from which status to which. What has a limit is `scheduled` where others are `ready`: the timekeeper
admits it. So is what is paused: the timekeeper blocks it, until it is resumed."""


def allowed_from(event: str) -> tuple[str, ...]:
    """The statuses from which `event` may happen."""
    return tuple(MOVES[event])
