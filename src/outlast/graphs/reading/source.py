"""The source of a function: its tree, its lines, and short pieces of its text."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Final

TEXT_MAX: Final = 60

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
NEW_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
"""What begins a scope of its own: its body does not run where it stands."""


class Unreadable(Exception):
    """A function whose source cannot be had; the text says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Lines of source, as they were parsed; `offset` is what turns their numbers into those of the file."""

    lines: tuple[bytes, ...]
    offset: int

    def line(self, node: ast.AST) -> int:
        """The node's line in its file."""
        return int(getattr(node, "lineno", 1)) + self.offset

    def text(self, node: ast.expr | ast.pattern, length_max: int = TEXT_MAX) -> str:
        """The node's text as it was written, on one line, shortened in its middle."""
        if node.lineno == node.end_lineno:
            # Columns count bytes of UTF-8.
            text = self.lines[node.lineno - 1][node.col_offset : node.end_col_offset].decode()
        else:
            # As it was written, several lines could hold comments.
            text = ast.unparse(node)
        return shorten(" ".join(text.split()), length_max)


def shorten(text: str, length_max: int = TEXT_MAX) -> str:
    """The text, with its end cut off where it is too long."""
    return text if len(text) <= length_max else text[: length_max - 1].rstrip() + "…"


def read_function(function: FunctionType) -> tuple[FunctionNode, Source]:
    """A function's tree and source. Raises: Unreadable."""
    if function.__name__ == "<lambda>":
        raise Unreadable("it is a lambda")
    try:
        text = inspect.getsource(function)
        # A method is indented. To take the indent away would change texts of several lines.
        shift = 1 if text[:1].isspace() else 0
        text = "if True:\n" + text if shift else text
        tree = ast.parse(text)
    except (OSError, TypeError):
        raise Unreadable("its source is not there") from None
    except (SyntaxError, ValueError, RecursionError):
        raise Unreadable("its source does not parse") from None
    node = tree.body[0]
    if shift and isinstance(node, ast.If):
        node = node.body[0]
    if not isinstance(node, FunctionNode) or node.name != function.__code__.co_name:
        raise Unreadable("its source is not that of a function, or has changed since it was loaded")
    lines = tuple(line.encode() for line in text.splitlines())
    return node, Source(lines, function.__code__.co_firstlineno - 1 - shift)


def inside(*roots: ast.AST) -> Iterator[ast.AST]:
    """The nodes and all beneath them that runs with them: not the bodies of functions and classes defined there."""
    waiting = list(reversed(roots))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, NEW_SCOPES):
            waiting.extend(reversed(list(ast.iter_child_nodes(node))))
