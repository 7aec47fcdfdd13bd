"""SVG: a file of its own that a browser shows, in light and in dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from outlast.graphs.graph import Graph
from outlast.graphs.picture.boxes import SLANT
from outlast.graphs.picture.frames import Frame, PlacedBox
from outlast.graphs.picture.routes import Layout, Route, layout
from outlast.graphs.picture.style import style

_HEADS: Final = ("plain", "error", "taken")
_PILLS: Final = frozenset({"start", "end", "failed", "sleep", "wait", "input"})
_ROUND: Final = 7.0


def svg(graph: Graph) -> str:
    """The graph as a standalone SVG document, from the top down.

    Each box is a `<g class="ol-node">` with the node's id in `data-node`; a tooltip names its line in the code.
    """
    return "\n".join(_document(graph, layout(graph))) + "\n"


def text(value: str) -> str:
    """Text for between tags and for attributes. What XML has no place for becomes U+FFFD."""
    return escape("".join(one if _is_allowed(one) else "\ufffd" for one in value))


def _is_allowed(one: str) -> bool:
    code = ord(one)
    return code in (9, 10, 13) or 32 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or code >= 0x10000


def _document(graph: Graph, placed: Layout) -> Iterator[str]:
    width, height = f"{placed.width:g}", f"{placed.height:g}"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="ol" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" aria-label="{text(graph.name)}">'
    )
    yield f"<title>{text(graph.name)}</title>"
    yield f"<style>\n{style()}\n</style>"
    yield "<defs>"
    for head in _HEADS:
        yield (
            f'<marker id="ol-{head}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
            f'markerUnits="userSpaceOnUse" orient="auto"><path class="ol-head {head}" d="M0,0.5 L8,4 L0,7.5 z"/>'
            "</marker>"
        )
    yield "</defs>"
    yield f'<rect class="ol-paper" width="{width}" height="{height}"/>'
    for frame in placed.frames:
        yield _frame(frame)
    # What was taken is drawn over what was not.
    for route in sorted(placed.routes, key=lambda one: one.edge.taken):
        yield _edge(route)
    for route in placed.routes:
        yield from _word(route)
    for frame in placed.frames:
        yield f'<text class="ol-word ol-corner" x="{frame.x + 4:g}" y="{frame.y - 3:g}">{text(frame.label)}</text>'
    for one in placed.boxes:
        yield from _node(one)
    yield "</svg>"


def _frame(frame: Frame) -> str:
    corner = f'x="{frame.x:g}" y="{frame.y:g}" width="{frame.width:g}" height="{frame.height:g}"'
    return f'<rect class="ol-frame" {corner} rx="{_ROUND:g}"/>'


def _edge(route: Route) -> str:
    edge = route.edge
    head = "taken" if edge.taken else "error" if edge.kind == "error" else "plain"
    classes = f"ol-edge {edge.kind}{' taken' if edge.taken else ''}"
    path = f"M{_point(route.start)}"
    for first, second, end in route.curves:
        path += f" L{_point(end)}" if second == end else f" C{_point(first)} {_point(second)} {_point(end)}"
    names = f'data-source="{text(edge.source)}" data-target="{text(edge.target)}"'
    return f'<path class="{classes}" {names} d="{path}" marker-end="url(#ol-{head})"/>'


def _point(point: tuple[float, float]) -> str:
    return f"{point[0]:g},{point[1]:g}"


def _word(route: Route) -> Iterator[str]:
    label = route.label
    if label is None:
        return
    x, y = label.x - label.width / 2, label.y - label.height / 2
    yield f'<rect class="ol-paper" x="{x:g}" y="{y:g}" width="{label.width:g}" height="{label.height:g}"/>'
    yield f'<text class="ol-word" x="{label.x:g}" y="{label.y + 4:g}">{text(label.text)}</text>'


def _node(one: PlacedBox) -> Iterator[str]:
    node = one.box.node
    status = f" {node.run.status}-run" if node.run else ""
    yield f'<g class="ol-node {node.kind}{status}" data-node="{text(node.id)}">'
    yield f"<title>{text(node.label)} (line {node.line})</title>"
    yield _shape(one)
    for row in one.box.rows:
        x, y = one.x + one.box.width / 2, one.y + row.y
        yield f'<text class="ol-{row.style}" x="{x:g}" y="{y:g}">{text(row.text)}</text>'
    yield "</g>"


def _shape(one: PlacedBox) -> str:
    x, y, width, height = one.x, one.y, one.box.width, one.box.height
    if one.box.is_slanted:
        right, middle, bottom = x + width, y + height / 2, y + height
        corners = [(x, middle), (x + SLANT, y), (right - SLANT, y), (right, middle), (right - SLANT, bottom)]
        corners.append((x + SLANT, bottom))
        points = " ".join(f"{left:g},{top:g}" for left, top in corners)
        return f'<polygon class="ol-box" stroke-linejoin="round" points="{points}"/>'
    radius = min(height / 2, 18.0) if one.box.node.kind in _PILLS else _ROUND
    frame = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"'
    return f'<rect class="ol-box" {frame}/>'
