"""Draws `try`: what may fail, what handles it, and what is done in either case."""

from __future__ import annotations

import ast

from outlast.graphs.reading.forks import Forks
from outlast.graphs.reading.frames import FinallyFrame, Route, TryFrame
from outlast.graphs.reading.sketch import Loose


class Attempts(Forks):
    """Draws `try` statements."""

    def attempt(self, node: ast.Try | ast.TryStar) -> None:
        """Draw a `try` with all that belongs to it."""
        if not node.finalbody:
            self._guarded(node)
            return
        frame = FinallyFrame()
        self.frames.stack.append(frame)
        self._guarded(node)
        self.frames.stack.pop()
        self._finally(node, frame)

    def _finally(self, node: ast.Try | ast.TryStar, frame: FinallyFrame) -> None:
        line = self.source.line(node.finalbody[0])
        normal, before = self.sketch.loose, self.sketch.size
        self.sketch.loose = list(dict.fromkeys([*normal, *(_entering(*held) for held in frame.held)]))
        with self.sketch.group("finally", "finally", line):
            self.body(node.finalbody)
        if self.sketch.size == before and self.sketch.loose:
            # Nothing is drawn there: everything goes on as if it were not.
            self.sketch.loose = normal
            for route, one, word in frame.held:
                # Any step may fail; that is not drawn unless something takes notice of it.
                if route != "raise" or word:
                    self.frames.leave(route, [one], word)
            return
        after = self.sketch.loose
        for route in dict.fromkeys(route for route, _, _ in frame.held):
            self.frames.leave(route, after, "error" if route == "raise" else route)
        self.sketch.loose = after if normal else []

    def _guarded(self, node: ast.Try | ast.TryStar) -> None:
        if not node.handlers:
            self.body(node.body)
            return
        came, frame = self.sketch.loose, TryFrame()
        self.frames.stack.append(frame)
        with self.sketch.group("try", "try", self.source.line(node)):
            self.body(node.body)
        self.frames.stack.pop()
        self.body(node.orelse)
        if not frame.errors and self.matters(*node.handlers):
            # Straight-line code that may fail: the arrow begins at the last box before it.
            frame.errors = [one.saying("", "error") for one in came]
        if frame.errors:
            self._handlers(node, frame.errors)

    def _handlers(self, node: ast.Try | ast.TryStar, errors: list[Loose]) -> None:
        ends = self.sketch.loose
        first = node.handlers[0]
        self.sketch.loose = list(dict.fromkeys(errors))
        if len(node.handlers) == 1:
            box = self.sketch.add("except", f"on {self._caught(first)}", self.source.line(first))
        else:
            box = self.sketch.add("except", "on error", self.source.line(first))
        for handler in node.handlers:
            word = self._caught(handler)
            with self.sketch.group("except", word, self.source.line(handler), box):
                self.sketch.loose = [Loose(box, "branch", word) if len(node.handlers) > 1 else Loose(box)]
                self.body(handler.body)
                ends = [*ends, *self.sketch.loose]
        self.sketch.loose = ends

    def _caught(self, handler: ast.ExceptHandler) -> str:
        return self.source.text(handler.type, 40) if handler.type else "any error"


def _entering(route: Route, one: Loose, word: str) -> Loose:
    """How an arrow that leaves the `try` comes into its `finally`."""
    return one.saying(word, "error") if route == "raise" else one
