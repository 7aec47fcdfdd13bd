"""What stands in for a handler that cannot be run, and what comes back from one that ran elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from outlast._kernel.failures import read_error
from outlast._kernel.objects import BUILT_IN, Handling, ObjectType
from outlast._kernel.raised import heir_of
from outlast._model import AlarmRow, ObjectKey, WaitingCall
from outlast._runtime.objects.items import Item
from outlast.errors import HandlerFailed


class Unknown:
    """Stands in for a handler that the object's class does not have."""

    read_only = is_async = True

    def __init__(self, type: str, name: str) -> None:
        self.name = name
        self._error: Exception = AttributeError(f"{type} has no handler or alarm {name!r} in this process")

    def read_args(self, text: str) -> Mapping[str, Any]:
        return {}

    def write_args(self, args: Mapping[str, Any]) -> str:
        return "{}"

    def write_result(self, value: Any) -> str:
        return "null"

    def read_result(self, text: str) -> Any:
        return None

    def copy_result(self, value: Any) -> Any:
        return None

    def function(self, instance: object) -> Any:
        """What a body calls."""
        raise self._error


class Unreadable(Unknown):
    """Stands in for a handler whose arguments cannot be read."""

    def __init__(self, name: str, error: Exception) -> None:
        self.name = name
        self._error = error


def call_item(kind: ObjectType, call: WaitingCall, seen: int, now: float) -> Item:
    """A stored call as its object takes it."""
    handling: Handling | None = None
    args: Mapping[str, Any] = {}
    if not call.handler.startswith(BUILT_IN):
        handling = kind.handling(call.handler) or Unknown(kind.name, call.handler)
        try:
            args = handling.read_args(call.args)
        except Exception as error:
            handling = Unreadable(call.handler, error)
    until = float("inf") if call.left_s is None else now + call.left_s
    return Item(call.handler, handling, args, call=call, chain=read_chain(call.chain), seen=seen, until=until)


def alarm_item(kind: ObjectType, alarm: AlarmRow, seen: int) -> Item:
    """An alarm as its object takes it."""
    handling: Handling | None = kind.ringing(alarm.name)
    args = {} if handling is None else kind.alarm_args(alarm)
    return Item(alarm.name, handling or Unknown(kind.name, alarm.name), args, alarm=alarm, seen=seen)


def what(where: ObjectKey, name: str, happened: bool | None) -> dict[str, Any]:
    return {"type": where[0], "id": where[1], "handler": name, "happened": happened}


def path_of(chain: tuple[ObjectKey, ...]) -> str:
    return " -> ".join(f"{type} {id!r}" for type, id in chain)


def raised(where: ObjectKey, name: str, text: str) -> HandlerFailed:
    """What a handler raised elsewhere, also as an exception of its class where it is known here."""
    error = read_error(text) or {}
    message = f"{error.get('type', '')}: {error.get('message', '')} (in {where[0]}.{name} of {where[1]!r})"
    made = HandlerFailed(message, **what(where, name, False))
    kind = heir_of(HandlerFailed, str(error.get("type", "")))
    if kind is not None:
        try:
            heir: Any = kind.__new__(kind, message)
            HandlerFailed.__init__(heir, message, **what(where, name, False))
            made = heir
        except Exception:  # a class with ideas of its own: its heirs cannot be made like this.
            pass
    made.error = error
    return made


def chain_text(chain: tuple[ObjectKey, ...]) -> str:
    return "[]" if not chain else msgspec.json.encode(chain).decode()


def read_chain(text: str) -> tuple[ObjectKey, ...]:
    return () if text == "[]" else msgspec.json.decode(text, type=tuple[tuple[str, str], ...])
