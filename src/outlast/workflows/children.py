"""Child workflows (and jobs, and machines): called and waited for, or started and left alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar, Unpack

from outlast._codec import decode_any, encode
from outlast._kernel.requests import Startable, Starting, start_options
from outlast._model import Letter, NewInstance
from outlast.config import shown
from outlast.errors import ChildFailed, WorkflowError
from outlast.workflows.waiting import LATE, TIMEOUT, SignalWait, flow_for, timeout_s

R = TypeVar("R")
ENDED = "~child:"
"""What the names of signals begin with that tell of a child's end; its id follows."""


class ChildWait(SignalWait):
    """For the end of a child.

    Attributes:
        child: Its id.
    """

    kind = "child"

    def __init__(self, key: str, child: str, program: str, timeout: float | None, default: Any, read: Any) -> None:
        super().__init__(key, [f"{ENDED}{child}"], timeout, default)
        self.child = child
        self._program = program
        self._read = read

    def shown(self) -> str | None:
        """Who it is."""
        return encode({"id": self.child, "program": self._program}, what="a child")

    def match(self, inbox: Sequence[Letter]) -> tuple[Any, list[str]] | None:
        """How it ended."""
        for letter in inbox:
            if letter.name in self.names:
                told = decode_any(letter.payload)
                news = {name: told[name] for name in ("status", "result", "error")}
                return {"id": self.child, "program": self._program, **news}, [letter.id]
        return None

    def late(self) -> Any:
        """That it had not ended in time."""
        return {"id": self.child, "program": self._program, **LATE}

    def recall(self, recorded: Any) -> Any:
        """Its result. Raises: ChildFailed."""
        if "status" not in recorded:
            return self.default
        if recorded["status"] == "done":
            return self._read(encode(recorded["result"], what="a child's result"))
        error = recorded["error"] or {}
        raise ChildFailed(
            f"child {self._program!r} ({self.child}) ended as {recorded['status']!r}: "
            f"{error.get('type', '')}: {error.get('message', '')}",
            id=self.child,
            status=recorded["status"],
            error=error,
        )


async def call_child(
    what: Startable[R],
    *,
    timeout: float | timedelta | None = None,
    default: Any = TIMEOUT,
    **options: Unpack[Starting],
) -> R:
    """Starts a workflow, a job or a machine as a child, waits for its end and returns its result.

    Args:
        what: Described by `.new(...)`, or a machine.
        timeout: Seconds to wait at most; then the child is cancelled, with its own children.
        default: What to return then; `TIMEOUT`, which is false, by default.
        options: As for `engine.start`.

    Raises: ChildFailed: it did not end well. ConfigError. WorkflowError: not in a workflow's own code.
    """
    flow = flow_for("call_child")
    request, chosen = _request(what), start_options(**options)
    key = flow.key(f"child:{request.program.name}")
    child, row = flow.child(key, request, chosen)
    wait = ChildWait(key, child, request.program.name, timeout_s(timeout), default, request.read_result)
    result: R = await flow.wait(wait, started=row)
    return result


async def start_child(what: Startable[Any], **options: Unpack[Starting]) -> str:
    """Starts a child and goes on. Returns its id; `engine.handle(id)` and `engine.children(parent)` find it later.

    It runs on when this workflow ends; `engine.cancel(id, tree=True)` ends it with its parent.
    """
    flow = flow_for("start_child")
    request, chosen = _request(what), start_options(**options)
    key = flow.key(f"child:{request.program.name}")
    id: str = await flow.start_child(key, request, chosen)
    return id


def _request(what: Any) -> Any:
    if isinstance(what, type) or not hasattr(what, "start_request"):
        raise WorkflowError(f"a child is described by .new(...), or is a machine such as Mine(x=1), not {shown(what)}")
    return what.start_request()


def started_as(id: str, program: str) -> str:
    """What is recorded of a child that nobody waits for, as JSON text."""
    return encode({"id": id, "program": program}, what="a child")


Started = NewInstance | None

for _primitive in (call_child, start_child):
    setattr(_primitive, "outlast_primitive", _primitive.__name__)  # noqa: B010
