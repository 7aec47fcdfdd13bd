"""`draw`: from a workflow's function to its graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType

from outlast.graphs.graph import Edge, Graph, Node
from outlast.graphs.reading.expressions import UNREADABLE
from outlast.graphs.reading.meaning import Routine, mark
from outlast.graphs.reading.scope import Scope
from outlast.graphs.reading.source import Unreadable, read_function
from outlast.graphs.reading.statements import Statements


def draw(function: Callable[..., object]) -> Graph:
    """The graph of a workflow, read from its code; none of it is run.

    Drawn are steps with what undoes them, sleeps, waits and requests for input, children, decisions, loops, `try`,
    what runs in parallel, and early ends. Helpers in the same module are followed, each where it is called first.
    Straight-line code is not drawn. What cannot be told from the code becomes a box that says so.

    Args:
        function: A function, or something that wraps one (`__wrapped__`), such as a decorated workflow.

    Raises: TypeError: it neither is a function nor wraps one.
    """
    inner = inspect.unwrap(function)
    if not isinstance(inner, FunctionType):
        raise TypeError(f"draw() needs a function, not {type(function).__name__}")
    name = mark(function, "outlast_workflow_name") or inner.__name__
    try:
        node, source = read_function(inner)
    except Unreadable as unreadable:
        return _blank(name, inner.__code__.co_firstlineno, str(unreadable))
    try:
        routine = Routine(name, node, source, Scope.of(inner, node), inner)
        return Statements(routine, inner.__module__).draw(name, routine)
    except RecursionError:
        return _blank(name, inner.__code__.co_firstlineno, "it is nested too deeply")


def _blank(name: str, line: int, reason: str) -> Graph:
    nodes = (
        Node("start#1", "start", name, line),
        Node("unreadable#1", "unreadable", UNREADABLE, line, detail=reason),
        Node("end#1", "end", "end", line),
    )
    return Graph(name, nodes, (Edge("start#1", "unreadable#1"), Edge("unreadable#1", "end#1")))
