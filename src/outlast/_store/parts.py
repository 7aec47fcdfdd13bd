"""Shared by both stores: what commits of objects change beside their own rows, in the order in which all lock it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from outlast._model import AlarmRow, NewCall, ObjectCommit, ObjectKey

DELETED_KEPT_S: Final = 300.0
"""Seconds that an object which was deleted is remembered: longer than anybody goes on writing it after a lost reply."""
ANSWER_KEPT_S: Final = 300.0
"""Seconds that an answer without a key is kept for a caller who does not fetch it."""
LATE_KEPT_S: Final = 60.0
"""Seconds that a call is kept after it must not be begun any more: its handler may be at it."""

Row = tuple[Any, ...]


def in_order(batch: Sequence[ObjectCommit]) -> list[ObjectCommit]:
    """Commits by type and id."""
    return sorted(batch, key=key_of)


def key_of(item: Any) -> ObjectKey:
    """The type and id of anything that has them."""
    return (item.type, item.id)


def written(batch: Iterable[ObjectCommit], keys: Collection[ObjectKey]) -> list[ObjectCommit]:
    """Those of a batch whose objects were written, and that change more than their object."""
    return [item for item in batch if (item.type, item.id) in keys and not item.is_plain]


def expires_s(item: ObjectCommit) -> float | None:
    """Seconds after which the row of an object may go."""
    return DELETED_KEPT_S if item.deleted else item.expires_s


def lone(item: ObjectCommit) -> dict[str, Any]:
    """A commit that writes a state and nothing else, as `save_object` takes it."""
    return {
        "type": item.type,
        "id": item.id,
        "epoch": item.epoch,
        "commit": item.commit,
        "version": item.version,
        "state": item.state,
        "expires_s": item.expires_s,
    }


def finished(batch: Sequence[ObjectCommit]) -> list[Row]:
    """Alarms that rang and are done: type, id, name, revision."""
    return sorted(
        (item.type, item.id, move.name, move.revision)
        for item in batch
        for move in item.moved
        if move.due_us is None and move.delay_s is None and not move.failed
    )


def moved(batch: Sequence[ObjectCommit]) -> list[Row]:
    """Alarms that rang and stay: type, id, name, revision, due_us, delay_s, attempt, error, failed."""
    found = [
        (item.type, item.id, move.name, move.revision, move.due_us, move.delay_s, move.attempt, move.error, move.failed)
        for item in batch
        for move in item.moved
        if move.due_us is not None or move.delay_s is not None or move.failed
    ]
    return sorted(found, key=lambda row: row[:3])


def cleared(batch: Sequence[ObjectCommit]) -> list[Row]:
    """Objects whose alarms are all cancelled: type, id."""
    return [(item.type, item.id) for item in batch if item.deleted or item.clears_alarms]


def cancelled(batch: Sequence[ObjectCommit]) -> list[Row]:
    """Alarms that are cancelled: type, id, name."""
    return sorted({(item.type, item.id, name) for item in batch for name in item.cancelled})


def set_by(batch: Sequence[ObjectCommit]) -> list[AlarmRow]:
    """Alarms that are set; a deleted object has none."""
    return last_of_each(row for item in batch if not item.deleted for row in item.alarms)


def last_of_each(rows: Iterable[AlarmRow]) -> list[AlarmRow]:
    """Alarms by type, id and name; of those with one name the last."""
    by_name = {(row.type, row.id, row.name): row for row in rows}
    return [by_name[key] for key in sorted(by_name)]


def sent(batch: Sequence[ObjectCommit]) -> list[NewCall]:
    """Calls that go out, in order."""
    return [call for item in batch for call in item.sends]


def released(batch: Sequence[ObjectCommit]) -> list[tuple[str, str, int]]:
    """Objects that are given up: type, id, epoch."""
    return sorted((item.type, item.id, item.epoch) for item in batch if item.released)


def answered(batch: Sequence[ObjectCommit]) -> list[Row]:
    """Answers: call, type, id, result, error."""
    found = {
        answer.call: (answer.call, item.type, item.id, answer.result, answer.error)
        for item in batch
        for answer in item.answers
    }
    return [found[call] for call in sorted(found)]
