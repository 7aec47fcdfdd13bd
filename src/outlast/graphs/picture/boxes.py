"""What stands in a box, and how big that makes it. Lengths are in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from outlast.graphs.graph import Node, NodeKind
from outlast.graphs.picture.glyphs import width, wrapped
from outlast.graphs.rendering.statuses import status_text

LABEL_SIZE: Final = 13.0
DETAIL_SIZE: Final = 11.0
EDGE_SIZE: Final = 11.0
_TEXT_WIDTH_MAX: Final = 210.0
_PAD_X: Final = 14.0
_PAD_Y: Final = 9.0
_HEIGHT: Final = 1.35
"""A row's height, in sizes of its font."""
_WIDTH_MIN: Final[dict[NodeKind, float]] = {"start": 70, "end": 70, "failed": 70, "fork": 96, "join": 96}
_SLANTED: Final[frozenset[NodeKind]] = frozenset({"decision", "loop", "except"})
SLANT: Final = 11.0
"""How much of a slanted box's width its pointed ends take, on either side."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of text: its style is `label`, `detail` or `status`; `y` is its baseline below the box's top."""

    text: str
    style: str
    y: float
    width: float


@dataclass(frozen=True, slots=True)
class Box:
    """A node's rows and size."""

    node: Node
    rows: tuple[Row, ...]
    width: float
    height: float

    @property
    def is_slanted(self) -> bool:
        """Its left and right ends are pointed: the code decides something here."""
        return self.node.kind in _SLANTED


def box(node: Node) -> Box:
    """Measure a node."""
    rows: list[Row] = []
    y = _PAD_Y
    for text, style, size in _texts(node):
        rows.append(Row(text, style, y + size, width(text, size)))
        y += size * _HEIGHT
    sides = _PAD_X + (SLANT if node.kind in _SLANTED else 0)
    wide = max((row.width for row in rows), default=0.0) + 2 * sides
    return Box(node, tuple(rows), max(wide, _WIDTH_MIN.get(node.kind, 84.0)), y + _PAD_Y - 2)


def _texts(node: Node) -> list[tuple[str, str, float]]:
    texts = [(row, "label", LABEL_SIZE) for row in wrapped(node.label, LABEL_SIZE, _TEXT_WIDTH_MAX, 3)]
    texts += [(row, "detail", DETAIL_SIZE) for row in wrapped(node.detail, DETAIL_SIZE, _TEXT_WIDTH_MAX, 4)]
    if node.run is not None:
        texts.append((status_text(node.run), "status", DETAIL_SIZE))
    return texts
