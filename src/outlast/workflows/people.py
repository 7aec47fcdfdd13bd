"""Waiting for people: an answer that is asked for by name, checked, and tied to the one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from outlast._codec import decode_any, encode
from outlast._kernel.forms import Field, Kind, reason_of, request_of
from outlast._model import Letter
from outlast.config.values import one_of
from outlast.errors import InputCancelled, WorkflowTimeout
from outlast.workflows.waiting import LATE, TIMEOUT, SignalWait, flow_for, timeout_s

ANSWER = "~answer:"
"""What the names of signals begin with that bring answers; the request's key follows."""
OnTimeout = Literal["resume", "fail"]


class InputWait(SignalWait):
    """For an answer."""

    kind = "input"

    def __init__(self, key: str, request: Mapping[str, Any], timeout: float | None, default: Any, fails: bool) -> None:
        super().__init__(key, [f"{ANSWER}{key}"], timeout, default)
        self.request = request
        self._fails = fails

    def shown(self) -> str | None:
        """What is asked."""
        return encode(self.request, what=f"input {self.request['name']!r}")

    def match(self, inbox: Sequence[Letter]) -> tuple[Any, list[str]] | None:
        """The answer."""
        for letter in inbox:
            if letter.name in self.names:
                answer = decode_any(letter.payload)
                reason = reason_of(answer)
                came = {"answer": answer} if reason is None else {"cancelled": reason}
                return {**self.request, **came}, [letter.id]
        return None

    def late(self) -> Any:
        """That nobody answered in time."""
        return {**self.request, **LATE}

    def recall(self, recorded: Any) -> Any:
        """The answer. Raises: InputCancelled. WorkflowTimeout: nobody answered in time, and that is to fail."""
        if "answer" in recorded:
            return recorded["answer"]
        if "cancelled" in recorded:
            raise InputCancelled(self.request["name"], recorded["cancelled"])
        if self._fails:
            raise WorkflowTimeout(f"nobody answered {self.request['name']!r} in time")
        return self.default


async def wait_for_input(
    name: str,
    *,
    type: Kind = "text",
    prompt: str | None = None,
    fields: Sequence[Field] = (),
    choices: Sequence[str] = (),
    max_length: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    timeout: float | timedelta | None = None,
    default: Any = TIMEOUT,
    on_timeout: OnTimeout = "resume",
) -> Any:
    """Waits for a person's answer: `engine.provide_input(id, name, answer)`. `engine.pending_inputs()` lists requests.

    Args:
        name: What the answer is given for; one at a time in an instance.
        type: `text`, `approval` ("approved" or "rejected"), `choice` (one of `choices`), `choices` (a list of some), or
            `form` (an object with `fields`). An answer that does not fit is refused where it is given.
        prompt: What people read.
        metadata: Plain data for whoever shows the request.
        max_length: Characters of a text at most.
        timeout: Seconds to wait at most; None: for ever.
        default: What to return when that time is up and `on_timeout` is "resume".
        on_timeout: "resume", or "fail": raise WorkflowTimeout.

    Raises: ConfigError. InputCancelled: it was called off. WorkflowError: not in a workflow's own code; an input of
        this name is waited for already.
    """
    flow = flow_for("wait_for_input")
    one_of("on_timeout", on_timeout, ("resume", "fail"))
    request = request_of(name, type, prompt, fields, choices, max_length, metadata)
    key = flow.key(f"input:{name}")
    flow.refuse_second_input(name)
    return await flow.wait(InputWait(key, request, timeout_s(timeout), default, on_timeout == "fail"))


async def wait_for_approval(name: str, *, prompt: str | None = None, **options: Any) -> Any:
    """Waits for "approved" or "rejected". Options are those of `wait_for_input`."""
    return await wait_for_input(name, type="approval", prompt=prompt, **options)


async def wait_for_choice(name: str, choices: Sequence[str], *, multiple: bool = False, **options: Any) -> Any:
    """Waits for one of the choices, or with `multiple` for a list of some. Options are those of `wait_for_input`."""
    return await wait_for_input(name, type="choices" if multiple else "choice", choices=choices, **options)


async def wait_for_text(name: str, *, max_length: int | None = None, **options: Any) -> Any:
    """Waits for a text. Options are those of `wait_for_input`."""
    return await wait_for_input(name, type="text", max_length=max_length, **options)


async def wait_for_form(name: str, fields: Sequence[Field], **options: Any) -> Any:
    """Waits for a form to be filled in: an object by the fields' names. Options are those of `wait_for_input`."""
    return await wait_for_input(name, type="form", fields=fields, **options)


for _primitive in (wait_for_input, wait_for_approval, wait_for_choice, wait_for_text, wait_for_form):
    setattr(_primitive, "outlast_primitive", _primitive.__name__)  # noqa: B010
