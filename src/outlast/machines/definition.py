"""What a machine's class body says: its steps and its upgrades, found and checked when the class is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar

from outlast._kernel.marks import mark_step
from outlast.config import shown
from outlast.errors import DefinitionError

F = TypeVar("F", bound=Callable[..., Any])

RESERVED: Final = frozenset({"on_error", "outlast_program", "start_request", "state"})
"""Names that a step cannot have."""


def upgrade(*, from_version: int) -> Callable[[F], F]:
    """Marks a function `(state: dict) -> dict` in a machine's or an object's body: it makes state of one version fit
    the next.

    Instances and objects of that version are then run by this class; upgrades follow one another up to its version.

    Raises: DefinitionError.
    """
    if not isinstance(from_version, int) or isinstance(from_version, bool) or from_version < 1:
        raise DefinitionError(f"from_version must be a whole number from 1, not {shown(from_version)}")

    def mark(function: F) -> F:
        plain: Any = function.__func__ if isinstance(function, staticmethod) else function
        if not inspect.isfunction(plain):
            raise DefinitionError(f"@upgrade goes on a function, not on {function!r}")
        plain.outlast_upgrade = from_version  # type: ignore[attr-defined]
        return staticmethod(plain)  # type: ignore[return-value]

    return mark


def steps_of(cls: type, name: str) -> dict[str, Callable[..., Any]]:
    """The steps of a class, those of its bases included, by name. Raises: DefinitionError."""
    steps: dict[str, Callable[..., Any]] = {}
    for attribute in dir(cls):
        function = inspect.getattr_static(cls, attribute)
        if isinstance(getattr(function, "outlast_step_name", None), str):  # decorated outside of the class's body.
            function = mark_step(function.function)
            setattr(cls, attribute, function)
        if not isinstance(getattr(function, "outlast_step", None), str):
            continue
        if attribute in RESERVED:
            raise DefinitionError(f"machine {name!r}: a step cannot be called {attribute!r}")
        try:
            inspect.signature(function).bind(None, None)
        except TypeError:
            raise DefinitionError(f"machine {name!r}: step {attribute!r} must take (self, ctx)") from None
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DefinitionError(f"machine {name!r}: step {attribute!r} must return, not yield")
        steps[attribute] = function
    if not steps:
        raise DefinitionError(f"machine {name!r} has no step: mark methods with @step")
    return steps


def upgrades_of(cls: type, name: str, version: int) -> dict[int, Callable[[Any], Any]]:
    """The upgrades that a class itself holds, by the version they begin from. Raises: DefinitionError."""
    found: dict[int, Callable[[Any], Any]] = {}
    for attribute in vars(cls).values():
        plain = attribute.__func__ if isinstance(attribute, staticmethod) else attribute
        since = getattr(plain, "outlast_upgrade", None)
        if not isinstance(since, int):
            continue
        if since in found or since >= version:
            raise DefinitionError(
                f"machine {name!r} version {version}: an upgrade from version {since} "
                + ("is written twice" if since in found else "leads nowhere")
            )
        found[since] = plain
    if found and sorted(found) != list(range(min(found), version)):
        raise DefinitionError(f"machine {name!r}: upgrades must follow one another up to version {version}")
    return found
