"""What a call in a workflow is: a step, a wait, a fork, a helper to follow, or nothing to draw."""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
from dataclasses import dataclass
from types import FunctionType
from typing import Final

from outlast.graphs.reading.scope import LocalFunction, Scope, Unknown, bare
from outlast.graphs.reading.source import FunctionNode, Source, Unreadable, read_function

PRIMITIVES: Final = frozenset(
    {
        "sleep",
        "sleep_until",
        "wait_for_signal",
        "wait_for_any",
        "wait_for_all",
        "wait_for_input",
        "wait_for_approval",
        "wait_for_choice",
        "wait_for_text",
        "wait_for_form",
        "parallel",
        "each",
        "call_child",
        "start_child",
    }
)
_TASK_STARTS: Final = frozenset({"create_task", "ensure_future"})
_RUN_TEXT: Final = (builtins.exec, builtins.eval)


@dataclass(frozen=True, slots=True)
class Step:
    """A recorded step, and the name of what undoes it."""

    name: str
    compensation: str | None


@dataclass(frozen=True, slots=True)
class Primitive:
    """A sleep, a wait, a fork or a child, by the name it has in the library."""

    name: str


@dataclass(frozen=True, slots=True)
class ChildWorkflow:
    """A workflow, which a call of a child names."""

    name: str


class TaskGroupType:
    """`asyncio.TaskGroup` itself."""


class TaskStart:
    """`asyncio.create_task` or `ensure_future`: something goes on beside."""


@dataclass(frozen=True, slots=True, eq=False)
class Routine:
    """A helper whose code can be followed. `key` is the same for the same function."""

    name: str
    node: FunctionNode
    source: Source
    scope: Scope
    key: object
    foreign: str = ""
    """The module it is in, when that is not the workflow's own: then it is named but not followed."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """Code that cannot be read, and why. `always`: it is drawn even where nothing is awaited."""

    reason: str
    always: bool = False


Meaning = Step | Primitive | ChildWorkflow | TaskGroupType | TaskStart | Routine | Opaque | None
"""What something called is; None: plain code, which is not drawn."""


class Dictionary:
    """Knows what calls mean, and reads each helper only once."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._routines: dict[object, Routine | Opaque] = {}

    def meaning(self, called: ast.expr, scope: Scope, source: Source) -> Meaning:
        """What an expression that is called, or handed over to be called, stands for."""
        found = scope.find(called)
        if isinstance(found, Unknown):
            return Opaque(found.reason)
        if isinstance(found, LocalFunction):
            return self._local(found, source)
        marked = _marked(found)
        if marked is not None:
            return marked
        return self._function(bare(found))

    def _local(self, found: LocalFunction, source: Source) -> Meaning:
        if found.node not in self._routines:
            inner = found.scope.inner(found.node)
            self._routines[found.node] = Routine(found.node.name, found.node, source, inner, found.node)
        return self._routines[found.node]

    def _function(self, found: object) -> Meaning:
        if any(found is one for one in _RUN_TEXT):
            return Opaque("it runs code that is made while it runs", always=True)
        # What the library's own functions wrap is none of the workflow's code.
        function = inspect.unwrap(found) if isinstance(found, FunctionType) else found
        if not isinstance(function, FunctionType) or not self._is_near(function.__module__):
            return None
        # By the function, not by its code: closures of the same code may call other steps.
        if function not in self._routines:
            self._routines[function] = self._read(function)
        return self._routines[function]

    def _is_near(self, module: str | None) -> bool:
        # Libraries are not searched for steps; other modules of the same package are.
        return (module or "").split(".")[0] == self._module.split(".")[0]

    def _read(self, function: FunctionType) -> Routine | Opaque:
        try:
            node, source = read_function(function)
        except Unreadable as unreadable:
            return Opaque(str(unreadable))
        foreign = "" if function.__module__ == self._module else function.__module__
        return Routine(function.__name__, node, source, Scope.of(function, node), function, foreign)


def _marked(found: object) -> Meaning:
    """The meaning of what carries one of the library's marks, or is one of asyncio's."""
    for one in (found, bare(found)):
        if (step := mark(one, "outlast_step_name")) is not None:
            undo = _attribute(one, "outlast_compensate")
            return Step(step, None if undo is None else _name_of(undo))
        if (primitive := mark(one, "outlast_primitive")) in PRIMITIVES:
            return Primitive(str(primitive))
        if (workflow := mark(one, "outlast_workflow_name")) is not None:
            return ChildWorkflow(workflow)
    if found is asyncio.gather:
        return Primitive("parallel")
    if found is asyncio.TaskGroup:
        return TaskGroupType()
    if found is asyncio.create_task or found is asyncio.ensure_future:
        return TaskStart()
    return None


