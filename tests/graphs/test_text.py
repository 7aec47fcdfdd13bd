"""Mermaid, DOT and the tree: complete, and with nothing that leaks out of a label."""

import re
from typing import Any

import pytest

from outlast.graphs import Edge, Graph, Group, Node, RunState, dot, draw, mermaid, tree, with_run
from outlast.graphs.rendering.mermaid import escaped
from outlast.graphs.rendering.statuses import duration_text
from tests.graphs.shop import everything, process_order

HOSTILE = "\"]; end --> x |\\N` <script>alert(1)</script> & #quot; {{}} %% \n\x1b[31m `**bold**` '); _u_ \\"


def hostile() -> Graph:
    """Every text that a drawing holds, as an enemy would write it."""
    nodes = (
        Node(f"step:{HOSTILE}#1", "start", HOSTILE, 1),
        Node("step:x#1", "step", HOSTILE, 2, "group:helper#1", HOSTILE, RunState("failed", 1)),
        Node("end#1", "end", "end", 3),
    )
    edges = (Edge(nodes[0].id, nodes[1].id, "branch", HOSTILE), Edge(nodes[1].id, nodes[2].id, "error", HOSTILE))
    return Graph(HOSTILE, nodes, edges, (Group("group:helper#1", "helper", HOSTILE, 2),), (HOSTILE,))


def test_mermaid_has_each_node_and_edge() -> None:
    lines = mermaid(draw(process_order)).splitlines()

    assert lines[0] == "flowchart TD"
    assert '    n0(["process_order"])' in lines
    assert '    n5{{"order.total #62; 1_000"}}' in lines
    assert '    n5 -->|"yes"| n6' in lines
    assert "    n1 ==> n2" in lines
    assert "    n8 -.-> n9" in lines
    assert sum(bool(re.match(r" *n\d+ (-->|==>|-\.->)", line)) for line in lines) == len(draw(process_order).edges)


def test_mermaid_says_what_became_of_a_run() -> None:
    text = mermaid(with_run(draw(process_order), {"step:reserve#1": RunState("done", 0.25, 2)}))

    assert '["reserve<br/>✓ done · 250 ms · 2×"]' in text
    assert "class n2 run_done" in text
    assert "linkStyle 0,1 stroke" in text


MERMAID_LINES = [
    r"flowchart TD",
    r" *n\d+(\(\[|\[\[|\{\{|\[/|\[)\"[^\"<>{}|\[\]`;#\\]*\"(\]\)|\]\]|\}\}|/\]|\])",
    r" *n\d+ (-->|==>|-\.->)(\|\"[^\"<>{}|\[\]`;#\\]*\"\|)? n\d+",
    r" *subgraph g\d+\[\"[^\"<>{}|\[\]`;#\\]*\"\]",
    r" *end",
    r" *(classDef|class|linkStyle) [\w,:#. -]+",
]


@pytest.mark.parametrize("graph", [draw(everything), hostile()], ids=["everything", "hostile"])
def test_nothing_leaks_into_mermaid(graph: Graph) -> None:
    for line in mermaid(graph).splitlines():
        # What is written as a number, and our own line break, are no syntax.
        plain = re.sub(r"#\d+;|<br/>", "x", line) if '"' in line else line
        assert any(re.fullmatch(known, plain) for known in MERMAID_LINES), line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1. one", "1#46; one"),
        ("- one", "#45; one"),
        ("+ one", "#43; one"),
        ("check_credit", "check_credit"),
        ("_x_", "#95;x#95;"),
        ('a "b"', "a #34;b#34;"),
        ("größer 大", "größer 大"),
        ("a\nb", "a b"),
    ],
)
def test_mermaid_labels_mean_only_themselves(text: str, expected: str) -> None:
    assert escaped(text) == expected


