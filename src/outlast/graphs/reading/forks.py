"""Draws what runs side by side: `parallel`, `asyncio.gather`, `each`; and reads which workflow a child is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from outlast.graphs.reading.expressions import Comprehension, Expressions
from outlast.graphs.reading.meaning import ChildWorkflow, Opaque, Routine, Step
from outlast.graphs.reading.scope import Unknown
from outlast.graphs.reading.sketch import Loose

Branch = tuple[str, ast.expr]
"""What stands on the arrow, and the code."""


class Forks(Expressions):
    """Draws forks, their branches, and where they come together."""

    def branches(self, primitive: str, call: ast.Call) -> bool:
        """Draw a fork, when that is what the primitive is."""
        if primitive == "parallel":
            self._parallel(call)
        elif primitive == "each":
            self._each(call)
        else:
            return False
        return True

    def _parallel(self, call: ast.Call) -> None:
        line = self.source.line(call)
        branches = list(_branches(call))
        if all(self._is_made_before(value) for _, value in branches):
            # The branches were drawn where they were made: here, they come together.
            text = ", ".join(self.source.text(value, 20) for _, value in branches)
            self.sketch.add("join", f"all of {text}" if text else "all done", line)
            return
        fork = self.sketch.add("fork", "in parallel", line)
        ends: list[Loose] = []
        for place, (label, value) in enumerate(branches, 1):
            with self.sketch.group("branch", label or f"branch {place}", line, fork):
                ends += self._branch(fork, label, value)
        self.sketch.loose = ends
        if ends:
            self.sketch.add("join", "all done", line)

    def _branch(self, fork: str, label: str, value: ast.expr) -> list[Loose]:
        if isinstance(value, Comprehension):
            label = self.for_words(value)
        self.sketch.loose = [Loose(fork, "parallel", label)]
        before = self.sketch.size
        if isinstance(value, Comprehension):
            self.comprehended(value)
        else:
            self._called(value)
        # A branch without a box is an option, or code that draws nothing.
        return self.sketch.loose if self.sketch.size > before else []

    def _called(self, value: ast.expr) -> None:
        """Draw what is handed over to be run: a call, a function, a lambda, or something that cannot be told."""
        if isinstance(value, ast.Lambda):
            self.expression(value.body, awaited=True)
        elif self.works(value):
            self.expression(value, awaited=True)
        elif isinstance(value, ast.Name | ast.Attribute):
            meaning = self.meaning(value)
            if isinstance(meaning, Opaque):
                self.unreadable(value, meaning.reason)
            else:
                self.run(meaning, value)
        elif isinstance(value, ast.Call):
            # Not awaited here, but run: what cannot be told must not be left out.
            self.expression(value, awaited=True)
            meaning = self.meaning(value.func)
            if isinstance(meaning, Opaque):
                self.unreadable(value, meaning.reason)

    def _is_made_before(self, value: ast.expr) -> bool:
        return isinstance(value, ast.Name) and value.id in self.made

    def makes_work(self, name: str) -> bool:
        """A local name that was given calls which are drawn where they stand."""
        return name in self.made

    def _each(self, call: ast.Call) -> None:
        values = [*call.args, *(one.value for one in call.keywords)]
        bodies = [value for value in values if self._is_body(value)]
        items = next((self.source.text(value, 40) for value in values if value not in bodies), "items")
        for value in values:
            if value not in bodies:
                self.expression(value)
        line = self.source.line(call)
        box = self.sketch.add("each", f"each of {items}", line)
        with self.sketch.group("loop", f"each of {items}", line, box):
            self.sketch.loose = [Loose(box, "parallel")]
            for body in bodies:
                self._called(body)
            if not bodies:
                self.unreadable(call, "what is done for each is not named here")
        self.sketch.add("join", "all done", line)

    def _is_body(self, value: ast.expr) -> bool:
        if isinstance(value, ast.Lambda):
            return True
        if isinstance(value, ast.Name | ast.Attribute):
            return isinstance(self.meaning(value), Step | Routine | ChildWorkflow)
        return False

    def child_name(self, call: ast.Call) -> str:
        """The name of the workflow that a call of a child names; its text, where that cannot be told."""
        for value in [*call.args, *(one.value for one in call.keywords)]:
            # `call_child(ship.new(order))` and `call_child(ship(order))` name it as `call_child(ship)` does.
            for named in _names_in(value):
                found = self.scope.find(named)
                meaning = None if isinstance(found, Unknown) else self.meaning(named)
                if isinstance(meaning, ChildWorkflow):
                    return meaning.name
        return self.source.text(call.args[0], 40) if call.args else "a workflow"


def _branches(call: ast.Call) -> Iterator[Branch]:
    for argument in call.args:
        value = argument.value if isinstance(argument, ast.Starred) else argument
        if isinstance(value, ast.List | ast.Tuple | ast.Set):
            yield from (("", one.value if isinstance(one, ast.Starred) else one) for one in value.elts)
        elif isinstance(value, ast.Dict):
            yield from _entries(value)
        else:
            yield "", value
    for keyword in call.keywords:
        # A constant is an option: `return_exceptions=True`.
        if not isinstance(keyword.value, ast.Constant):
            yield keyword.arg or "", keyword.value


def _entries(value: ast.Dict) -> Iterator[Branch]:
    for key, one in zip(value.keys, value.values, strict=True):
        yield str(key.value) if isinstance(key, ast.Constant) else "", one


def _names_in(value: ast.expr) -> Iterator[ast.expr]:
    while True:
        if isinstance(value, ast.Name | ast.Attribute):
            yield value
        if isinstance(value, ast.Call):
            value = value.func
        elif isinstance(value, ast.Attribute):
            value = value.value
        else:
            return
