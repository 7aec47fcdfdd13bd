"""DOT: text that Graphviz turns into a picture."""

from __future__ import annotations

from typing import Final

from outlast.graphs.graph import Edge, EdgeKind, Graph, Node, NodeKind, Status
from outlast.graphs.rendering.frames import Framed, framed
from outlast.graphs.rendering.statuses import status_text

_SHAPES: Final[dict[NodeKind, str]] = {
    "start": 'shape=box, style="rounded,filled,bold"',
    "end": 'shape=box, style="rounded,filled,bold"',
    "failed": 'shape=box, style="rounded,filled,bold", fillcolor="#fee2e2", color="#b91c1c"',
    "decision": 'shape=hexagon, style="filled"',
    "loop": 'shape=hexagon, style="filled"',
    "except": 'shape=hexagon, style="filled", color="#b91c1c"',
    "fork": 'shape=box, style="filled,bold"',
    "join": 'shape=box, style="filled,bold"',
    "each": 'shape=box, style="filled,bold"',
    "compensation": 'shape=box, style="rounded,filled,dashed"',
    "unreadable": 'shape=box, style="filled,dashed", fillcolor="#f3f4f6"',
    "recursion": 'shape=box, style="filled,dashed"',
    "wait": 'shape=box, style="rounded,filled", fillcolor="#fef3c7"',
    "input": 'shape=box, style="rounded,filled", fillcolor="#fef3c7"',
    "sleep": 'shape=box, style="rounded,filled", fillcolor="#fef3c7"',
    "child": 'shape=box, style="rounded,filled", fillcolor="#ede9fe", peripheries=2',
}
_LINES: Final[dict[EdgeKind, str]] = {
    "normal": "",
    "branch": "",
    "loop": "constraint=false",
    "parallel": "",
    "compensation": "style=dotted, constraint=false",
    "error": 'style=dashed, color="#b91c1c"',
}
_STATUS_COLOURS: Final[dict[Status, str]] = {
    "done": 'fillcolor="#dcfce7", color="#15803d"',
    "running": 'fillcolor="#dbeafe", color="#1d4ed8", penwidth=2',
    "waiting": 'fillcolor="#fef9c3", color="#a16207", penwidth=2',
    "failed": 'fillcolor="#fee2e2", color="#b91c1c", penwidth=2',
    "skipped": 'fillcolor="#f3f4f6", color="#9ca3af", fontcolor="#6b7280"',
}


def dot(graph: Graph) -> str:
    """The graph in Graphviz's language, from the top down, ending with a line break."""
    names = {node.id: f"n{place}" for place, node in enumerate(graph.nodes)}
    lines = [
        f"digraph {quoted(graph.name)} {{",
        '    node [fontname="Helvetica", fontsize=11, fillcolor="#ffffff", style="rounded,filled", shape=box]',
        '    edge [fontname="Helvetica", fontsize=9]',
        *_framed(framed(graph), names, "    "),
        *(_arrow(edge, names) for edge in graph.edges),
        "}",
    ]
    return "\n".join(lines) + "\n"


def quoted(*rows: str) -> str:
    """Text of one or several rows as one quoted string."""
    # A backslash would begin one of Graphviz's own escapes, such as \\N for the node's name.
    clean = ["".join(one if one.isprintable() else " " for one in row) for row in rows]
    return '"' + "\\n".join(row.replace("\\", "\\\\").replace('"', '\\"') for row in clean) + '"'


def _framed(frame: Framed, names: dict[str, str], indent: str) -> list[str]:
    lines: list[str] = []
    for item in frame.items:
        if isinstance(item, Node):
            lines.append(f"{indent}{names[item.id]} [{_box(item)}]")
        else:
            lines.append(f"{indent}subgraph cluster_{item.number} {{")
            lines.append(f'{indent}    label={quoted(item.label)}; style="rounded"; color="#9ca3af"; fontsize=9')
            lines += _framed(item, names, indent + "    ")
            lines.append(f"{indent}}}")
    return lines


def _box(node: Node) -> str:
    rows = [node.label, node.detail, status_text(node.run) if node.run else ""]
    parts = [f"label={quoted(*(row for row in rows if row))}", f"id={quoted(node.id)}", _SHAPES.get(node.kind, "")]
    if node.run is not None:
        # The later of two values holds.
        parts.append(_STATUS_COLOURS[node.run.status])
    return ", ".join(part for part in parts if part)


def _arrow(edge: Edge, names: dict[str, str]) -> str:
    parts = [f"label={quoted(edge.label)}" if edge.label else "", _LINES[edge.kind]]
    if edge.taken:
        parts.append('color="#15803d", penwidth=2.5')
    shown = ", ".join(part for part in parts if part)
    return f"    {names[edge.source]} -> {names[edge.target]}" + (f" [{shown}]" if shown else "")
