"""Outlast: durable jobs, machines and workflows for Python, on SQLite or Postgres, with nothing else to run.

A step is the unit of durability. When a step's result is acknowledged, it is in the database; a crash before that
runs the step again.
"""

from outlast import errors
from outlast._kernel import backoff
from outlast._kernel.cron import Cron
from outlast._kernel.forms import Field
from outlast._kernel.outcomes import Await, Cancel, Child, Done, Next, Retry, Spawn, Stop
from outlast._model import Instance, Node, Progress, QueueCounts
from outlast.config import Queue, RateLimit, days, hours, minutes, seconds
from outlast.engine import Engine, Handle
from outlast.errors import (
    DuplicateKey,
    InstanceCancelled,
    InstanceFailed,
    OutlastError,
    ResultTimeout,
)
from outlast.jobs import Context, Job, job
from outlast.machines import Machine, StepContext, upgrade
from outlast.objects import AlarmContext, Object, alarm, handler
from outlast.workflows import (
    TIMEOUT,
    call_child,
    current_step,
    each,
    parallel,
    report_progress,
    set_tags,
    sleep,
    sleep_until,
    start_child,
    step,
    wait_for_all,
    wait_for_any,
    wait_for_approval,
    wait_for_choice,
    wait_for_form,
    wait_for_input,
    wait_for_signal,
    wait_for_text,
    workflow,
)

__version__ = "0.1.0.dev0"

__all__ = [
    "TIMEOUT",
    "AlarmContext",
    "Await",
    "Cancel",
    "Child",
    "Context",
    "Cron",
    "Done",
    "DuplicateKey",
    "Engine",
    "Field",
    "Handle",
    "Instance",
    "InstanceCancelled",
    "InstanceFailed",
    "Job",
    "Machine",
    "Next",
    "Node",
    "Object",
    "OutlastError",
    "Progress",
    "Queue",
    "QueueCounts",
    "RateLimit",
    "ResultTimeout",
    "Retry",
    "Spawn",
    "StepContext",
    "Stop",
    "alarm",
    "backoff",
    "call_child",
    "current_step",
    "days",
    "each",
    "errors",
    "handler",
    "hours",
    "job",
    "minutes",
    "parallel",
    "report_progress",
    "seconds",
    "set_tags",
    "sleep",
    "sleep_until",
    "start_child",
    "step",
    "upgrade",
    "wait_for_all",
    "wait_for_any",
    "wait_for_approval",
    "wait_for_choice",
    "wait_for_form",
    "wait_for_input",
    "wait_for_signal",
    "wait_for_text",
    "workflow",
]
