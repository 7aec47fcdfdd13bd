"""The rows that travel between floors. Plain data: nothing here decides anything."""

from outlast._model.messages import (
    Beat,
    Due,
    Ended,
    Held,
    Letter,
    RateRow,
    Receipt,
    Reclaimed,
    Signal,
    Stopped,
    StoredSignal,
)
from outlast._model.views import OVERDUE_S, Filter, Instance, Node, Progress, QueueCounts, ReadyProgram, Row, Standing
from outlast._model.work import Claim, Committed, Denied, Entry, NewInstance, Note, Settlement, Taken

__all__ = [
    "OVERDUE_S",
    "Beat",
    "Claim",
    "Committed",
    "Denied",
    "Due",
    "Ended",
    "Entry",
    "Filter",
    "Held",
    "Instance",
    "Letter",
    "NewInstance",
    "Node",
    "Note",
    "Progress",
    "QueueCounts",
    "RateRow",
    "ReadyProgram",
    "Receipt",
    "Reclaimed",
    "Row",
    "Settlement",
    "Signal",
    "Standing",
    "Stopped",
    "StoredSignal",
    "Taken",
]