QUOTED = r'"(?:[^"\\\n]|\\["\\n])*"'
DOT_LINES = [
    rf"digraph {QUOTED} {{",
    rf" *(n\d+|n\d+ -> n\d+|node|edge) \[(\w+=({QUOTED}|[\w.]+)(, )?)+\]",
    r" *n\d+ -> n\d+",
    r" *subgraph cluster_\d+ {",
    rf" *label={QUOTED}; .*",
    r" *}",
]


@pytest.mark.parametrize("graph", [draw(everything), hostile()], ids=["everything", "hostile"])
def test_nothing_leaks_into_dot(graph: Graph) -> None:
    text = dot(with_run(graph, {"step:ship#1": RunState("done")}))

    for line in text.splitlines():
        assert any(re.fullmatch(known, line) for known in DOT_LINES), line
    bare = re.sub(QUOTED, "", text)
    assert bare.count("{") == bare.count("}")


def test_dot_draws_undoing_dotted_and_errors_dashed() -> None:
    lines = dot(draw(process_order)).splitlines()

    assert "    n8 -> n9 [style=dotted, constraint=false]" in lines
    assert '    n7 -> n14 [label="yes: raise Rejected(order.id)", style=dashed, color="#b91c1c"]' in lines


def test_the_tree_follows_the_code() -> None:
    assert tree(draw(process_order)) == (
        "process_order\n"
        "├─ in parallel\n"
        "│  ├─ branch 1: step reserve\n"
        "│  └─ branch 2: step check_credit\n"
        "├─ if order.total > 1_000\n"
        "│  └─ yes\n"
        '│     ├─ ask for approval "manager" (timeout 3 days)\n'
        "│     └─ if wait_for_approval(…) != 'approved'\n"
        "│        └─ yes: → raise Rejected(order.id)\n"
        "├─ step charge (undone by refund)\n"
        '├─ wait for signal "bank.settled" (timeout 7 days)\n'
        "└─ for item in order.items\n"
        "   └─ step ship\n"
    )


def test_the_tree_marks_the_way_of_a_run() -> None:
    states = {
        "step:reserve#1": RunState("done", 0.2),
        "step:check_credit#1": RunState("done"),
        "step:charge#1": RunState("failed", 75),
        "compensation:refund#1": RunState("done"),
        "step:gone#1": RunState("done"),
    }

    lines = tree(with_run(draw(process_order), states)).splitlines()

    assert lines[1:5] == [
        "* ├─ in parallel",
        "* │  ├─ branch 1: step reserve [✓ done · 200 ms]",
        "* │  └─ branch 2: step check_credit [✓ done]",
        "* ├─ if order.total > 1_000",
    ]
    assert "  │  └─ yes" in lines
    assert "* ├─ step charge (undone by refund ✓) [✗ failed · 1 min 15 s]" in lines
    assert lines[-1] == "not in this code: step:gone#1"


def test_the_tree_shows_every_construct() -> None:
    text = tree(draw(everything))

    for line in (
        '│  └─ "unknown": → raise Rejected(order.id)',
        "│  │  └─ yes: → break",
        "│  ├─ TimeoutError: step notify",
        "├─ finally",
        "│        ├─ yes: settle() (calls itself: not drawn again)",
        "├─ task group",
        "│  └─ branch 2: child deliver (child workflow)",
        "├─ each of order.items",
        "├─ code that cannot be read statically (handler(order): 'handler' is set while it runs)",
        "└─ call settle() (as drawn for line",
    ):
        assert line in text


def test_a_terminal_gets_no_commands() -> None:
    assert "\x1b" not in tree(hostile())
    assert len(tree(hostile()).splitlines()) == 5


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0.0, "0 ms"),
        (0.0124, "12 ms"),
        (0.9999, "1.0 s"),
        (1.24, "1.2 s"),
        (9.96, "10 s"),
        (59.7, "1 min"),
        (185, "3 min 5 s"),
        (7440, "2 h 4 min"),
        (90_000, "1 d 1 h"),
        (1e8, "1157 d 9 h"),
    ],
)
def test_durations_are_for_people(duration_s: float, text: Any) -> None:
    assert duration_text(duration_s) == text
