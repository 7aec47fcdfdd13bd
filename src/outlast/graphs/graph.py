"""A workflow as a drawing: nodes, edges, and the parts of the code that nodes lie in. Plain values, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

NodeKind = Literal[
    "start",
    "end",
    "failed",
    "step",
    "compensation",
    "wait",
    "sleep",
    "input",
    "decision",
    "loop",
    "fork",
    "join",
    "each",
    "child",
    "except",
    "helper",
    "recursion",
    "unreadable",
]
EdgeKind = Literal["normal", "branch", "loop", "parallel", "compensation", "error"]
GroupKind = Literal["arm", "loop", "branch", "try", "except", "finally", "helper"]
Status = Literal["done", "running", "waiting", "failed", "skipped"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class RunState:
    """What became of one node in one run.

    Attributes:
        status: `done`, `running`, `waiting`, `failed` or `skipped`.
        duration_s: How long it took, or has taken, in seconds; None when that is not known.
        count: How often it was reached, from 1; more than one within loops.

    Raises: ValueError: the status is none of these, or a number is negative.
    """

    status: Status
    duration_s: float | None = None
    count: int = 1

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, not {self.status!r}")
        if self.duration_s is not None and not self.duration_s >= 0:
            raise ValueError(f"duration_s must not be negative, but is {self.duration_s!r}")
        if self.count < 0:
            raise ValueError(f"count must not be negative, but is {self.count!r}")


@dataclass(frozen=True, slots=True)
class Node:
    """A box.

    Attributes:
        id: The same for the same code: kind, name and number among nodes of that name, as in `step:charge#1`.
        kind: What it is.
        label: What stands in it, of any letters: a renderer escapes it.
        line: Its line in the source file, from 1.
        group: Id of the part of the code it lies in; None for the workflow's own level.
        detail: A second, smaller line: a timeout, or why code cannot be read. May be empty.
        run: What became of it in the run laid over the drawing, if any.
        taken: The run came by here.
    """

    id: str
    kind: NodeKind
    label: str
    line: int
    group: str | None = None
    detail: str = ""
    run: RunState | None = None
    taken: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow from node to node, by their ids. `taken`: the run laid over the drawing went this way."""

    source: str
    target: str
    kind: EdgeKind = "normal"
    label: str = ""
    taken: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A part of the code: one arm of a decision, the body of a loop, one parallel branch, a helper.

    Attributes:
        id: The same for the same code.
        kind: What it is.
        label: What a frame around it would say.
        line: Where it begins in the source file.
        group: Id of the group around it; None at the workflow's own level.
        owner: Id of the node it hangs on, as an arm does on its decision; None for `try` and helpers.
    """

    id: str
    kind: GroupKind
    label: str
    line: int
    group: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A whole drawing.

    Attributes:
        name: The workflow's name.
        nodes: In the order of the code. Only a loop's edges lead to an earlier node.
        edges: In the order of the code.
        groups: Outer ones before inner ones. None is empty.
        unplaced: Node ids that a run named and the code does not have, as after a change of the code.
    """

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    groups: tuple[Group, ...] = ()
    unplaced: tuple[str, ...] = ()

    def by_id(self) -> Mapping[str, Node]:
        """Nodes by their ids."""
        return {node.id: node for node in self.nodes}