def mark(found: object, name: str) -> str | None:
    """An attribute of an object, when it is text."""
    value = _attribute(found, name)
    return value if isinstance(value, str) else None


def _attribute(found: object, name: str) -> object:
    try:
        return getattr(found, name, None)
    except Exception:  # A proxy that is not bound yet may raise whatever it likes.
        return None


def _name_of(undo: object) -> str:
    name = mark(undo, "outlast_step_name") or mark(undo, "__name__")
    return name or type(undo).__name__


class Relevance:
    """Tells code that is worth drawing from straight-line code, which is not."""

    def __init__(self, dictionary: Dictionary) -> None:
        self._dictionary = dictionary
        self._works: dict[ast.AST, bool] = {}
        self._escapes: dict[tuple[ast.AST, bool], bool] = {}
        self._routines: dict[object, bool] = {}

    def matters(self, *nodes: ast.AST, scope: Scope, source: Source) -> bool:
        """Something in this code is drawn, or it leaves the flow early."""
        return any(self._leaves(node, False) or self.works(node, scope, source) for node in nodes)

    def leaves(self, *nodes: ast.AST) -> bool:
        """It returns, raises, or leaves a loop around it."""
        return any(self._leaves(node, False) for node in nodes)

    def works(self, node: ast.AST, scope: Scope, source: Source) -> bool:
        """Something in this code has a box of its own."""
        if node not in self._works:
            self._works[node] = any(self._has_box(call, awaited, scope, source) for call, awaited in calls_in(node))
        return self._works[node]

    def _has_box(self, call: ast.Call, awaited: bool, scope: Scope, source: Source) -> bool:
        meaning = self._dictionary.meaning(call.func, scope, source)
        if isinstance(meaning, Routine):
            return self.routine(meaning)
        return _is_drawn(meaning, awaited)

    def routine(self, first: Routine) -> bool:
        """A box is somewhere in this helper, or in the helpers that it calls."""
        if first.key not in self._routines:
            self._routines[first.key] = self._search(first)
        return self._routines[first.key]

    def _search(self, first: Routine) -> bool:
        seen, waiting = {first.key}, [first]
        while waiting:
            routine = waiting.pop()
            for statement in routine.node.body:
                for call, awaited in calls_in(statement):
                    meaning = self._dictionary.meaning(call.func, routine.scope, routine.source)
                    if not isinstance(meaning, Routine):
                        if _is_drawn(meaning, awaited):
                            return True
                    elif meaning.key not in seen:
                        seen.add(meaning.key)
                        waiting.append(meaning)
        return False

    def _leaves(self, node: ast.AST, in_loop: bool) -> bool:
        if isinstance(node, ast.Return | ast.Raise):
            return True
        if isinstance(node, ast.Break | ast.Continue):
            return not in_loop
        if not isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            return False
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return False
        key = (node, in_loop)
        if key not in self._escapes:
            # What follows `else` of a loop runs outside of it.
            outer = node.orelse if isinstance(node, ast.For | ast.AsyncFor | ast.While) else []
            inner = in_loop or isinstance(node, ast.For | ast.AsyncFor | ast.While)
            self._escapes[key] = any(
                self._leaves(child, in_loop if child in outer else inner) for child in ast.iter_child_nodes(node)
            )
        return self._escapes[key]


def _is_drawn(meaning: Meaning, awaited: bool) -> bool:
    if isinstance(meaning, Opaque):
        return awaited or meaning.always
    return isinstance(meaning, Step | Primitive) or (awaited and isinstance(meaning, ChildWorkflow))


def calls_in(root: ast.AST) -> list[tuple[ast.Call, bool]]:
    """Every call beneath a node, and whether it is awaited at once; functions defined there are left out."""
    found: list[tuple[ast.Call, bool]] = []
    waiting: list[tuple[ast.AST, bool]] = [(root, False)]
    while waiting:
        node, awaited = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            found.append((node, awaited))
        runs = isinstance(node, ast.Await) or (isinstance(node, ast.Call) and last_name(node.func) in _TASK_STARTS)
        waiting.extend((child, runs) for child in ast.iter_child_nodes(node))
    return found


def last_name(called: ast.expr) -> str:
    """The name that a call ends with: `create_task` of `group.create_task()`."""
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
