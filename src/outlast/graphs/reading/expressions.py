"""Draws expressions: calls of steps and primitives in the order in which they run, and what branches within one."""

from __future__ import annotations

import ast
import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from outlast.graphs.graph import NodeKind
from outlast.graphs.reading.frames import Frames, HelperFrame, LoopFrame
from outlast.graphs.reading.meaning import (
    ChildWorkflow,
    Dictionary,
    Meaning,
    Opaque,
    Primitive,
    Relevance,
    Routine,
    Step,
    TaskStart,
)
from outlast.graphs.reading.scope import Scope
from outlast.graphs.reading.sketch import Loose, Sketch
from outlast.graphs.reading.source import TEXT_MAX, Source, shorten
from outlast.graphs.reading.words import is_wait, sleep_words, wait_words

UNREADABLE: Final = "code that cannot be read statically"
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Expressions(ABC):
    """Draws what happens within one statement."""

    def __init__(self, routine: Routine, module: str) -> None:
        self.sketch = Sketch()
        self.frames = Frames(self.sketch)
        self.dictionary = Dictionary(module)
        self.relevance = Relevance(self.dictionary)
        self.scope: Scope = routine.scope
        self.source: Source = routine.source
        self.stack: list[object] = [routine.key]
        self._drawn: dict[object, int] = {}
        self.made: set[str] = set()
        """Local names that were given something drawn where it was made."""
        self._beside: list[Loose] = []
        self._task_groups: dict[str, list[Loose]] = {}

    @abstractmethod
    def body(self, statements: Sequence[ast.stmt]) -> None:
        """Draw statements, one after the other."""

    def matters(self, *nodes: ast.AST) -> bool:
        """Something in this code is drawn."""
        return self.relevance.matters(*nodes, scope=self.scope, source=self.source)

    def works(self, node: ast.AST) -> bool:
        """Something in this code has a box of its own."""
        return self.relevance.works(node, self.scope, self.source)

    def meaning(self, called: ast.expr) -> Meaning:
        """What something called stands for, here."""
        return self.dictionary.meaning(called, self.scope, self.source)

    def expression(self, node: ast.AST | None, awaited: bool = False) -> None:
        """Draw what runs in an expression."""
        # What is awaited may be drawn where the same call on its own is not.
        if node is None or not self.sketch.loose or not (awaited or self.works(node)):
            return
        if isinstance(node, ast.Call):
            self._call(node, awaited)
        elif isinstance(node, ast.Await):
            self.expression(node.value, awaited=True)
        elif isinstance(node, ast.IfExp):
            self.expression(node.test)
            yes, no = partial(self.expression, node.body), partial(self.expression, node.orelse)
            self.decide(node.test, [("yes", yes), ("no", no)])
        elif isinstance(node, ast.BoolOp):
            self._short_circuit(node)
        elif isinstance(node, Comprehension):
            self.comprehension(node)
        elif isinstance(node, ast.expr | ast.keyword | ast.comprehension) and not isinstance(node, ast.Lambda):
            for child in ast.iter_child_nodes(node):
                self.expression(child)

    def decide(self, test: ast.expr, arms: Sequence[tuple[str, Callable[[], None]]], label: str = "") -> None:
        """Draw a decision, and what each of its arms does."""
        line = self.source.line(test)
        box = self.sketch.add("decision", label or self.condition(test), line)
        ends: list[Loose] = []
        for word, arm in arms:
            with self.sketch.group("arm", word, line, box):
                self.sketch.loose = [Loose(box, "branch", word)]
                arm()
                ends += self.sketch.loose
        self.sketch.loose = ends

    def condition(self, test: ast.expr, length_max: int = TEXT_MAX) -> str:
        """A condition in short: what was drawn before it keeps its name and loses its arguments."""
        if not self.works(test):
            return self.source.text(test, length_max)
        return shorten(ast.unparse(_Shorter(self.works).visit(copy.deepcopy(test))), length_max)

    def _short_circuit(self, node: ast.BoolOp) -> None:
        first, *rest = node.values
        self.expression(first)
        goes_on, stops = ("yes", "no") if isinstance(node.op, ast.And) else ("no", "yes")
        skipped: list[Loose] = []
        before = first
        for value in rest:
            if self.works(value):
                line = self.source.line(before)
                box = self.sketch.add("decision", self.condition(before), line)
                skipped.append(Loose(box, "branch", stops))
                self.sketch.loose = [Loose(box, "branch", goes_on)]
                self.expression(value)
            before = value
        self.sketch.loose += skipped

    def comprehension(self, node: Comprehension) -> None:
        """Draw a comprehension over steps as the loop it is."""
        self.expression(node.generators[0].iter)
        line = self.source.line(node)
        box = self.sketch.add("loop", self.for_words(node), line)
        with self.sketch.group("loop", self.for_words(node), line, box):
            self.sketch.loose = [Loose(box, "branch", "each")]
            self.comprehended(node)
            self.sketch.lead_back(self.sketch.loose, box)
        self.sketch.loose = [Loose(box, "branch", "done")]

    def comprehended(self, node: Comprehension) -> None:
        """Draw what a comprehension does for each item."""
        for place, generator in enumerate(node.generators):
            if place:
                self.expression(generator.iter)
            for test in generator.ifs:
                self.expression(test)
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for part in parts:
            self.expression(part)

    def for_words(self, node: Comprehension) -> str:
        """The head of a comprehension: `for item in order.items if item.ok`."""
        words = []
        for generator in node.generators:
            target, items = self.source.text(generator.target, 20), self.source.text(generator.iter, 40)
            words.append(f"{'async ' if generator.is_async else ''}for {target} in {items}")
            words += [f"if {self.source.text(test, 40)}" for test in generator.ifs]
        return " ".join(words)

    def _call(self, call: ast.Call, awaited: bool) -> None:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "create_task" and self._task(call):
            return
        meaning = self.meaning(call.func)
        if isinstance(meaning, Primitive) and self.branches(meaning.name, call):
            return
        if isinstance(meaning, TaskStart):
            self._go_beside(call)
            return
        self.expression(call.func)
        for argument in [*call.args, *(one.value for one in call.keywords)]:
            self.expression(argument)
        if isinstance(meaning, Primitive):
            self._primitive(meaning.name, call)
        elif isinstance(meaning, Opaque):
            if awaited or meaning.always:
                self.unreadable(call, meaning.reason)
        elif isinstance(meaning, ChildWorkflow):
            if awaited:
                self.unreadable(call, "it is a workflow, which only call_child and start_child run")
        else:
            self.run(meaning, call)

    @abstractmethod
    def branches(self, primitive: str, call: ast.Call) -> bool:
        """Draw a fork, when that is what the primitive is."""

    def run(self, meaning: Meaning, at: ast.expr) -> None:
        """Draw a step, or a helper's body."""
        if isinstance(meaning, Step):
            self._step(meaning, self.source.line(at))
        elif isinstance(meaning, Routine) and self.relevance.routine(meaning):
            self._helper(meaning, self.source.line(at))

    def _step(self, step: Step, line: int) -> None:
        box = self.sketch.add("step", step.name, line, name=step.name)
        self.frames.may_fail(box)
        if step.compensation is not None:
            undo = self.sketch.aside(
                "compensation", step.compensation, line, name=step.compensation, detail=f"undoes {step.name}"
            )
            self.sketch.lead([Loose(box, "compensation")], undo)

    def _primitive(self, primitive: str, call: ast.Call) -> None:
        line = self.source.line(call)
        if is_wait(primitive):
            kind, name, label, detail = wait_words(primitive, call, self.source)
            self.frames.may_fail(self.sketch.add(kind, label, line, name=name, detail=detail))
        elif primitive in ("sleep", "sleep_until"):
            name, label = sleep_words(primitive, call, self.source)
            self.sketch.add("sleep", label, line, name=name)
        else:
            self._child(primitive, call, line)

    def _child(self, primitive: str, call: ast.Call, line: int) -> None:
        name = self.child_name(call)
        detail = "child workflow" if primitive == "call_child" else "child workflow, not waited for"
        self.frames.may_fail(self.sketch.add("child", name, line, name=name, detail=detail))

    @abstractmethod
    def child_name(self, call: ast.Call) -> str:
        """The name of the workflow that a call of a child names."""

    def _helper(self, routine: Routine, line: int) -> None:
        name = f"{routine.name}()"
        if routine.foreign:
            self._box("helper", name, line, routine.name, f"in {routine.foreign}, not followed")
        elif routine.key in self.stack:
            self._box("recursion", name, line, routine.name, "calls itself: not drawn again")
        elif routine.key in self._drawn:
            self._box("helper", name, line, routine.name, f"as drawn for line {self._drawn[routine.key]}")
        else:
            self._drawn[routine.key] = line
            self._follow(routine, name, line)

    def _follow(self, routine: Routine, name: str, line: int) -> None:
        around = self.scope, self.source
        frame = HelperFrame()
        self.scope, self.source = routine.scope, routine.source
        self.stack.append(routine.key)
        self.frames.stack.append(frame)
        with self.sketch.group("helper", name, line):
            self.body(routine.node.body)
        self.frames.stack.pop()
        self.stack.pop()
        self.scope, self.source = around
        self.sketch.loose += frame.returns

    def unreadable(self, node: ast.expr, reason: str) -> None:
        """Draw the box that says that code cannot be read, and why."""
        self._box("unreadable", UNREADABLE, self.source.line(node), "", f"{self.source.text(node, 24)}: {reason}")

    def _box(self, kind: NodeKind, label: str, line: int, name: str, detail: str) -> None:
        self.frames.may_fail(self.sketch.add(kind, label, line, name=name, detail=detail))

    def _go_beside(self, call: ast.Call) -> None:
        """`asyncio.create_task` without a group: it goes on beside, and nobody can tell until when."""
        self._beside += self.beside(call)

    def beside(self, call: ast.Call) -> list[Loose]:
        """Draw what a task does, beside the flow. Returns: its ends."""
        main = self.sketch.loose
        self.sketch.loose = [one.saying("", "parallel") for one in main]
        for argument in call.args[:1]:
            self.expression(argument, awaited=True)
        ends = [one for one in self.sketch.loose if one.source not in {other.source for other in main}]
        self.sketch.loose = main
        return ends

    def _task(self, call: ast.Call) -> bool:
        owner = call.func.value if isinstance(call.func, ast.Attribute) else None
        if not isinstance(owner, ast.Name) or owner.id not in self._task_groups:
            return False
        self._task_groups[owner.id] += self.beside(call)
        return True

    def task_group(self, name: str) -> list[Loose]:
        """Begin a task group of this name. Returns: the ends of its tasks, as they will be known when it ends."""
        self._task_groups[name] = []
        return self._task_groups[name]

    def loop_frame(self, back: str) -> LoopFrame:
        """Begin the body of a loop."""
        frame = LoopFrame(back)
        self.frames.stack.append(frame)
        return frame

    def beside_ends(self) -> list[Loose]:
        """What still goes on beside when the workflow ends."""
        return self._beside


class _Shorter(ast.NodeTransformer):
    """Takes the arguments out of calls that are drawn, and `await` from before them."""

    def __init__(self, is_drawn: Callable[[ast.AST], bool]) -> None:
        self._is_drawn = is_drawn

    def visit_Await(self, node: ast.Await) -> ast.AST:
        """Only what is awaited."""
        inner = node.value
        if isinstance(inner, ast.Call) and (inner.args or inner.keywords):
            return ast.Call(inner.func, [ast.Name("…")], [])
        return self.visit(inner)  # type: ignore[no-any-return]
