"""A workflow drawn from its code, before it runs, and with a run laid over it.

graph = draw(process_order)
print(tree(graph))                                                  # in a terminal
Path("order.svg").write_text(svg(with_run(graph, {"step:charge#1": RunState("done", 1.2)})))
"""

from outlast.graphs.graph import (
    Edge,
    EdgeKind,
    Graph,
    Group,
    GroupKind,
    Node,
    NodeKind,
    RunState,
    Status,
)
from outlast.graphs.overlay import with_run
from outlast.graphs.picture.svg import svg
from outlast.graphs.reading.workflow import draw
from outlast.graphs.rendering.dot import dot
from outlast.graphs.rendering.mermaid import mermaid
from outlast.graphs.rendering.tree import tree

__all__ = [
    "Edge",
    "EdgeKind",
    "Graph",
    "Group",
    "GroupKind",
    "Node",
    "NodeKind",
    "RunState",
    "Status",
    "dot",
    "draw",
    "mermaid",
    "svg",
    "tree",
    "with_run",
]
