"""Which boxes lie in which frame: loops, `try`, task groups and helpers, one within the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from outlast.graphs.graph import Graph, GroupKind, Node

_SHOWN: Final[frozenset[GroupKind]] = frozenset({"loop", "try", "finally", "helper"})
"""Groups that get a frame. Arms and branches do not: their arrows carry their names."""


@dataclass(slots=True, eq=False)
class Framed:
    """A frame, or the whole picture, with what lies in it, in the order of the code."""

    number: int
    label: str
    kind: GroupKind | None = None
    items: list[Node | Framed] = field(default_factory=list)


def framed(graph: Graph) -> Framed:
    """The whole picture as frames within frames."""
    whole = Framed(0, graph.name)
    groups = {group.id: group for group in graph.groups}
    frames: dict[str | None, Framed] = {None: whole}

    def frame_of(one: str | None) -> Framed:
        if one not in frames:
            group = groups[str(one)]
            around = frame_of(group.group)
            if group.kind in _SHOWN:
                frames[one] = Framed(len(frames), group.label, group.kind)
                around.items.append(frames[one])
            else:
                frames[one] = around
        return frames[one]

    for node in graph.nodes:
        frame_of(node.group).items.append(node)
    return whole
