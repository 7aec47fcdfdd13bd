"""Frames around parts of the code: `try`, `finally`, helpers. Only where nothing else stands in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from outlast.graphs.graph import Graph, GroupKind
from outlast.graphs.picture.boxes import Box

_SHOWN: Final[frozenset[GroupKind]] = frozenset({"try", "finally", "helper"})
_PAD: Final = 9.0


@dataclass(frozen=True, slots=True)
class PlacedBox:
    """A box with its upper left corner."""

    box: Box
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Frame:
    """A dotted line around boxes, and what it says."""

    label: str
    x: float
    y: float
    width: float
    height: float

    def cuts(self, other: Frame) -> bool:
        """The two share some room, and neither lies within the other."""
        return self.meets(other.x, other.y, other.width, other.height) and not (self.holds(other) or other.holds(self))

    def holds(self, other: Frame) -> bool:
        """The other lies within this one."""
        return (
            self.x <= other.x
            and self.y <= other.y
            and other.x + other.width <= self.x + self.width
            and other.y + other.height <= self.y + self.height
        )

    def meets(self, x: float, y: float, width: float, height: float) -> bool:
        """The two share some room."""
        return self.x < x + width and x < self.x + self.width and self.y < y + height and y < self.y + self.height


def frames(graph: Graph, boxes: Sequence[PlacedBox]) -> Iterator[Frame]:
    """The frames that can be drawn. One that would hold a foreign box, or cut another frame, is left out."""
    members = _members(graph)
    drawn: list[Frame] = []
    for inside, label in members.items():
        frame = _around([one for one in boxes if one.box.node.id in inside], label)
        foreign = (one for one in boxes if one.box.node.id not in inside)
        if any(frame.meets(one.x, one.y, one.box.width, one.box.height) for one in foreign):
            continue
        if not any(frame.cuts(other) for other in drawn):
            drawn.append(frame)
            yield frame


def _members(graph: Graph) -> dict[frozenset[str], str]:
    """What lies in each frame, and what it says. Two around the same boxes become one."""
    groups = {group.id: group for group in graph.groups}
    inside: dict[str, set[str]] = {group.id: set() for group in graph.groups}
    for node in graph.nodes:
        one = node.group
        while one is not None:
            inside[one].add(node.id)
            one = groups[one].group
    members: dict[frozenset[str], str] = {}
    for group in graph.groups:
        if group.kind in _SHOWN:
            key = frozenset(inside[group.id])
            members[key] = f"{members[key]} · {group.label}" if key in members else group.label
    return members


def _around(boxes: Sequence[PlacedBox], label: str) -> Frame:
    left, top = min(one.x for one in boxes) - _PAD, min(one.y for one in boxes) - _PAD
    right = max(one.x + one.box.width for one in boxes) + _PAD
    bottom = max(one.y + one.box.height for one in boxes) + _PAD
    return Frame(label, round(left, 1), round(top, 1), round(right - left, 1), round(bottom - top, 1))
