"""A tree for a terminal: the order of the code, indented."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from outlast.graphs.graph import Edge, Graph, Group, Node, NodeKind
from outlast.graphs.rendering.statuses import SYMBOLS, status_text

_WORDS: Final[dict[NodeKind, str]] = {"step": "step ", "decision": "if ", "child": "child ", "helper": "call "}
_HIDDEN: Final[frozenset[NodeKind]] = frozenset({"start", "end", "failed", "join", "compensation"})


@dataclass(slots=True, eq=False)
class _Twig:
    """A line of the tree and what hangs on it. An arm's line is drawn together with its only twig."""

    text: str
    is_arm: bool = False
    is_taken: bool = False
    twigs: list[_Twig] = field(default_factory=list)


def tree(graph: Graph) -> str:
    """The graph as an indented tree in plain text, ending with a line break.

    Arms and bodies are indented beneath what they belong to; `→` says where code leaves early. With a run laid over
    it, `*` stands before each line that the run came by, and its state behind it.
    """
    root = _Planter(graph).planted()
    has_run = any(node.run or node.taken for node in graph.nodes)
    lines = [root.text, *(("* " if taken else "  ") * has_run + line for line, taken in _drawn(root.twigs, ""))]
    lines += [f"not in this code: {_clean(one)}" for one in graph.unplaced]
    return "\n".join(line.rstrip() for line in lines) + "\n"


class _Planter:
    """Makes twigs of nodes and groups."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes = graph.by_id()
        self._groups = {group.id: group for group in graph.groups}
        self._twigs: dict[str, _Twig] = {}

    def planted(self) -> _Twig:
        """The root, with the whole tree on it."""
        root = _Twig(_clean(self._graph.name))
        for node in self._graph.nodes:
            if node.kind not in _HIDDEN:
                twig = self._twigs[node.id] = _Twig(self._line(node), is_taken=node.taken)
                self._place(root, node.group).twigs.append(twig)
        for edge in self._graph.edges:
            self._early_end(edge)
        return root

    def _place(self, root: _Twig, one: str | None) -> _Twig:
        """The twig that whatever lies in this group hangs on."""
        if one is None:
            return root
        if one not in self._twigs:
            group = self._groups[one]
            owner = self._twigs.get(group.owner or "")
            if owner is not None and self._is_the_owners_own(group):
                self._twigs[one] = owner
            else:
                twig = self._twigs[one] = _Twig(_clean(group.label), is_arm=owner is not None)
                (owner or self._place(root, group.group)).twigs.append(twig)
        return self._twigs[one]

    def _is_the_owners_own(self, group: Group) -> bool:
        """What hangs on the node itself: a loop's body, the only handler, the body of a task group."""
        if group.kind == "loop":
            return True
        return sum(other.owner == group.owner for other in self._graph.groups) == 1 and group.kind in (
            "branch",
            "except",
        )

    def _line(self, node: Node) -> str:
        # "match …" is no "if".
        word = "" if node.kind == "decision" and node.label.startswith("match ") else _WORDS.get(node.kind, "")
        words = [word + _clean(node.label)]
        if node.detail:
            words.append(f"({_clean(node.detail)})")
        words += self._undone_by(node)
        if node.run is not None:
            words.append(f"[{status_text(node.run)}]")
        return " ".join(words)

    def _undone_by(self, node: Node) -> Iterator[str]:
        for edge in self._graph.edges:
            if edge.kind == "compensation" and edge.source == node.id:
                undo = self._nodes[edge.target]
                state = f" {SYMBOLS[undo.run.status]}" if undo.run else ""
                yield f"(undone by {_clean(undo.label)}{state})"

    def _early_end(self, edge: Edge) -> None:
        """A line for an arrow that leaves early: a return, a raise, a break, a continue."""
        words = edge.label.split(": ")
        ends = self._nodes[edge.target].kind in ("end", "failed")
        leaves = [word for word in words if word in ("return", "break", "continue") or word.startswith("raise ")]
        twig = self._twigs.get(edge.source)
        if twig is None or not (leaves or (ends and edge.kind == "error")):
            return
        text = f"→ {_clean(leaves[0] if leaves else 'failed')}"
        end = _Twig(text, is_taken=edge.taken)
        arm = words[0] if len(words) > 1 else ""
        twig.twigs.append(_Twig(_clean(arm), True, twigs=[end]) if arm else end)


def _drawn(twigs: list[_Twig], indent: str) -> Iterator[tuple[str, bool]]:
    for place, twig in enumerate(twigs):
        is_last = place == len(twigs) - 1
        text, below, is_taken = twig.text, twig.twigs, twig.is_taken or (twig.is_arm and _leads_on(twig))
        if twig.is_arm and len(below) == 1:
            text, below = f"{text}: {below[0].text}", below[0].twigs
        yield f"{indent}{'└─' if is_last else '├─'} {text}", is_taken
        yield from _drawn(below, indent + ("   " if is_last else "│  "))


def _leads_on(twig: _Twig) -> bool:
    return any(one.is_taken or _leads_on(one) for one in twig.twigs)


def _clean(text: str) -> str:
    """Nothing that a terminal would take for a command."""
    return "".join(one if one.isprintable() else " " for one in text)
