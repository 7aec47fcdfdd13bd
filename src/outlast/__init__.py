"""Outlast: durable jobs and machines for Python, on SQLite or Postgres, with nothing else to run.

A step is the unit of durability. When a step's result is acknowledged, it is in the database; a crash before that
runs the step again.
"""

from outlast import errors
from outlast._kernel import backoff
from outlast._kernel.outcomes import Await, Cancel, Child, Done, Next, Retry, Spawn, Stop
from outlast._model import Instance, Node, Progress, QueueCounts, StoredSignal
from outlast.config import Queue, days, hours, minutes, seconds
from outlast.engine import Engine, Handle
from outlast.errors import (
    ChildrenFailed,
    DuplicateKey,
    InstanceCancelled,
    InstanceFailed,
    OutlastError,
    ResultTimeout,
)
from outlast.jobs import Context, Job, job
from outlast.machines import Children, ChildResult, Machine, ReceivedSignal, StepContext, step, upgrade

__version__ = "0.1.0.dev0"

__all__ = [
    "Await",
    "Cancel",
    "Child",
    "ChildResult",
    "Children",
    "ChildrenFailed",
    "Context",
    "Done",
    "DuplicateKey",
    "Engine",
    "Handle",
    "Instance",
    "InstanceCancelled",
    "InstanceFailed",
    "Job",
    "Machine",
    "Next",
    "Node",
    "OutlastError",
    "Progress",
    "Queue",
    "QueueCounts",
    "ReceivedSignal",
    "ResultTimeout",
    "Retry",
    "Spawn",
    "StepContext",
    "Stop",
    "StoredSignal",
    "backoff",
    "days",
    "errors",
    "hours",
    "job",
    "minutes",
    "seconds",
    "step",
    "upgrade",
]
