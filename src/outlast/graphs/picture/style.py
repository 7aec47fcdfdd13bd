"""Colours and lines of the picture, in light and in dark."""

from __future__ import annotations

from typing import Final

from outlast.graphs.picture.boxes import DETAIL_SIZE, EDGE_SIZE, LABEL_SIZE

_SHAPES: Final = f"""
.ol text {{ font-family: Helvetica, Arial, "Liberation Sans", "Helvetica Neue", sans-serif; text-anchor: middle; }}
.ol-label {{ font-size: {LABEL_SIZE:g}px; font-weight: 500; }}
.ol-detail {{ font-size: {DETAIL_SIZE:g}px; }}
.ol-status {{ font-size: {DETAIL_SIZE:g}px; font-weight: 600; }}
.ol-word {{ font-size: {EDGE_SIZE:g}px; }}
.ol text.ol-corner {{ text-anchor: start; font-size: 10px; font-style: italic; paint-order: stroke; }}
.ol-box {{ stroke-width: 1.3; }}
.ol-edge {{ fill: none; stroke-width: 1.4; }}
.ol-edge.parallel {{ stroke-width: 2.2; }}
.ol-edge.error {{ stroke-dasharray: 6 3; }}
.ol-edge.compensation {{ stroke-dasharray: 1.5 3.5; stroke-linecap: round; stroke-width: 1.8; }}
.ol-edge.taken {{ stroke-width: 3.2; }}
.compensation .ol-box, .unreadable .ol-box, .recursion .ol-box, .skipped-run .ol-box {{ stroke-dasharray: 5 3; }}
.running-run .ol-box, .waiting-run .ol-box, .failed-run .ol-box {{ stroke-width: 2.4; }}
"""

Palette = dict[str, tuple[str, str, str]]
"""For each class of boxes: fill, stroke, text."""

_LIGHT: Final[Palette] = {
    "box": ("#ffffff", "#64748b", "#0f172a"),
    "ends": ("#e2e8f0", "#475569", "#0f172a"),
    "choice": ("#f0f9ff", "#0284c7", "#0c4a6e"),
    "wait": ("#fffbeb", "#d97706", "#78350f"),
    "child": ("#f5f3ff", "#7c3aed", "#4c1d95"),
    "fork": ("#f1f5f9", "#475569", "#334155"),
    "undo": ("#fdf2f8", "#be185d", "#831843"),
    "odd": ("#f8fafc", "#94a3b8", "#475569"),
    "bad": ("#fef2f2", "#dc2626", "#7f1d1d"),
    "done": ("#dcfce7", "#16a34a", "#14532d"),
    "running": ("#dbeafe", "#2563eb", "#1e3a8a"),
    "waiting": ("#fef9c3", "#ca8a04", "#713f12"),
    "skipped": ("#f8fafc", "#cbd5e1", "#64748b"),
}
_DARK: Final[Palette] = {
    "box": ("#1e293b", "#94a3b8", "#f1f5f9"),
    "ends": ("#334155", "#cbd5e1", "#f8fafc"),
    "choice": ("#0c2a3f", "#38bdf8", "#e0f2fe"),
    "wait": ("#33230a", "#fbbf24", "#fef3c7"),
    "child": ("#2a1f4d", "#a78bfa", "#ede9fe"),
    "fork": ("#273449", "#cbd5e1", "#e2e8f0"),
    "undo": ("#3b1028", "#f472b6", "#fce7f3"),
    "odd": ("#172033", "#64748b", "#cbd5e1"),
    "bad": ("#3f1515", "#f87171", "#fee2e2"),
    "done": ("#0f3320", "#4ade80", "#dcfce7"),
    "running": ("#172c5e", "#60a5fa", "#dbeafe"),
    "waiting": ("#3a2f06", "#facc15", "#fef9c3"),
    "skipped": ("#172033", "#475569", "#94a3b8"),
}
_CLASSES: Final[dict[str, tuple[str, ...]]] = {
    "box": ("step", "helper"),
    "ends": ("start", "end"),
    "choice": ("decision", "loop"),
    "wait": ("wait", "sleep", "input"),
    "child": ("child",),
    "fork": ("fork", "join", "each"),
    "undo": ("compensation",),
    "odd": ("unreadable", "recursion"),
    "bad": ("failed", "except"),
    # A state's colour stands over the kind's.
    "done": ("done-run",),
    "running": ("running-run",),
    "waiting": ("waiting-run",),
    "skipped": ("skipped-run",),
}
_FAILED_RUN: Final = "failed-run"


def style() -> str:
    """The style sheet: light, and dark for who prefers it."""
    dark = "\n".join(f"  {line}" for line in _colours(_DARK, "#0f172a", "#94a3b8", "#4ade80", "#f87171").splitlines())
    light = _colours(_LIGHT, "#ffffff", "#64748b", "#16a34a", "#dc2626")
    return f"{_SHAPES.strip()}\n{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _colours(palette: Palette, paper: str, line: str, taken: str, error: str) -> str:
    rules = [
        f".ol-paper {{ fill: {paper}; }}",
        f".ol-word {{ fill: {line}; }}",
        f".ol-corner {{ stroke: {paper}; stroke-width: 3px; }}",
        f".ol-edge {{ stroke: {line}; }}",
        f".ol-head {{ fill: {line}; }}",
        f".ol-edge.error {{ stroke: {error}; }}",
        f".ol-head.error {{ fill: {error}; }}",
        f".ol-edge.taken {{ stroke: {taken}; }}",
        f".ol-head.taken {{ fill: {taken}; }}",
        f".ol-frame {{ fill: none; stroke: {line}; stroke-opacity: 0.45; stroke-dasharray: 2 4; }}",
    ]
    for name, classes in _CLASSES.items():
        rules += _rules([*classes, *([_FAILED_RUN] if name == "bad" else [])], palette[name])
    # Behind all others, as a step that failed is of two classes.
    rules += _rules([_FAILED_RUN], palette["bad"])
    return "\n".join(rules)


def _rules(classes: list[str], colours: tuple[str, str, str]) -> list[str]:
    fill, stroke, text = colours
    boxes = ", ".join(f".ol-node.{one} .ol-box" for one in classes)
    texts = ", ".join(f".ol-node.{one} text" for one in classes)
    return [f"{boxes} {{ fill: {fill}; stroke: {stroke}; }}", f"{texts} {{ fill: {text}; }}"]
