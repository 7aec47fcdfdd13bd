"""The SVG is well formed, and its geometry holds: nothing overlaps, and each edge goes from box to box."""

import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest

from outlast.graphs import Edge, EdgeKind, Graph, Node, NodeKind, RunState, dot, draw, mermaid, svg, tree, with_run
from outlast.graphs.picture.boxes import SLANT
from outlast.graphs.picture.frames import PlacedBox
from outlast.graphs.picture.glyphs import width, wrapped
from outlast.graphs.picture.routes import Layout, Route, layout
from tests.graphs import generated
from tests.graphs.shop import everything, process_order
from tests.graphs.test_text import hostile

SVG = "{http://www.w3.org/2000/svg}"
Area = tuple[float, float, float, float]


def tangled(seed: int, size: int) -> Graph:
    """A graph such as no code would give, with long edges, loops and labels of all lengths."""
    dice = Random(seed)
    kinds: list[NodeKind] = ["step", "decision", "loop", "wait", "join"]
    nodes = [Node(f"n#{n}", dice.choice(kinds), "label " * dice.randint(0, 9), n) for n in range(size)]
    edges = {(n - dice.randint(1, min(n, 6)), n) for n in range(1, size)}
    edges |= {(dice.randrange(size), dice.randrange(size)) for _ in range(size // 3)}
    made = []
    for source, target in sorted(edges):
        kind: EdgeKind = "loop" if target <= source else dice.choice(["normal", "branch", "error"])
        made.append(Edge(f"n#{source}", f"n#{target}", kind, "word " * dice.choice([0, 0, 1, 5])))
    return Graph("tangled", tuple(nodes), tuple(made))


def pictures() -> Iterator[tuple[str, Graph]]:
    yield "order", draw(process_order)
    yield "everything", draw(everything)
    yield "hostile", hostile()
    yield "run", with_run(draw(everything), {"step:ship#1": RunState("failed", 1e5, 1000)})
    for seed in range(12):
        yield f"tangled {seed}", tangled(seed, 5 + 4 * seed)


@pytest.fixture(params=[graph for _, graph in pictures()], ids=[name for name, _ in pictures()], scope="module")
def placed(request: pytest.FixtureRequest) -> Layout:
    graph: Graph = request.param
    return layout(graph)


def area(one: PlacedBox) -> Area:
    return one.x, one.y, one.x + one.box.width, one.y + one.box.height


def words(placed: Layout) -> list[Area]:
    found = [route.label for route in placed.routes if route.label]
    return [
        (one.x - one.width / 2, one.y - one.height / 2, one.x + one.width / 2, one.y + one.height / 2) for one in found
    ]


def overlap(one: Area, other: Area) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def along(route: Route) -> Iterator[tuple[float, float]]:
    """Points of an edge, close to each other."""
    x, y = route.start
    for (ax, ay), (bx, by), (cx, cy) in route.curves:
        for part in range(1, 20):
            t, s = part / 20, 1 - part / 20
            yield (
                s**3 * x + 3 * s * s * t * ax + 3 * s * t * t * bx + t**3 * cx,
                s**3 * y + 3 * s * s * t * ay + 3 * s * t * t * by + t**3 * cy,
            )
        x, y = cx, cy


def test_boxes_do_not_overlap(placed: Layout) -> None:
    for one, other in combinations(placed.boxes, 2):
        assert not overlap(area(one), area(other))


def test_words_on_edges_overlap_neither_boxes_nor_each_other(placed: Layout) -> None:
    for word in words(placed):
        assert not any(overlap(word, area(one)) for one in placed.boxes)
    for one, other in combinations(words(placed), 2):
        assert not overlap(one, other)


def test_edges_begin_and_end_at_their_boxes(placed: Layout) -> None:
    boxes = {one.box.node.id: area(one) for one in placed.boxes}
    assert len(placed.routes) > 0

    for route in placed.routes:
        left, top, right, bottom = boxes[route.edge.source]
        assert left - 0.2 <= route.start[0] <= right + 0.2
        assert top <= route.start[1] <= bottom + 0.2
        left, top, right, bottom = boxes[route.edge.target]
        assert left - 0.2 <= route.end[0] <= right + 0.2
        assert route.end[1] == pytest.approx(top, abs=0.2) or route.edge.kind == "compensation"


def test_no_edge_crosses_a_box(placed: Layout) -> None:
    inner = [
        (left + 1, top + 1, right - 1, bottom - 1) for left, top, right, bottom in (area(one) for one in placed.boxes)
    ]

    for route in placed.routes:
        for x, y in along(route):
            assert not any(left < x < right and top < y < bottom for left, top, right, bottom in inner), route.edge


def test_everything_lies_within_the_picture(placed: Layout) -> None:
    for left, top, right, bottom in [*(area(one) for one in placed.boxes), *words(placed)]:
        assert left >= 0
        assert top >= 0
        assert right <= placed.width
        assert bottom <= placed.height
    for route in placed.routes:
        for x, y in along(route):
            assert 0 <= x <= placed.width
            assert 0 <= y <= placed.height


def test_text_fits_its_box(placed: Layout) -> None:
    for one in placed.boxes:
        room = one.box.width - 2 * (SLANT if one.box.is_slanted else 0)
        for row in one.box.rows:
            assert row.width <= room
            assert 0 < row.y < one.box.height


def test_frames_hold_their_boxes_and_no_others() -> None:
    placed = layout(draw(everything))
    (frame,) = (frame for frame in placed.frames if "settle" in frame.label)

    held = [one.box.node.id for one in placed.boxes if frame.meets(one.x, one.y, one.box.width, one.box.height)]

    assert held == ["wait:paid+cancelled#1", "decision#3", "recursion:settle#1"]
    assert frame.label == "finally · settle()"


@pytest.mark.parametrize("graph", [graph for _, graph in pictures()], ids=[name for name, _ in pictures()])
def test_the_picture_is_well_formed(graph: Graph) -> None:
    root = ElementTree.fromstring(svg(graph))

    boxes = [one.get("data-node") for one in root.iter(f"{SVG}g")]
    assert len(boxes) == len(graph.nodes)
    assert len([one for one in root.iter(f"{SVG}path") if one.get("data-source")]) == len(graph.edges)
    assert {one.tag for one in root.iter()} <= {
        f"{SVG}{tag}" for tag in ("svg", "title", "style", "defs", "marker", "path", "rect", "text", "g", "polygon")
    }


def test_hostile_labels_stay_text() -> None:
    root = ElementTree.fromstring(svg(hostile()))

    (box,) = (one for one in root.iter(f"{SVG}g") if one.get("data-node") == "step:x#1")
    assert "<script>alert(1)</script>" in "".join(one.text or "" for one in box.iter(f"{SVG}text"))
    assert "\x1b" not in svg(hostile())
    assert "\ufffd" in svg(hostile())


def test_the_picture_has_a_light_and_a_dark_side() -> None:
    text = svg(draw(process_order))

    assert "@media (prefers-color-scheme: dark)" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_run_is_told_by_words_too() -> None:
    graph = with_run(draw(process_order), {"step:reserve#1": RunState("running", 1.5, 3)})

    root = ElementTree.fromstring(svg(graph))

    (box,) = (one for one in root.iter(f"{SVG}g") if one.get("data-node") == "step:reserve#1")
    assert [one.text for one in box.iter(f"{SVG}text")] == ["reserve", "▶ running · 1.5 s · 3×"]
    assert box.get("class") == "ol-node step running-run"
    assert sum("taken" in (one.get("class") or "").split() for one in root.iter(f"{SVG}path")) == 2 + 1


def test_the_same_code_gives_the_same_picture() -> None:
    assert svg(draw(everything)) == svg(draw(everything))


def test_a_graph_of_nothing_is_a_picture_too() -> None:
    nothing = with_run(Graph("nothing", (), ()), {})

    ElementTree.fromstring(svg(nothing))
    assert tree(nothing) == "nothing\n"


def test_text_is_measured_and_wrapped() -> None:
    assert width("iii", 10) < width("mmm", 10)
    assert width("大", 10) > width("a", 10)
    assert wrapped("one two three", 10, width("one two", 10), 3) == ["one two", "three"]
    assert wrapped("x" * 40, 10, width("x" * 15, 10), 2)[0] == "x" * 15
    assert wrapped("one two three four", 10, width("one two", 10), 1)[0].endswith("…")


@pytest.mark.parametrize("seed", range(30))
def test_any_workflow_can_be_drawn(tmp_path: Path, seed: int) -> None:
    graph = draw(generated.workflow(tmp_path, seed, size=6 + seed))
    placed = layout(graph)

    ids = [node.id for node in graph.nodes]
    assert len(set(ids)) == len(ids)
    assert {edge.target for edge in graph.edges} >= set(ids[1:])
    assert {node.group for node in graph.nodes} - {None} <= {group.id for group in graph.groups}
    order = {one: place for place, one in enumerate(ids)}
    for edge in graph.edges:
        assert edge.kind == "loop" or order[edge.source] < order[edge.target]
    test_boxes_do_not_overlap(placed)
    test_no_edge_crosses_a_box(placed)
    test_words_on_edges_overlap_neither_boxes_nor_each_other(placed)
    ElementTree.fromstring(svg(graph))
    assert tree(graph)
    assert dot(graph)
    assert mermaid(graph)


def test_two_hundred_boxes_take_well_under_a_second_of_processor_time(tmp_path: Path) -> None:
    lines = ["from tests.graphs.shop import charge, reserve, ship, notify", "async def flow(order):"]
    for number in range(50):
        lines += [f"    if order.total > {number}:", "        await reserve(order)", "    else:"]
        lines += ["        await ship(order)", "    for item in order.items:", "        await notify(item)"]
    flow = generated.load(tmp_path, "long", "\n".join(lines))

    began = time.process_time()
    graph = draw(flow)
    graph = with_run(graph, {node.id: RunState("done") for node in graph.nodes if node.kind == "step"})
    texts = [svg(graph), mermaid(graph), dot(graph), tree(graph)]
    took_s = time.process_time() - began

    assert len(graph.nodes) > 200
    assert all(texts)
    assert took_s < 1
