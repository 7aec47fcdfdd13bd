"""From a recorded error to an exception that is also of the class that was raised, where this process knows it."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any


@cache
def heir_of(base: type[Exception], name: str) -> type[Exception] | None:
    """A class that is `base` and the exception class recorded under `name`, or None where that cannot be."""
    found = _find(name)
    if found is None:
        return None
    if issubclass(found, base):
        return found
    try:
        made = type(f"{found.__name__}", (base, found), {"__module__": found.__module__})
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
