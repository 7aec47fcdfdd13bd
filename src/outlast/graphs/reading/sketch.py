"""A graph while it is drawn: boxes, and loose ends of arrows that still look for a box to lead to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from outlast.graphs.graph import Edge, EdgeKind, Graph, Group, GroupKind, Node, NodeKind
from outlast.graphs.reading.source import shorten

_DETAIL_MAX: Final = 120


@dataclass(frozen=True, slots=True)
class Loose:
    """The beginning of an arrow: where from, and what it says."""

    source: str
    kind: EdgeKind = "normal"
    label: str = ""

    def saying(self, label: str, kind: EdgeKind | None = None) -> Loose:
        """The same end with one more word on it, and of another kind where one is given."""
        words = [word for word in (self.label, label) if word]
        return Loose(self.source, kind or self.kind, shorten(": ".join(dict.fromkeys(words))))


class Sketch:
    """Boxes and arrows so far. `loose` is where the flow stands: empty where the code cannot be reached."""

    def __init__(self) -> None:
        self.loose: list[Loose] = []
        self._nodes: dict[str, Node] = {}
        self._edges: dict[Edge, None] = {}
        self._groups: dict[str, Group] = {}
        self._numbers: Counter[str] = Counter()
        self._group: str | None = None

    @property
    def size(self) -> int:
        """Boxes so far."""
        return len(self._nodes)

    def nth(self, place: int) -> str:
        """The id of a box, by the order in which they were drawn."""
        return list(self._nodes)[place]

    def add(self, kind: NodeKind, label: str, line: int, *, name: str = "", detail: str = "") -> str:
        """Draw a box, and lead to it whatever is loose. Returns: its id."""
        one = self.aside(kind, label, line, name=name, detail=detail)
        self.lead(self.loose, one)
        self.loose = [Loose(one)]
        return one

    def aside(self, kind: NodeKind, label: str, line: int, *, name: str = "", detail: str = "") -> str:
        """Draw a box that the flow does not go through. Returns: its id."""
        one = self._new_id(f"{kind}:{name}" if name else kind)
        self._nodes[one] = Node(one, kind, shorten(label), line, self._group, shorten(detail, _DETAIL_MAX))
        return one

    def lead(self, loose: Iterable[Loose], target: str) -> None:
        """Lead loose ends to a box."""
        for one in loose:
            self._edges[Edge(one.source, target, one.kind, one.label)] = None

    def lead_back(self, loose: Iterable[Loose], target: str) -> None:
        """Lead loose ends back to the box where a loop begins. A body without a box needs no arrow."""
        self.lead((replace(one, kind="loop") for one in loose if one.source != target), target)

    @contextmanager
    def group(self, kind: GroupKind, label: str, line: int, owner: str | None = None) -> Iterator[None]:
        """Whatever is drawn meanwhile lies in this part of the code."""
        one, around = self._new_id(f"group:{kind}"), self._group
        self._groups[one] = Group(one, kind, shorten(label), line, around, owner)
        self._group = one
        try:
            yield
        finally:
            self._group = around

    def graph(self, name: str) -> Graph:
        """The drawing as it is now."""
        return Graph(name, tuple(self._nodes.values()), tuple(self._kept_edges()), tuple(self._filled_groups()))

    def _new_id(self, name: str) -> str:
        self._numbers[name] += 1
        return f"{name}#{self._numbers[name]}"

    def _kept_edges(self) -> Iterator[Edge]:
        others = {(edge.source, edge.target) for edge in self._edges if edge.kind != "error" or edge.label}
        for edge in self._edges:
            # To `finally` both good and bad ends lead: one arrow is enough.
            if edge.kind != "error" or edge.label or (edge.source, edge.target) not in others:
                yield edge

    def _filled_groups(self) -> Iterator[Group]:
        filled: set[str] = set()
        for node in self._nodes.values():
            one = node.group
            while one is not None and one not in filled:
                filled.add(one)
                one = self._groups[one].group
        return (group for group in self._groups.values() if group.id in filled)
