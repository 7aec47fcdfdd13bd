"""The bugs."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Final

from planted.bug import Bug

BUGS: Final[tuple[Bug, ...]] = tuple(
    bug
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda each: each.name)
    for bug in importlib.import_module(f"{__name__}.{found.name}").BUGS
)
"""All, by the modules they stand in."""
