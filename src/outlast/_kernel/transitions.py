"""Transitions read from a machine's source, so that one to a missing step is found when the class is made."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Final

_OUTCOMES: Final = {"Next": ("step", 0), "Await": ("then", 1), "Spawn": ("then", 1)}
"""Outcomes that name a step: the keyword, and the place among the positional arguments."""


def named_steps(cls: type) -> set[str]:
    """The step names that appear as text in outcomes within a class's source; empty where there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found |= _named_in(node)
    return found


def _named_in(call: ast.Call) -> set[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in _OUTCOMES:
        return set()
    keyword, place = _OUTCOMES[name]
    values = [item.value for item in call.keywords if item.arg == keyword]
    values += call.args[place : place + 1]
    return {value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)}
