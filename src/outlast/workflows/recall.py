"""From what the journal holds to what a workflow's code gets: results, and errors of the class that was raised."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from outlast._kernel.failures import read_error
from outlast.errors import StepFailed


def failure_of(step: str, text: str | None) -> StepFailed:
    """The recorded error of a step, as an exception that is also of the class that was raised, if it is known here."""
    error = read_error(text) or {"type": "unknown", "message": "", "traceback": ""}
    name = str(error.get("type", ""))
    message = f"step {step!r} failed: {name}: {error.get('message', '')}"
    kind = _both(name)
    if kind is not None:
        try:
            made: StepFailed = kind.__new__(kind, message)
            StepFailed.__init__(made, message, step=step, error=error)
        except Exception:  # a class with ideas of its own: its heirs cannot be made like this.
            pass
        else:
            return made
    return StepFailed(message, step=step, error=error)


@cache
def _both(name: str) -> type[StepFailed] | None:
    """A class that is `StepFailed` and the exception class of this name, or None where that cannot be."""
    found = _find(name)
    if found is None:
        return None
    if issubclass(found, StepFailed):
        return found
    try:
        made = type(f"{found.__name__}", (StepFailed, found), {"__module__": found.__module__})
        made.__new__(made, "")
    except Exception:  # two classes with layouts of their own, or one that wants no heirs.
        return None
    return made


def _find(name: str) -> type[Exception] | None:
    """The exception class that was recorded under this name; only what is loaded already is looked at."""
    module_name, _, rest = name.rpartition(".")
    while True:
        module: Any = sys.modules.get(module_name or "builtins")
        if module is not None:
            break
        module_name, _, part = module_name.rpartition(".")
        rest = f"{part}.{rest}"
        if not module_name:
            return None
    found: Any = module
    for part in rest.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else None
