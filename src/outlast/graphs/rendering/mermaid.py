"""Mermaid: text that a wiki, an editor or a code host turns into a picture."""

from __future__ import annotations

import re
from typing import Final

from outlast.graphs.graph import EdgeKind, Graph, Node, NodeKind, Status
from outlast.graphs.rendering.frames import Framed, framed
from outlast.graphs.rendering.statuses import status_text

_SHAPES: Final[dict[NodeKind, tuple[str, str]]] = {
    "start": ("([", "])"),
    "end": ("([", "])"),
    "failed": ("([", "])"),
    "decision": ("{{", "}}"),
    "loop": ("{{", "}}"),
    "fork": ("[[", "]]"),
    "join": ("[[", "]]"),
    "each": ("[[", "]]"),
    "except": ("{{", "}}"),
    "compensation": ("[/", "/]"),
}
_ARROWS: Final[dict[EdgeKind, str]] = {
    "normal": "-->",
    "branch": "-->",
    "loop": "-->",
    "parallel": "==>",
    "compensation": "-.->",
    "error": "-.->",
}
_COLOURS: Final[dict[str, str]] = {
    "wait": "fill:#fef3c7,stroke:#b45309,color:#1f2937",
    "input": "fill:#fef3c7,stroke:#b45309,color:#1f2937",
    "sleep": "fill:#fef3c7,stroke:#b45309,color:#1f2937",
    "child": "fill:#ede9fe,stroke:#6d28d9,color:#1f2937",
    "unreadable": "fill:#f3f4f6,stroke:#6b7280,color:#1f2937,stroke-dasharray:4 3",
    "failed": "fill:#fee2e2,stroke:#b91c1c,color:#1f2937",
}
_STATUS_COLOURS: Final[dict[Status, str]] = {
    "done": "fill:#dcfce7,stroke:#15803d,color:#1f2937",
    "running": "fill:#dbeafe,stroke:#1d4ed8,color:#1f2937,stroke-width:3px",
    "waiting": "fill:#fef9c3,stroke:#a16207,color:#1f2937,stroke-width:3px",
    "failed": "fill:#fee2e2,stroke:#b91c1c,color:#1f2937,stroke-width:3px",
    "skipped": "fill:#f3f4f6,stroke:#9ca3af,color:#6b7280,stroke-dasharray:4 3",
}
# Letters of any script, digits, and what means nothing to Mermaid, Markdown or HTML.
_PLAIN: Final = re.compile(r"[^\W_]|[ ,.?!'()=+…→×·✓✗▶–]|(?<=[^\W_])_(?=[^\W_])")


def mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flowchart, from the top down, ending with a line break."""
    names = {node.id: f"n{place}" for place, node in enumerate(graph.nodes)}
    lines = ["flowchart TD", *_framed(framed(graph), names, "    ")]
    taken: list[str] = []
    for place, edge in enumerate(graph.edges):
        label = f'|"{escaped(edge.label)}"|' if edge.label else ""
        lines.append(f"    {names[edge.source]} {_ARROWS[edge.kind]}{label} {names[edge.target]}")
        if edge.taken:
            taken.append(str(place))
    lines += _classes(graph, names)
    if taken:
        lines.append(f"    linkStyle {','.join(taken)} stroke:#15803d,stroke-width:3px")
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text for a quoted label: whatever could mean something is written as a number."""
    plain = "".join(one if _PLAIN.match(text, place) else _code(one) for place, one in enumerate(text))
    # At the beginning, "1." would be a list, and "+" or "-" a bullet.
    return re.sub(r"^(\d+)\.", r"\1#46;", re.sub(r"^[+]", "#43;", plain))


def _code(one: str) -> str:
    # Control characters have no place in a picture.
    return f"#{ord(one)};" if ord(one) >= 32 and one.isprintable() else " "


def _framed(frame: Framed, names: dict[str, str], indent: str) -> list[str]:
    lines: list[str] = []
    for item in frame.items:
        if isinstance(item, Node):
            lines.append(f"{indent}{names[item.id]}{_box(item)}")
        else:
            lines.append(f'{indent}subgraph g{item.number}["{escaped(item.label)}"]')
            lines += _framed(item, names, indent + "    ")
            lines.append(f"{indent}end")
    return lines


def _box(node: Node) -> str:
    before, behind = _SHAPES.get(node.kind, ("[", "]"))
    rows = [node.label, node.detail, status_text(node.run) if node.run else ""]
    return f'{before}"{"<br/>".join(escaped(row) for row in rows if row)}"{behind}'


def _classes(graph: Graph, names: dict[str, str]) -> list[str]:
    members: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.run is not None:
            members.setdefault(f"run_{node.run.status}", []).append(names[node.id])
        elif node.kind in _COLOURS:
            members.setdefault(f"kind_{node.kind}", []).append(names[node.id])
    colours = {f"kind_{kind}": colour for kind, colour in _COLOURS.items()}
    colours |= {f"run_{status}": colour for status, colour in _STATUS_COLOURS.items()}
    lines = [f"    classDef {name} {colours[name]}" for name in sorted(members)]
    return lines + [f"    class {','.join(members[name])} {name}" for name in sorted(members)]
