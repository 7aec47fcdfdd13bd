"""How methods are marked as steps of a machine."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from outlast.errors import DefinitionError

F = TypeVar("F", bound=Callable[..., Any])


def mark_step(function: F) -> F:
    """Marks a method as a step. Raises: DefinitionError."""
    if not inspect.isfunction(function):
        raise DefinitionError(f"@step goes on a function or a machine's method, not on {function!r}")
    function.outlast_step = function.__name__  # type: ignore[attr-defined]
    return function


def is_method(function: object) -> bool:
    """Whether a function is defined in the body of a class, or for one: it takes `self`, or something and `ctx`."""
    outer, _, _ = getattr(function, "__qualname__", "").rpartition(".")
    if outer and not outer.endswith("<locals>"):
        return True
    code = getattr(function, "__code__", None)
    names = () if code is None else code.co_varnames[: code.co_argcount]
    return names[:1] == ("self",) or names[1:2] == ("ctx",)
