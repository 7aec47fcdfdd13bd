"""The engine, from outside: `Engine` and the `Handle` of an instance."""

from outlast._model import Act, Schedule
from outlast._runtime.events import Listener
from outlast.engine.checks import PAGE_MAX
from outlast.engine.definitions import ScheduleChanges
from outlast.engine.engine import Engine, OnConflict
from outlast.engine.handles import Changes, Handle, SignalResult
from outlast.engine.life import Runnable
from outlast.engine.messages import Target
from outlast.engine.objects import ALARMS_MAX, ObjectCounts, ObjectInfo, kind_of
from outlast.engine.schedules import ONE_DAY
from outlast.engine.searches import By, Filters

__all__ = [
    "ALARMS_MAX",
    "ONE_DAY",
    "PAGE_MAX",
    "Act",
    "By",
    "Changes",
    "Engine",
    "Filters",
    "Handle",
    "Listener",
    "ObjectCounts",
    "ObjectInfo",
    "OnConflict",
    "Runnable",
    "Schedule",
    "ScheduleChanges",
    "SignalResult",
    "Target",
    "kind_of",
]
