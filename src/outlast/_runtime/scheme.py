"""Every event there is: its level, its fields and what it says. Nothing else is ever reported.

Names are `noun.verb`. Seconds are `..._s`. Every event carries `engine`, too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """A kind of event.

    Attributes:
        level: Of `logging`. Those of DEBUG are reported only while somebody wants to hear of them.
        says: What has happened, in one sentence.
        fields: What it carries; any of them may be missing where it does not apply.
    """

    level: int
    says: str
    fields: tuple[str, ...]


def _kind(level: int, says: str, *fields: str) -> Kind:
    return Kind(level, says, fields)


_STEP: Final = ("id", "program", "version", "step", "attempt", "queue")

SCHEME: Final[Mapping[str, Kind]] = {
    "engine.started": _kind(logging.INFO, "An engine is open.", "store", "queues"),
    "engine.draining": _kind(
        logging.INFO,
        "An engine shuts down: `running` steps may end, `released` claims that had not begun go back.",
        "running",
        "released",
    ),
    "engine.stopped": _kind(logging.INFO, "An engine is closed."),
    "instance.started": _kind(
        logging.DEBUG, "An instance was inserted, by a caller or by its `parent`.", "id", "program", "queue", "parent"
    ),
    "instance.ended": _kind(
        logging.DEBUG, "An outcome that ends its instance is committed.", "id", "program", "queue", "status"
    ),
    "instance.quarantined": _kind(
        logging.ERROR, "An instance cannot be read, or took too many processes with it.", "id", "program", "error"
    ),
    "instance.paused": _kind(
        logging.INFO, "An instance begins no further step until it is resumed.", "id", "by", "reason"
    ),
    "instance.resumed": _kind(logging.INFO, "A pause was taken back.", "id", "by", "reason"),
    "instance.retried": _kind(
        logging.INFO,
        "An ended or quarantined instance runs again, from `from_step` where that was asked for.",
        "id",
        "by",
        "reason",
        "from_step",
    ),
    "step.start": _kind(logging.DEBUG, "A step begins.", *_STEP),
    "step.stop": _kind(
        logging.DEBUG,
        "A step is over. `kind` is what came of it: next, retry, await, spawn, done, failed, cancelled, quarantined; "
        "or None when it was stopped.",
        *_STEP,
        "kind",
        "duration_s",
    ),
    "step.failed": _kind(
        logging.WARNING,
        "A step raised, and its instance failed with it; attempts that are tried again are told while somebody hears "
        "of single steps.",
        *_STEP,
        "error",
    ),
    "step.recorded": _kind(
        logging.DEBUG,
        "A workflow's step is committed to its journal under `key`. `status`: done, failed, or retrying: after "
        "`attempt` failed attempts it is tried again.",
        "id",
        "program",
        "queue",
        "key",
        "status",
        "attempt",
        "duration_s",
        "error",
    ),
    "step.abandoned": _kind(
        logging.WARNING,
        "A step that was told to stop runs on and was given up; `stuck` threads are in such steps.",
        "id",
        "program",
        "stuck",
    ),
    "steps.uncalled": _kind(
        logging.WARNING,
        "A workflow that runs again has come to a wait or to its end (`status`) and has not called what is recorded "
        "under these `keys`: its code has changed. Of `not_undone` the results stand, though it has failed.",
        "id",
        "program",
        "version",
        "keys",
        "status",
        "not_undone",
    ),
    "run_ahead.continued": _kind(
        logging.DEBUG, "A machine goes on with its next step in the same claim.", "id", "program", "step", "steps"
    ),
    "run_ahead.yielded": _kind(
        logging.DEBUG,
        "A machine's next step is left to be claimed anew. `reason`: off, limited (by a key or a rate), stopped, "
        "paused, turn.",
        "id",
        "program",
        "step",
        "steps",
        "reason",
    ),
    "claim.stop": _kind(
        logging.DEBUG, "Work was claimed: `count` of `demand` wanted.", "queue", "count", "demand", "duration_s"
    ),
    "claim.stale": _kind(
        logging.WARNING, "An outcome was refused: another process had taken over.", "id", "program", "epoch", "status"
    ),
    "claim.withheld": _kind(
        logging.DEBUG,
        "The lease may have run out, by this process's clock: a step was not begun, and its claim is given back.",
        "id",
        "program",
        "epoch",
    ),
    "lane.saturated": _kind(
        logging.DEBUG,
        "A queue claims no more for now: its slots and its buffer are full, or outcomes wait to be committed.",
        "queue",
        "running",
        "buffered",
        "concurrency",
        "prefetch",
        "unflushed",
    ),
    "claims.reclaimed": _kind(
        logging.WARNING,
        "Instances of dead processes, or past their deadline, were given back or quarantined.",
        "returned",
        "quarantined",
    ),
    "claims.orphaned": _kind(logging.WARNING, "Claims whose reply was lost were found and given back.", "count"),
    "node.died": _kind(logging.WARNING, "Another process gave no sign of life for a whole lease.", "node", "silent_s"),
    "node.fenced": _kind(
        logging.WARNING, "This process could not renew its lease in time and stops its steps.", "late_s"
    ),
    "node.buried": _kind(logging.WARNING, "Others have taken over what this process held.", "node"),
    "commit.stop": _kind(
        logging.DEBUG,
        "Outcomes were committed; `settled` lists them as (id, epoch, status).",
        "count",
        "stale",
        "settled",
        "duration_s",
    ),
    "outcome.refused": _kind(
        logging.ERROR, "The database refused one outcome; its instance fails with that error.", "id", "program", "error"
    ),
    "signal.sent": _kind(
        logging.DEBUG, "A signal was sent; `result` as `engine.signal` returns it.", "id", "signal", "result"
    ),
    "input.asked": _kind(
        logging.DEBUG, "A workflow asks people for an `input`.", "id", "program", "queue", "key", "input"
    ),
    "input.closed": _kind(
        logging.DEBUG,
        "A workflow asks no more for an `input`. `result`: answered, cancelled (called off), late (its time was up).",
        "id",
        "program",
        "queue",
        "key",
        "input",
        "result",
    ),
    "awaits.timed_out": _kind(logging.DEBUG, "Waits for signals or children were ended by their deadline.", "count"),
    "timers.promoted": _kind(logging.DEBUG, "Scheduled work that is due was made ready.", "count"),
    "schedule.fired": _kind(logging.DEBUG, "A schedule's tick has its run, `id`.", "schedule", "tick", "id", "queue"),
    "schedule.missed": _kind(
        logging.WARNING,
        "A tick has no run, and will have none. `reason`: late (and perhaps later ones, too), or overlap.",
        "schedule",
        "tick",
        "reason",
    ),
    "schedule.switched": _kind(
        logging.INFO, "A schedule was switched on or off by hand, in this process.", "schedule", "enabled"
    ),
    "schedule.triggered": _kind(
        logging.DEBUG, "A run of a schedule, `id`, was started by hand, in this process.", "schedule", "id", "queue"
    ),
    "schedule.disabled": _kind(
        logging.ERROR, "A schedule was switched off: so many of its runs failed in a row.", "schedule", "failures"
    ),
    "schedule.broken": _kind(
        logging.ERROR, "A schedule cannot be read in this process, and does not fire here.", "schedule", "error"
    ),
    "concurrency.denied": _kind(
        logging.DEBUG, "Claims that a concurrency key held back; they are blocked.", "queue", "limit", "count"
    ),
    "rate.denied": _kind(
        logging.DEBUG, "Claims that a rate limit held back; they are blocked.", "queue", "limit", "count"
    ),
    "rate.unknown": _kind(logging.WARNING, "Somebody waits for a rate limit that no process has declared.", "limit"),
    "limits.opened": _kind(logging.DEBUG, "A round over all gates let somebody through.", "queues"),
    "object.loaded": _kind(logging.DEBUG, "An object came into this process's memory.", "type", "id", "is_new"),
    "object.load_failed": _kind(
        logging.WARNING,
        "An object cannot be loaded: its `after_load` raised, or its state does not fit. What is stored for it waits.",
        "type",
        "id",
        "error",
        "retry_s",
    ),
    "object.saved": _kind(logging.DEBUG, "What calls have left of an object is committed.", "type", "id"),
    "object.deleted": _kind(logging.DEBUG, "An object is deleted.", "type", "id"),
    "object.hibernated": _kind(
        logging.DEBUG, "An idle object left the memory; this process goes on owning it.", "type", "id"
    ),
    "object.released": _kind(
        logging.DEBUG, "An object is nobody's now: whoever calls it next may own it.", "type", "id"
    ),
    "object.lost": _kind(
        logging.WARNING, "Another process owns an object by now: what was not committed here is void.", "type", "id"
    ),
    "object.call_failed": _kind(
        logging.WARNING,
        "A handler raised. Calls whose caller gets the error are told of while somebody hears of single steps.",
        "type",
        "id",
        "handler",
        "error",
    ),
    "alarm.failed": _kind(
        logging.WARNING, "An alarm's handler raised, and is tried again.", "type", "id", "handler", "attempt", "error"
    ),
    "alarm.gave_up": _kind(
        logging.ERROR,
        "An alarm's handler raised for the last time: the alarm stays as failed, or goes on with its next time.",
        "type",
        "id",
        "handler",
        "attempt",
        "error",
    ),
    "objects.pruned": _kind(
        logging.DEBUG, "Objects past their retention, and old calls and answers, were deleted.", "objects", "calls"
    ),
    "retention.pruned": _kind(
        logging.DEBUG, "Ended instances past their retention, and idle buckets, were deleted.", "count", "buckets"
    ),
    "logs.dropped": _kind(
        logging.WARNING, "Lines that steps have said were dropped: too many at once, or the database is away.", "count"
    ),
    "loop.failed": _kind(logging.ERROR, "A loop met an error that nobody expected, and goes on.", "loop", "error"),
    "store.away": _kind(logging.WARNING, "The database cannot be used; what needs it waits.", "loop", "error"),
    "store.back": _kind(logging.INFO, "The database can be used again.", "loop"),
}
