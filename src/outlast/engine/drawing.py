"""From what a run has recorded to what became of the boxes of its workflow's drawing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from outlast._kernel.states import DONE, FINAL
from outlast._model import Instance, RecordedStep
from outlast.graphs import Graph, RunState, Status, with_run

_WAITS = ("signal", "any", "all")


def drawn_run(graph: Graph, instance: Instance, steps: Sequence[RecordedStep]) -> Graph:
    """The drawing with a run on it.

    A box stands for a call in the code, a record for a call that was made. Where several boxes have one name, the first
    call in a branch belongs to the first of them, and so on; what there are more calls of than boxes, to the last.
    """
    boxes: dict[str, list[str]] = {}
    for node in graph.nodes:
        boxes.setdefault(_label_of_box(node.id), []).append(node.id)
    states: dict[str, RunState] = {}
    calls: dict[tuple[str, str], int] = {}
    for step in steps:
        label = _label(step)
        if label is None or label not in boxes:
            continue
        place = calls.get((label, step.branch), 0)
        calls[label, step.branch] = place + 1
        box = boxes[label][min(place, len(boxes[label]) - 1)]
        states[box] = _merged(states.get(box), RunState(_status(step, instance), step.duration_s))
    if instance.status in FINAL:
        states["end#1" if instance.status == DONE else "failed#1"] = RunState(
            "done" if instance.status == DONE else "failed"
        )
    return with_run(graph, {id: state for id, state in states.items() if id in {node.id for node in graph.nodes}})


def _label_of_box(id: str) -> str:
    label = id.rpartition("#")[0]
    return "sleep" if label.startswith("sleep:") else label


def _label(step: RecordedStep) -> str | None:
    if step.key.startswith("~undo/"):
        return f"compensation:{step.name}"
    if step.kind == "step":
        return f"step:{step.name}"
    kind, _, name = step.name.partition(":")
    if kind == "sleep":
        return "sleep"
    if kind in _WAITS:
        return f"wait:{name.replace(',', '+')}"
    return f"{kind}:{name}" if kind in ("input", "child") else None


def _status(step: RecordedStep, instance: Instance) -> Status:
    if step.status == "failed":
        return "failed"
    if step.status == "done" or instance.status in FINAL:
        return "done"
    over = step.kind == "sleep" and _is_before(step.wake_at, instance.wake_at)
    return "done" if over else "waiting"


def _is_before(moment: datetime | None, wake_at: datetime | None) -> bool:
    """Whether a sleep's time had come when the instance was parked: it would wake for it otherwise."""
    return moment is not None and (wake_at is None or moment < wake_at)


def _merged(one: RunState | None, other: RunState) -> RunState:
    if one is None:
        return other
    order: list[Status] = ["failed", "waiting", "running", "done", "skipped"]
    status = min(one.status, other.status, key=order.index)
    known = [state.duration_s for state in (one, other) if state.duration_s is not None]
    return RunState(status, sum(known) if known else None, one.count + 1)
