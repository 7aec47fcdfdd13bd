"""What a person is asked, and whether an answer fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

from outlast.config import checked_name, shown
from outlast.config.values import one_of
from outlast.errors import ConfigError, InvalidAnswer

Kind = Literal["text", "approval", "choice", "choices", "form"]
FieldKind = Literal["text", "integer", "number", "boolean", "date", "select", "multi_select"]
KINDS: Final = ("text", "approval", "choice", "choices", "form")
FIELD_KINDS: Final = ("text", "integer", "number", "boolean", "date", "select", "multi_select")
APPROVED: Final = "approved"
REJECTED: Final = "rejected"
_TOLD_MAX: Final = 10
"""Problems that a refusal spells out; all of them are in its `problems`."""
_NAME_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form.

    Attributes:
        name: Its key in the answer.
        type: `text`, `integer`, `number`, `boolean`, `date` (ISO 8601), `select` or `multi_select`.
        label: What people read; the name by default.
        required: Whether it must be there.
        options: What a select can be.
        max_length: Characters of a text at most.
        minimum, maximum: Bounds of a number.
    """

    name: str
    type: FieldKind = "text"
    label: str | None = None
    required: bool = True
    options: Sequence[str] = ()
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        checked_name(self.name, what="a field's name")
        one_of("type", self.type, FIELD_KINDS)
        if self.type in ("select", "multi_select") and not self.options:
            raise ConfigError(f"field {self.name!r} is a {self.type} and needs options")


def request_of(
    name: str,
    kind: Kind,
    prompt: str | None,
    fields: Sequence[Field],
    choices: Sequence[str],
    max_length: int | None,
    metadata: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What is asked, as plain data. Raises: ConfigError."""
    checked_name(name, what="an input's name")
    one_of("type", kind, KINDS)
    if kind in ("choice", "choices") and (not choices or len(set(choices)) < len(choices)):
        raise ConfigError(f"input {name!r} needs different choices, not {list(choices)!r}")
    if kind == "form" and (not fields or len({field.name for field in fields}) < len(fields)):
        raise ConfigError(f"input {name!r} needs fields with different names")
    told = [
        {
            "name": field.name,
            "type": field.type,
            "label": field.label or field.name,
            "required": field.required,
            "options": list(field.options),
            "max_length": field.max_length,
            "minimum": field.minimum,
            "maximum": field.maximum,
        }
        for field in fields
    ]
    return {
        "name": name,
        "type": kind,
        "prompt": prompt,
        "fields": told,
        "choices": list(choices),
        "max_length": max_length,
        "metadata": dict(metadata or {}),
    }


def checked_answer(request: Mapping[str, Any], answer: Any) -> Any:
    """The answer in its one form. Raises: InvalidAnswer, naming each field and what it should be."""
    name = request.get("name")
    match request.get("type"):
        case "approval":
            if answer in (True, APPROVED):
                return APPROVED
            if answer in (False, REJECTED):
                return REJECTED
            problems = {"": f"true, false, {APPROVED!r} or {REJECTED!r} was expected, not {shown(answer)}"}
        case "choice":
            problems = _chosen(request, [answer] if isinstance(answer, str) else answer, one=True)
            answer = answer[0] if isinstance(answer, list) and not problems else answer
        case "choices":
            problems = _chosen(request, answer, one=False)
        case "form":
            problems = _filled(request, answer)
        case _:
            problems = _texted(request, answer)
    if problems:
        told = "; ".join(
            f"{field}: {problem}" if field else problem for field, problem in list(problems.items())[:_TOLD_MAX]
        )
        told += f"; and {len(problems) - _TOLD_MAX:,} more" if len(problems) > _TOLD_MAX else ""
        raise InvalidAnswer(f"the answer to {name!r} does not fit: {told}", problems)
    return answer


def called_off(reason: str) -> list[dict[str, str]]:
    """What is sent in place of an answer when a request is called off: no kind of request has such an answer."""
    return [{"cancelled": reason}]


def reason_of(answer: Any) -> str | None:
    """Why a request was called off, if that is what came in place of its answer; else None."""
    match answer:
        case [{"cancelled": str(reason)}]:
            return reason
    return None


def _chosen(request: Mapping[str, Any], answer: Any, *, one: bool) -> dict[str, str]:
    choices = request["choices"]
    if not isinstance(answer, list) or not all(each in choices for each in answer) or (one and len(answer) != 1):
        return {"": f"{'one' if one else 'some'} of {', '.join(map(repr, choices))} was expected, not {shown(answer)}"}
    return {}


def _texted(request: Mapping[str, Any], answer: Any) -> dict[str, str]:
    most = request.get("max_length")
    if not isinstance(answer, str):
        return {"": f"text was expected, not {shown(answer)}"}
    return {"": f"it has {len(answer):,} characters; at most {most:,} may be"} if most and len(answer) > most else {}


def _filled(request: Mapping[str, Any], answer: Any) -> dict[str, str]:
    if not isinstance(answer, Mapping):
        return {"": f"an object with the form's fields was expected, not {shown(answer)}"}
    fields = {field["name"]: field for field in request["fields"]}
    problems = {_key(name): "there is no such field" for name in answer if name not in fields}
    for name, field in fields.items():
        if (value := answer.get(name)) is None:
            if field["required"]:
                problems[name] = "it is missing"
        elif problem := _misfit(field, value):
            problems[name] = problem
    return problems


def _key(name: object) -> str:
    """The name of a field that there is not, as it is told: never long."""
    return name if isinstance(name, str) and len(name) <= _NAME_CHARS_MAX else shown(name)


def _misfit(field: Mapping[str, Any], value: Any) -> str | None:
    kind, options = field["type"], field["options"]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "text":
        if not isinstance(value, str):
            return f"text was expected, not {shown(value)}"
        most = field["max_length"]
        return f"it has {len(value):,} characters; at most {most:,} may be" if most and len(value) > most else None
    if kind in ("integer", "number"):
        if not is_number or (kind == "integer" and isinstance(value, float) and not value.is_integer()):
            return f"a{' whole' if kind == 'integer' else ''} number was expected, not {shown(value)}"
        if field["minimum"] is not None and value < field["minimum"]:
            return f"at least {field['minimum']:g} was expected, not {shown(value)}"
        over = field["maximum"] is not None and value > field["maximum"]
        return f"at most {field['maximum']:g} was expected, not {shown(value)}" if over else None
    if kind == "boolean":
        return None if isinstance(value, bool) else f"true or false was expected, not {shown(value)}"
    if kind == "date":
        return None if _is_date(value) else f"a date such as 2026-12-31 was expected, not {shown(value)}"
    chosen = value if kind == "multi_select" else [value]
    fits = isinstance(chosen, list) and all(each in options for each in chosen)
    return None if fits else f"one of {', '.join(map(repr, options))} was expected, not {shown(value)}"


def _is_date(value: Any) -> bool:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True
