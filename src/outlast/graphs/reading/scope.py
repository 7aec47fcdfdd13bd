"""What a name in a function stands for, found without running anything."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Final

from outlast.graphs.reading.source import FunctionNode, inside

_DEPTH_MAX: Final = 20
"""Names that stand for names that stand for names: where this ends, something goes round."""


class Unknown:
    """What a name stands for cannot be told; `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Scope:
    """The names that a function sees: its own, those around it, its module's, the built-in ones."""

    def __init__(self, node: FunctionNode, outer: Mapping[str, object], parent: Scope | None = None) -> None:
        self.module = str(outer.get("__name__", ""))
        self.parent = parent
        self._outer = outer
        self._bound = Counter(_bound_names(node))
        for name in _declared_elsewhere(node):
            del self._bound[name]
        self._aliases: dict[str, ast.expr | tuple[str, str]] = {}
        self.functions: dict[str, FunctionNode] = {}
        for one in inside(*node.body):
            self._learn(one)

    @classmethod
    def of(cls, function: FunctionType, node: FunctionNode) -> Scope:
        """The scope of a function that exists, with what its closure holds."""
        held: dict[str, object] = {}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            try:
                held[name] = cell.cell_contents
            except ValueError:
                held[name] = Unknown(f"{name!r} is not set yet")
        return cls(node, {**vars(builtins), **function.__globals__, **held})

    def inner(self, node: FunctionNode) -> Scope:
        """The scope of a function that is defined in this one."""
        return Scope(node, self._outer, self)

    def is_local(self, name: str) -> bool:
        """The name is bound in the function itself."""
        return self._bound[name] > 0

    def _learn(self, one: ast.AST) -> None:
        if isinstance(one, FunctionNode):
            if self._bound[one.name] == 1 and not one.decorator_list:
                self.functions[one.name] = one
        elif isinstance(one, ast.Assign):
            target = one.targets[0]
            if (
                len(one.targets) == 1
                and isinstance(target, ast.Name)
                and isinstance(one.value, ast.Name | ast.Attribute)
            ):
                self._learn_alias(target.id, one.value)
        elif isinstance(one, ast.ImportFrom) and one.level == 0:
            for alias in one.names:
                self._learn_alias(alias.asname or alias.name, (one.module or "", alias.name))
        elif isinstance(one, ast.Import):
            for alias in one.names:
                top = alias.name if alias.asname else alias.name.split(".")[0]
                self._learn_alias(alias.asname or top, (top, ""))

    def _learn_alias(self, name: str, meaning: ast.expr | tuple[str, str]) -> None:
        # Bound a second time, it could stand for either.
        if self._bound[name] == 1:
            self._aliases[name] = meaning

    def find(self, expression: ast.expr, depth: int = 0) -> object:
        """What an expression stands for: an object, a function's tree, or Unknown."""
        if depth > _DEPTH_MAX:
            return Unknown("its name goes round in a circle")
        if isinstance(expression, ast.Name):
            return self._find_name(expression.id, depth)
        if isinstance(expression, ast.Attribute):
            owner = self.find(expression.value, depth + 1)
            if isinstance(owner, Unknown):
                return owner
            return _attribute(owner, expression.attr)
        return Unknown("what is called is made while it runs")

    def _find_name(self, name: str, depth: int) -> object:
        if name in self.functions:
            return LocalFunction(self.functions[name], self)
        if (alias := self._aliases.get(name)) is not None:
            return self.find(alias, depth + 1) if isinstance(alias, ast.expr) else _imported(*alias)
        if self.is_local(name):
            return Unknown(f"{name!r} is set while it runs")
        if self.parent is not None:
            return self.parent._find_name(name, depth + 1)
        return self._outer.get(name, Unknown(f"there is no {name!r}"))


class LocalFunction:
    """A function defined within another one: only its tree is there."""

    def __init__(self, node: FunctionNode, scope: Scope) -> None:
        self.node = node
        self.scope = scope


def bare(found: object) -> object:
    """The function, or the marked object, beneath partials, static methods and wrappers."""
    while True:
        if isinstance(found, functools.partial):
            found = found.func
        elif isinstance(found, staticmethod | classmethod):
            found = found.__func__
        else:
            return found


def _attribute(owner: object, name: str) -> object:
    if isinstance(owner, LocalFunction):
        return Unknown("it is an attribute of a function")
    if isinstance(owner, ModuleType):
        return vars(owner).get(name, Unknown(f"module {owner.__name__!r} has no {name!r}"))
    try:
        # No property and no __getattr__ is run: this is a look at the code, nothing else.
        return inspect.getattr_static(owner, name)
    except Exception:
        return Unknown(f"{type(owner).__name__!r} has no {name!r} before it runs")


def _imported(module: str, name: str) -> object:
    loaded = sys.modules.get(module)
    if loaded is None:
        return Unknown(f"module {module!r} is not loaded yet")
    return _attribute(loaded, name) if name else loaded


def _bound_names(node: FunctionNode) -> Iterator[str]:
    arguments = node.args
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
        yield argument.arg
    yield from (extra.arg for extra in (arguments.vararg, arguments.kwarg) if extra)
    for one in inside(*node.body):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store | ast.Del):
            yield one.id
        elif isinstance(one, FunctionNode | ast.ClassDef):
            yield one.name
        elif isinstance(one, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.split(".")[0] for alias in one.names)
        elif isinstance(one, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and one.name:
            yield one.name
        elif isinstance(one, ast.MatchMapping) and one.rest:
            yield one.rest


def _declared_elsewhere(node: FunctionNode) -> Iterator[str]:
    for one in inside(*node.body):
        if isinstance(one, ast.Global | ast.Nonlocal):
            yield from one.names
