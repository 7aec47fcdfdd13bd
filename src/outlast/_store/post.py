"""Shared by both stores: from what a signal met to its receipt."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from outlast._kernel.states import BLOCKED, FINAL, READY, SCHEDULED, WAITING
from outlast._model import Receipt, Signal

USED_KEPT_S: Final = 60.0
"""Seconds that a used signal is remembered: longer than anybody goes on sending it again after a lost reply."""
CHILD: Final = "~child:"
"""What the names of signals begin with by which workflows hear of their children."""
_ABOUT_TO_RUN: Final = (READY, SCHEDULED, BLOCKED, WAITING)


class Target(NamedTuple):
    """Whom a signal is for, as it stands. `awaits` is a JSON list or None."""

    id: str
    status: str
    queue: str
    awaits: str | None


def news_of(
    child: str,
    parent: str,
    status: str,
    result: str | None,
    error: str | None,
    attempt: int,
    duration_s: float | None,
) -> Signal:
    """The signal that tells a workflow that a child of its has ended. One for each child: it has the child's id."""
    took = "null" if duration_s is None else repr(duration_s)
    payload = (
        f'{{"status":"{status}","result":{result or "null"},"error":{error or "null"},"attempt":{attempt},'
        f'"duration_s":{took}}}'
    )
    signal = Signal(child, f"{CHILD}{child}", payload)
    signal.instance = parent
    return signal


def deliverable(batch: Sequence[Signal], targets: Mapping[int, Target]) -> list[int]:
    """The places in the batch of signals whose target lives."""
    return [n for n in range(len(batch)) if n in targets and targets[n].status not in FINAL]


def woken(batch: Sequence[Signal], targets: Mapping[int, Target], stored: Collection[str]) -> dict[str, str]:
    """Of the targets of stored signals, those that wait for them: id to the signal that woke it."""
    found: dict[str, str] = {}
    for n, signal in enumerate(batch):
        if signal.id in stored:
            target = targets[n]
            if target.status == WAITING and target.awaits and signal.name in msgspec.json.decode(target.awaits):
                found.setdefault(target.id, signal.id)
    return found


def receipts(
    batch: Sequence[Signal],
    targets: Mapping[int, Target],
    stored: Collection[str],
    wakers: Mapping[str, str],
    known_keys: Collection[str],
) -> list[Receipt]:
    """What became of each signal, in order. `known_keys` are correlation keys of which an instance has ended."""
    made: list[Receipt] = []
    told: set[str] = set()
    for n, signal in enumerate(batch):
        target = targets.get(n)
        if target is None:
            made.append(Receipt(signal.id, "ended" if signal.key in known_keys else "no_target", None, None))
        elif target.status in FINAL:
            made.append(Receipt(signal.id, "ended", target.id, None))
        else:
            passed = (target.status, target.queue) if target.status in _ABOUT_TO_RUN else None
            if signal.id not in stored or signal.id in told:
                made.append(Receipt(signal.id, "duplicate", target.id, None, passed))
                continue
            told.add(signal.id)
            queue = target.queue if wakers.get(target.id) == signal.id else None
            made.append(Receipt(signal.id, "delivered", target.id, queue, passed))
    return made
