"""The words on a box, from the literals in the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from outlast.graphs.graph import NodeKind
from outlast.graphs.reading.source import Source, shorten

_UNITS: Final = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds")
_WAITS: Final[dict[str, tuple[NodeKind, str]]] = {
    "wait_for_signal": ("wait", "wait for signal"),
    "wait_for_any": ("wait", "wait for any of"),
    "wait_for_all": ("wait", "wait for all of"),
    "wait_for_input": ("input", "ask for input"),
    "wait_for_approval": ("input", "ask for approval"),
    "wait_for_choice": ("input", "ask for a choice"),
    "wait_for_text": ("input", "ask for text"),
    "wait_for_form": ("input", "ask for a form"),
}


def is_wait(primitive: str) -> bool:
    """It parks the workflow until something comes from outside."""
    return primitive in _WAITS


def wait_words(primitive: str, call: ast.Call, source: Source) -> tuple[NodeKind, str, str, str]:
    """Kind, name for the id, label and detail of a wait."""
    kind, verb = _WAITS[primitive]
    names = list(_literal_names(primitive, call))
    shown = ", ".join(f'"{name}"' for name in names) or _first_text(call, source)
    timeout = duration(_keyword(call, "timeout"))
    return kind, "+".join(names) or primitive, f"{verb} {shown}".strip(), f"timeout {timeout}" if timeout else ""


def sleep_words(primitive: str, call: ast.Call, source: Source) -> tuple[str, str]:
    """Name for the id, and label, of a sleep."""
    first = call.args[0] if call.args else next((one.value for one in call.keywords), None)
    if primitive == "sleep_until":
        return primitive, f"sleep until {_first_text(call, source)}".strip()
    return primitive, f"sleep {duration(first) or _first_text(call, source)}".strip()


def duration(value: ast.expr | None) -> str:
    """A literal duration in words: `days(7)` is "7 days". Empty: it is no literal."""
    if (number := _number(value)) is not None:
        return f"{number} s"
    if not isinstance(value, ast.Call):
        return ""
    unit = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    if unit == "timedelta" and not value.args:
        parts = [_amount(one.value, one.arg or "") for one in value.keywords]
    elif len(value.args) == 1 and not value.keywords:
        parts = [_amount(value.args[0], unit)]
    else:
        return ""
    return " ".join(parts) if all(parts) else ""


def _amount(value: ast.expr, unit: str) -> str:
    number = _number(value)
    if unit not in _UNITS or number is None:
        return ""
    return f"{number} {unit[:-1] if number == 1 else unit}"


def _number(value: ast.expr | None) -> float | None:
    if isinstance(value, ast.Constant) and isinstance(value.value, int | float) and not isinstance(value.value, bool):
        return value.value
    return None


def _literal_names(primitive: str, call: ast.Call) -> Iterator[str]:
    # Only these two take several names; further arguments of the others are choices and the like.
    names = call.args if primitive in ("wait_for_any", "wait_for_all") else call.args[:1]
    given = [*names, _keyword(call, "name"), _keyword(call, "names")]
    for value in given:
        for one in value.elts if isinstance(value, ast.List | ast.Tuple | ast.Set) else [value]:
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                yield shorten(one.value)


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((one.value for one in call.keywords if one.arg == name), None)


def _first_text(call: ast.Call, source: Source) -> str:
    return source.text(call.args[0], 40) if call.args else ""
