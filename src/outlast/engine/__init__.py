"""The engine, from outside: `Engine` and the `Handle` of an instance."""

from outlast._runtime.events import Listener
from outlast.engine.checks import PAGE_MAX
from outlast.engine.engine import Engine, OnConflict
from outlast.engine.handles import Handle, SignalResult
from outlast.engine.life import Runnable
from outlast.engine.messages import Target

__all__ = ["PAGE_MAX", "Engine", "Handle", "Listener", "OnConflict", "Runnable", "SignalResult", "Target"]
