"""The whole layout: placed boxes, and the curves between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from outlast.graphs.graph import Edge, Graph
from outlast.graphs.picture.boxes import SLANT
from outlast.graphs.picture.frames import Frame, PlacedBox, frames
from outlast.graphs.picture.layers import Cell, Wire, layered
from outlast.graphs.picture.order import ordered
from outlast.graphs.picture.places import place

Point = tuple[float, float]
_PORT_GAP: Final = 18.0
_PORT_EDGE: Final = 14.0
_NEARLY: Final = 26.0
_TURN: Final = 22.0
"""How far a curve that turns round reaches beyond the layer, at its control points."""


@dataclass(frozen=True, slots=True)
class Label:
    """An edge's text around its middle."""

    text: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Route:
    """An edge as curves: a beginning, then three points for each curve, of which the third is where it arrives."""

    edge: Edge
    start: Point
    curves: tuple[tuple[Point, Point, Point], ...]
    label: Label | None

    @property
    def end(self) -> Point:
        """Where the arrow's head is."""
        return self.curves[-1][2]


@dataclass(frozen=True, slots=True)
class Layout:
    """A picture's geometry. Everything lies between 0 and its width and height."""

    boxes: tuple[PlacedBox, ...]
    routes: tuple[Route, ...]
    frames: tuple[Frame, ...]
    width: float
    height: float


def layout(graph: Graph, margin: float = 24.0) -> Layout:
    """Place a graph's boxes and lead its edges."""
    whole = layered(graph)
    layers = ordered(whole.layers, [wire.bends for wire in whole.wires if wire.is_back])
    place(layers)
    cells = [cell for layer in layers for cell in layer]
    for cell in cells:
        cell.x, cell.y = cell.x + margin, cell.y + margin
    bands = {
        cell.rank: (
            min(one.y - one.height / 2 for one in layers[cell.rank]),
            max(one.y + one.height / 2 for one in layers[cell.rank]),
        )
        for cell in cells
    }
    ports = _Ports(whole.wires)
    routes = tuple(_route(wire, ports, bands) for wire in whole.wires)
    boxes = tuple(
        PlacedBox(cell.box, round(cell.x - cell.width / 2, 1), round(cell.y - cell.height / 2, 1))
        for cell in cells
        if cell.box is not None
    )
    width = max((cell.x + cell.width / 2 for cell in cells), default=0.0) + margin
    height = max((cell.y + cell.height / 2 for cell in cells), default=0.0) + margin
    return Layout(boxes, routes, tuple(frames(graph, boxes)), round(width, 1), round(height, 1))


class _Ports:
    """Where edges leave a box and come to it: side by side, in the order of where they go."""

    def __init__(self, wires: Sequence[Wire]) -> None:
        flowing = [wire for wire in wires if wire.edge.kind != "compensation"]
        self.leaving = _spread(flowing, lambda wire: wire.source, lambda wire: (*wire.bends, wire.target)[0].x)
        self.coming = _spread(flowing, lambda wire: wire.target, lambda wire: (wire.source, *wire.bends)[-1].x)
        leaving = Counter(id(wire.source) for wire in flowing)
        coming = Counter(id(wire.target) for wire in flowing)
        for wire in flowing:
            if not wire.is_back and not wire.bends:
                self._straighten(wire, leaving[id(wire.source)] == 1, coming[id(wire.target)] == 1)

    def _straighten(self, wire: Wire, leaves_alone: bool, comes_alone: bool) -> None:
        """A short edge that is nearly straight is made so, where it is the only one at one of its ends."""
        from_x, to_x = self.leaving[id(wire)], self.coming[id(wire)]
        if leaves_alone and _is_on(wire.source, to_x):
            self.leaving[id(wire)] = to_x
        elif comes_alone and _is_on(wire.target, from_x):
            self.coming[id(wire)] = from_x


def _is_on(cell: Cell, x: float) -> bool:
    return abs(x - cell.x) <= min(_NEARLY, cell.width / 2 - _PORT_EDGE - SLANT)


def _spread(wires: Sequence[Wire], at: Callable[[Wire], Cell], towards: Callable[[Wire], float]) -> dict[int, float]:
    by_cell: dict[int, list[Wire]] = {}
    for wire in wires:
        by_cell.setdefault(id(at(wire)), []).append(wire)
    ports: dict[int, float] = {}
    for group in by_cell.values():
        cell = at(group[0])
        group.sort(key=towards)
        inset = _PORT_EDGE + (SLANT if cell.box is not None and cell.box.is_slanted else 0)
        gap = min(_PORT_GAP, (cell.width - 2 * inset) / max(1, len(group) - 1))
        for number, wire in enumerate(group):
            ports[id(wire)] = cell.x + (number - (len(group) - 1) / 2) * gap
    return ports


def _route(wire: Wire, ports: _Ports, bands: dict[int, tuple[float, float]]) -> Route:
    source, target = wire.source, wire.target
    if wire.edge.kind == "compensation":
        start = (source.x + source.width / 2, source.y)
        end = (target.x - target.width / 2, target.y)
        return Route(wire.edge, _rounded(start), (_line(start, end),), None)
    start = (ports.leaving[id(wire)], source.y + source.height / 2)
    end = (ports.coming[id(wire)], target.y - target.height / 2)
    pen = _Pen(start)
    pen.line_to(bands[source.rank][1])
    for bend in wire.bends:
        top, bottom = bands[bend.rank]
        into, out = (bottom, top) if wire.is_back else (top, bottom)
        pen.curve_to((bend.x, into), turns=wire.is_back and bend is wire.bends[0])
        pen.line_to(out)
    pen.curve_to((end[0], bands[target.rank][0]), turns=wire.is_back)
    pen.line_to(end[1])
    return Route(wire.edge, _rounded(start), tuple(pen.curves), _label(wire))


def _label(wire: Wire) -> Label | None:
    for bend in wire.bends:
        if bend.label:
            return Label(bend.label, bend.x, bend.y, bend.width, bend.height)
    return None


class _Pen:
    """Draws straight lines and curves from where it stands."""

    def __init__(self, at: Point) -> None:
        self._at = at
        self._way = 1.0
        self.curves: list[tuple[Point, Point, Point]] = []

    def line_to(self, y: float) -> None:
        """Straight up or down."""
        if abs(y - self._at[1]) > 0.05:
            self._add(_line(self._at, (self._at[0], y)))

    def curve_to(self, end: Point, *, turns: bool = False) -> None:
        """To the next layer; or, where it turns round, back into the same one."""
        (x, y), (end_x, end_y) = self._at, end
        if turns:
            reach = y + self._way * _TURN
            self._way = -self._way
            self._add(((x, reach), (end_x, reach), end))
        else:
            middle = (y + end_y) / 2
            self._add(((x, middle), (end_x, middle), end))

    def _add(self, curve: tuple[Point, Point, Point]) -> None:
        first, second, end = curve
        self.curves.append((_rounded(first), _rounded(second), _rounded(end)))
        self._at = end


def _line(start: Point, end: Point) -> tuple[Point, Point, Point]:
    return start, end, end


def _rounded(point: Point) -> Point:
    return round(point[0], 1), round(point[1], 1)
