"""Puts boxes into layers, and lets long edges pass through the layers between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from outlast.graphs.graph import Edge, Graph
from outlast.graphs.picture.boxes import EDGE_SIZE, Box, box
from outlast.graphs.picture.glyphs import width

_LABEL_HEIGHT: Final = 18.0
_LABEL_PAD: Final = 5.0


@dataclass(slots=True, eq=False)
class Cell:
    """Something that takes room in a layer: a box, or the place where an edge passes, with its label if it has one.

    Attributes:
        x: Of its middle; `y` is its middle's too. Both are set when places are found.
        above, below: Cells of the neighbouring layers that edges join it with.
        beside: The box in the same layer that this one wants to be next to.
        is_back: An edge that leads up passes here.
        side: Where it wants to be of what it is beside: 1 right, -1 left.
    """

    rank: int
    width: float
    height: float
    box: Box | None = None
    label: str = ""
    x: float = 0.0
    y: float = 0.0
    above: list[Cell] = field(default_factory=list)
    below: list[Cell] = field(default_factory=list)
    beside: Cell | None = None
    is_back: bool = False
    side: int = 1

    @property
    def is_bound(self) -> bool:
        """It must be the next one right of what it is beside: no other may come between."""
        return self.box is not None and self.beside is not None


@dataclass(frozen=True, slots=True, eq=False)
class Wire:
    """An edge's way: from a box, through the cells between, to a box. `is_back`: it leads up."""

    edge: Edge
    source: Cell
    bends: tuple[Cell, ...]
    target: Cell
    is_back: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """All cells by layer, and all wires."""

    layers: list[list[Cell]]
    wires: list[Wire]


def layered(graph: Graph) -> Layers:
    """A layer for each box by the longest way to it, and cells where edges pass."""
    ranks = _ranks(graph)
    cells = {}
    for node in graph.nodes:
        measured = box(node)
        cells[node.id] = Cell(ranks[node.id], measured.width, measured.height, measured)
    layers: list[list[Cell]] = [[] for _ in range(max(ranks.values(), default=0) + 1)]
    for cell in cells.values():
        layers[cell.rank].append(cell)
    wires = [_wire(edge, cells, layers) for edge in graph.edges]
    return Layers(layers, wires)


def _ranks(graph: Graph) -> Mapping[str, int]:
    places = {node.id: place for place, node in enumerate(graph.nodes)}
    ranks = dict.fromkeys(places, 0)
    out: dict[str, list[Edge]] = {one: [] for one in places}
    for edge in graph.edges:
        if edge.kind != "compensation" and places[edge.target] > places[edge.source]:
            out[edge.source].append(edge)
    # Only edges back lead to an earlier node: in this order, each is final when it is come to.
    for node in graph.nodes:
        for edge in out[node.id]:
            # A label needs a layer of its own, or it would lie on something.
            ranks[edge.target] = max(ranks[edge.target], ranks[node.id] + (2 if edge.label else 1))
    for edge in graph.edges:
        if edge.kind == "compensation":
            ranks[edge.target] = ranks[edge.source]
    for node in graph.nodes:
        if node.kind == "end":
            ranks[node.id] = max(ranks.values())
    return ranks


def _wire(edge: Edge, cells: Mapping[str, Cell], layers: Sequence[list[Cell]]) -> Wire:
    source, target = cells[edge.source], cells[edge.target]
    if edge.kind == "compensation":
        target.beside = source
        return Wire(edge, source, (), target)
    is_back = target.rank <= source.rank
    # Back: first down out of the source's layer, up beside it and all others, and in from above.
    passed = range(source.rank, target.rank - 1, -1) if is_back else range(source.rank + 1, target.rank)
    bends = [_bend(rank, edge.label if not place else "") for place, rank in enumerate(passed)]
    for bend in bends:
        layers[bend.rank].append(bend)
    if is_back:
        for bend in bends:
            bend.is_back = True
        # When there is only one, its beginning and its end want the same place.
        bends[-1].beside = target
        bends[0].beside = source
        _join(list(reversed(bends)))
    else:
        _join([source, *bends, target])
    return Wire(edge, source, tuple(bends), target, is_back)


def _bend(rank: int, label: str) -> Cell:
    if not label:
        return Cell(rank, 2.0, 0.0)
    return Cell(rank, width(label, EDGE_SIZE) + 2 * _LABEL_PAD, _LABEL_HEIGHT, label=label)


def _join(chain: Sequence[Cell]) -> None:
    for upper, lower in pairwise(chain):
        upper.below.append(lower)
        lower.above.append(upper)
