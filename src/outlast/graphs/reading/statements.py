"""Draws statements: decisions, loops, early ends; all that is not drawn is passed over."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import partial

from outlast.graphs.graph import Graph
from outlast.graphs.reading.attempts import Attempts
from outlast.graphs.reading.frames import Route
from outlast.graphs.reading.meaning import Routine, TaskGroupType
from outlast.graphs.reading.sketch import Loose


class Statements(Attempts):
    """Draws a function's body."""

    def __init__(self, routine: Routine, module: str) -> None:
        super().__init__(routine, module)
        self._last = _last(routine.node.body)
        self._kinds: dict[type[ast.stmt], Callable[..., None]] = {
            ast.If: self._if,
            ast.Match: self._match,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.While: self._while,
            ast.With: self._with,
            ast.AsyncWith: self._with,
            ast.Try: self.attempt,
            ast.TryStar: self.attempt,
            ast.Return: self._return,
            ast.Raise: self._raise,
            ast.Break: self._break,
            ast.Continue: self._continue,
        }

    def draw(self, name: str, routine: Routine) -> Graph:
        """Draw the whole function."""
        start = self.sketch.aside("start", name, self.source.line(routine.node))
        self.sketch.loose = [Loose(start)]
        self.body(routine.node.body)
        last = max((one.lineno for one in ast.walk(routine.node) if isinstance(one, ast.stmt)), default=1)
        line = last + self.source.offset
        beside = self.beside_ends()
        ends, fails = [*self.sketch.loose, *self.frames.ends, *beside], self.frames.fails
        if ends:
            self.sketch.lead(ends, self.sketch.aside("end", "end", line))
        if fails:
            self.sketch.lead(fails, self.sketch.aside("failed", "failed", line))
        return self.sketch.graph(name)

    def body(self, statements: Sequence[ast.stmt]) -> None:
        """Draw statements, one after the other, as far as the flow comes."""
        for statement in statements:
            if not self.sketch.loose:
                return
            self._statement(statement)

    def _statement(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return
        if not self.matters(statement):
            return
        if (draw := self._kinds.get(type(statement))) is not None:
            draw(statement)
        elif isinstance(statement, ast.AugAssign | ast.AnnAssign):
            self.expression(statement.value)
        elif isinstance(statement, ast.Assign):
            self._assign(statement)
        else:
            for child in ast.iter_child_nodes(statement):
                self.expression(child)

    def _assign(self, statement: ast.Assign) -> None:
        self.made.update(one.id for one in statement.targets if isinstance(one, ast.Name))
        self.expression(statement.value)
        for target in statement.targets:
            self.expression(target)

    def _if(self, node: ast.If) -> None:
        self.expression(node.test)
        if self.sketch.loose and self.matters(*node.body, *node.orelse):
            yes, no = partial(self.body, node.body), partial(self.body, node.orelse)
            self.decide(node.test, [("yes", yes), ("no", no)])

    def _match(self, node: ast.Match) -> None:
        self.expression(node.subject)
        if not self.sketch.loose or not self.matters(*node.cases):
            return
        arms: list[tuple[str, Callable[[], None]]]
        arms = [(self._case_words(case), partial(self._case, case)) for case in node.cases]
        if not any(_takes_all(case) for case in node.cases):
            arms.append(("no case", partial(self.body, ())))
        self.decide(node.subject, arms, f"match {self.condition(node.subject, 50)}")

    def _case_words(self, case: ast.match_case) -> str:
        guard = f" if {self.source.text(case.guard, 30)}" if case.guard else ""
        return f"{self.source.text(case.pattern, 40)}{guard}"

    def _case(self, case: ast.match_case) -> None:
        self.expression(case.guard)
        self.body(case.body)

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self.expression(node.iter)
        if not self.sketch.loose or not self.matters(*node.body, *node.orelse):
            return
        head = f"for {self.source.text(node.target, 20)} in {self.source.text(node.iter, 40)}"
        head = f"async {head}" if isinstance(node, ast.AsyncFor) else head
        box = self.sketch.add("loop", head, self.source.line(node))
        self._loop(node, head, box, box, ("each", "done"))

    def _while(self, node: ast.While) -> None:
        before = self.sketch.size
        forever = isinstance(node.test, ast.Constant) and bool(node.test.value)
        self.expression(node.test)
        if not self.sketch.loose:
            return
        head = f"while {self.condition(node.test, 50)}"
        box = self.sketch.add("loop", head, self.source.line(node))
        # Steps in its condition run each time anew.
        self._loop(node, head, box, self.sketch.nth(before), ("" if forever else "yes", "" if forever else "no"))

    def _loop(
        self, node: ast.For | ast.AsyncFor | ast.While, head: str, box: str, back: str, words: tuple[str, str]
    ) -> None:
        frame = self.loop_frame(back)
        with self.sketch.group("loop", head, self.source.line(node), box):
            self.sketch.loose = [Loose(box, "branch" if words[0] else "normal", words[0])]
            self.body(node.body)
            self.sketch.lead_back(self.sketch.loose, back)
        self.frames.stack.pop()
        self.sketch.loose = [Loose(box, "branch", words[1])] if words[1] else []
        self.body(node.orelse)
        self.sketch.loose += frame.breaks

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        groups = [name for item in node.items if (name := self._task_group_name(item))]
        for item in node.items:
            self.expression(item.context_expr)
        if not groups or not self.matters(*node.body):
            self.body(node.body)
            return
        line = self.source.line(node)
        fork = self.sketch.add("fork", "task group", line)
        tasks = [self.task_group(name) for name in groups]
        with self.sketch.group("branch", "task group", line, fork):
            self.body(node.body)
        ends = [end for group in tasks for end in group]
        if self.sketch.loose:
            self.sketch.loose += ends
            self.sketch.add("join", "all done", line)

    def _task_group_name(self, item: ast.withitem) -> str:
        if isinstance(item.context_expr, ast.Call) and isinstance(item.optional_vars, ast.Name):
            if isinstance(self.meaning(item.context_expr.func), TaskGroupType):
                return item.optional_vars.id
        return ""

    def _return(self, node: ast.Return) -> None:
        self.expression(node.value)
        # The last line of the workflow does not leave early.
        self._leave("return", "" if node is self._last else "return")

    def _raise(self, node: ast.Raise) -> None:
        self.expression(node.exc)
        text = f"raise {self.source.text(node.exc, 40)}" if node.exc else "raise again"
        self._leave("raise", text)

    def _break(self, node: ast.Break) -> None:
        self._leave("break", "break")

    def _continue(self, node: ast.Continue) -> None:
        self._leave("continue", "continue")

    def _leave(self, route: Route, word: str) -> None:
        loose, self.sketch.loose = self.sketch.loose, []
        self.frames.leave(route, loose, word)


def _last(statements: Sequence[ast.stmt]) -> ast.stmt:
    """The statement that ends a function when nothing leaves it early."""
    last = statements[-1]
    return _last(last.body) if isinstance(last, ast.With | ast.AsyncWith) else last


def _takes_all(case: ast.match_case) -> bool:
    return case.guard is None and any(
        isinstance(one, ast.MatchAs) and one.pattern is None for one in _outermost(case.pattern)
    )


def _outermost(pattern: ast.pattern) -> Sequence[ast.pattern]:
    return pattern.patterns if isinstance(pattern, ast.MatchOr) else [pattern]
