"""Lays a run over a drawing: what became of each box, and the way that the run took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from outlast.graphs.graph import Edge, Graph, Node, NodeKind, RunState

_RECORDED: Final[frozenset[NodeKind]] = frozenset({"step", "compensation", "wait", "sleep", "input", "child"})
"""What leaves a record of its own. All else is inferred from what was recorded before and behind it."""
_ALL_AT_ONCE: Final[frozenset[NodeKind]] = frozenset({"fork", "each"})


def with_run(graph: Graph, states: Mapping[str, RunState]) -> Graph:
    """The same drawing with a run on it: nodes carry their state, and the way taken is marked.

    Steps, waits and children leave records; decisions do not. An arm counts as taken when something was reached that
    only it leads to. Where records cannot tell which of two arms was taken, neither is marked.

    Args:
        graph: A drawing; a run that lies on it already is replaced.
        states: What became of nodes, by their ids. A state for `end#1` or `failed#1` says that the run ended there. Ids
            that the graph does not have are kept in `unplaced`.
    """
    known = graph.by_id()
    way = _Way(graph, {one: state for one, state in states.items() if one in known})
    way.walk()
    return replace(
        graph,
        nodes=tuple(replace(node, run=states.get(node.id), taken=node.id in way.nodes) for node in graph.nodes),
        edges=tuple(replace(edge, taken=edge in way.edges) for edge in _clean(graph.edges)),
        unplaced=tuple(one for one in states if one not in known),
    )


def _clean(edges: Sequence[Edge]) -> list[Edge]:
    return [replace(edge, taken=False) for edge in edges]


class _Way:
    """Finds the way of a run. Sets of nodes are the bits of numbers: a node's place in the code is its bit."""

    def __init__(self, graph: Graph, states: Mapping[str, RunState]) -> None:
        self.nodes: set[str] = set()
        self.edges: set[Edge] = set()
        self._graph = graph
        self._states = states
        self._bits = {node.id: 1 << place for place, node in enumerate(graph.nodes)}
        self._kinds = {node.id: node.kind for node in graph.nodes}
        self._out: dict[str, list[Edge]] = {node.id: [] for node in graph.nodes}
        for edge in _clean(graph.edges):
            self._out[edge.source].append(edge)
        self._visited = sum(self._bits[one] for one, state in states.items() if state.status != "skipped")
        self._next: dict[str, int] = dict.fromkeys(self._bits, 0)
        self._reach: dict[str, int] = dict(self._bits)
        # Only loops lead back, and what a loop leads back to is known in the second round.
        for _ in range(2):
            for node in reversed(graph.nodes):
                self._look_ahead(node)

    def _look_ahead(self, node: Node) -> None:
        for edge in self._out[node.id]:
            if edge.kind != "compensation":
                self._next[node.id] |= self._first(edge)
                if edge.kind != "loop":
                    self._reach[node.id] |= self._reach[edge.target]

    def _first(self, edge: Edge) -> int:
        """The first nodes with records that an edge leads to."""
        return self._bits[edge.target] if self._is_recorded(edge.target) else self._next[edge.target]

    def _is_recorded(self, node: str) -> bool:
        return node in self._states or self._kinds[node] in _RECORDED

    def walk(self) -> None:
        """Go from all that was reached along the edges that lead to something else that was."""
        waiting = [one for one, bit in self._bits.items() if bit & self._visited]
        if waiting:
            waiting.append(self._graph.nodes[0].id)
        while waiting:
            node = waiting.pop()
            if node in self.nodes:
                continue
            self.nodes.add(node)
            for edge in self._choices(node):
                self.edges.add(edge)
                waiting.append(edge.target)

    def _choices(self, node: str) -> list[Edge]:
        undone = [
            edge for edge in self._out[node] if edge.kind == "compensation" and self._bits[edge.target] & self._visited
        ]
        arms = [edge for edge in self._out[node] if edge.kind != "compensation" and self._first(edge) & self._visited]
        if self._is_recorded(node):
            return undone + [edge for edge in arms if self._went_on(self._states.get(node), edge)]
        if self._kinds[node] in _ALL_AT_ONCE or len(self._out[node]) == 1:
            return undone + arms
        return undone + self._decide(arms)

    def _went_on(self, state: RunState | None, edge: Edge) -> bool:
        if state is None:
            return False
        if edge.kind == "error":
            return state.status == "failed"
        return state.status == "done" or state.count > 1

    def _decide(self, arms: list[Edge]) -> list[Edge]:
        # Back to the beginning of a loop leads everywhere: it proves nothing while another arm leads on.
        onward = [edge for edge in arms if edge.kind != "loop"] or arms
        sure = [edge for edge in onward if self._seen(edge) & ~self._reached_by_others(edge, onward)]
        if not sure:
            # Two arms to the same place: nobody can tell, and the way is taken up again behind them.
            return onward if len(onward) == 1 else []
        passes = sum(self._passes(edge) for edge in sure)
        # In a loop, what lies behind was reached more often than this way alone explains.
        sure += [edge for edge in onward if edge not in sure and self._passes(edge) > passes]
        return sure

    def _seen(self, edge: Edge) -> int:
        return self._first(edge) & self._visited

    def _reached_by_others(self, edge: Edge, arms: list[Edge]) -> int:
        reached = 0
        for other in arms:
            if other.target != edge.target and other.kind != "loop":
                reached |= self._reach[other.target]
        return reached

    def _passes(self, edge: Edge) -> int:
        seen = self._seen(edge)
        return max((state.count for one, state in self._states.items() if self._bits[one] & seen), default=0)
