"""What the handler of an alarm may know of its alarm."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from outlast._model import AlarmRow
from outlast._world import instant


@dataclass(frozen=True, slots=True)
class AlarmContext:
    """What the handler of an alarm may know of its alarm; ask for it with a parameter named `ctx`.

    Attributes:
        name: The alarm's name.
        attempt: Failed attempts so far; 0 on the first run. One that died with its process is not among them.
        due_at: When this run of it was due, an aware instant in UTC; after a failure, when it was to be tried again.
    """

    name: str
    attempt: int
    due_at: datetime


def ringing_context(alarm: AlarmRow) -> AlarmContext:
    """What an alarm that rings tells its handler."""
    return AlarmContext(alarm.name, alarm.attempt, instant(alarm.due_us or 0))
