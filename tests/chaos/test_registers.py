"""The rules for objects, each against a case that breaks it and one that does not."""

import pytest

from chaos.evidence import Evidence
from chaos.history import Event, Story
from chaos.linear import LATE_US, Op, fault_of
from chaos.registers import out_of_line, undelivered, unrung


def ok(began: int, ended: int, kind: str, *args: int | str, answer: int) -> Op:
    return Op(began, ended, kind, args, answer)


def maybe(began: int, kind: str, *args: int | str) -> Op:
    return Op(began, None, kind, args, None)


@pytest.mark.parametrize(
    ("ops", "last"),
    [
        ([], 0),
        ([ok(1, 2, "add", 5, answer=5), ok(3, 4, "get", answer=5)], 5),
        ([ok(1, 9, "add", 5, answer=5), ok(2, 3, "get", answer=0), ok(4, 5, "get", answer=5)], 5),
        ([ok(1, 9, "get", answer=0), ok(2, 8, "add", 5, answer=5)], 5),
        ([maybe(1, "add", 5), ok(3, 4, "get", answer=0), ok(6, 7, "get", answer=5)], 5),
        ([maybe(1, "add", 5), ok(3, 4, "get", answer=0)], 5),
        ([maybe(1, "add", 5), maybe(1, "add", 70), ok(3, 4, "add", 600, answer=675)], 675),
        ([ok(1, 2, "swap", 0, 9, answer=1), ok(3, 4, "swap", 0, 8, answer=0)], 9),
        ([ok(1, 9, "keyed", 5, "k", answer=5), ok(1, 9, "keyed", 5, "k", answer=5)], 5),
        ([maybe(1, "keyed", 5, "k"), ok(2, 9, "keyed", 5, "k", answer=5), ok(10, 11, "add", 1, answer=6)], 6),
    ],
)
def test_what_one_number_explains_is_right(ops: list[Op], last: int) -> None:
    assert fault_of(ops, last) is None


@pytest.mark.parametrize(
    ("ops", "last"),
    [
        ([ok(1, 2, "add", 5, answer=5)], 0),
        ([ok(1, 2, "add", 5, answer=5), ok(3, 4, "get", answer=0)], 5),
        ([ok(1, 2, "add", 5, answer=5), ok(3, 4, "add", 5, answer=5)], 5),
        ([ok(1, 9, "add", 5, answer=5), ok(2, 3, "get", answer=5), ok(4, 5, "get", answer=0)], 5),
        ([maybe(1, "add", 5), ok(3, 4, "get", answer=5), ok(6, 7, "get", answer=0)], 5),
        ([maybe(1, "add", 5), ok(3, 4, "get", answer=10)], 10),
        ([maybe(1, "add", 5), ok(LATE_US + 2, LATE_US + 3, "get", answer=0)], 5),
        ([ok(1, 2, "swap", 0, 9, answer=1), ok(3, 4, "swap", 0, 8, answer=1)], 8),
        ([ok(1, 2, "keyed", 5, "k", answer=5), ok(3, 4, "keyed", 5, "k", answer=10)], 10),
        ([ok(1, 2, "keyed", 5, "k", answer=5), ok(3, 4, "get", answer=10)], 10),
    ],
)
def test_what_no_one_number_explains_is_found(ops: list[Op], last: int) -> None:
    assert fault_of(ops, last) is not None


def told(*lines: str) -> Story:
    story = Story("ann")
    for line in lines:
        at, word, *fields = line.split(" ")
        story.tell(Event(int(at), word, fields))
    return story


def evidence(story: Story, **cells: dict[str, object]) -> Evidence:
    return Evidence(stories={"ann": story}, faults=[], rows={}, lease_s=0.5, crashes_may_count=True, cells=cells)


def test_what_was_told_not_to_have_happened_has_not() -> None:
    story = told("1 ask c 1 add 5", "2 told c 1 no")

    assert list(out_of_line(evidence(story, c={"value": 0}))) == []
    assert list(out_of_line(evidence(story, c={"value": 5})))


@pytest.mark.parametrize(
    ("lines", "cells", "complaint"),
    [
        (["1 ask c 1 send t", "2 told c 1 ok None"], {}, "undelivered: t "),
        (["1 ask c 1 once t"], {"c": {"marks": {"t": 2}}}, "doubled: t "),
        (["1 ask c 1 pass t d"], {"c": {"passed": ["t"]}, "d": {}}, "torn: t "),
        (["1 ask c 1 pass t d"], {"c": {}, "d": {"marks": {"t": 1}}}, "torn: t "),
        (["1 ask c 1 pass t d"], {"c": {"passed": ["t"]}, "d": {"marks": {"t": 2}}}, "torn: t "),
        (["1 ask c 1 pass t d", "2 told c 1 ok None"], {}, "lost: c "),
        (["1 ask c 1 pass t d", "2 told c 1 no"], {"c": {"passed": ["t"]}, "d": {"marks": {"t": 1}}}, "untrue: c "),
        (["1 ask c 1 arm t", "2 told c 1 ok None"], {}, "unrung: alarm t "),
        (["1 ask c 1 arm t"], {"c": {"rung": {"t": 2}}}, "doubled: alarm t "),
        (["1 ask c 1 arm t", "2 told c 1 no"], {"c": {"rung": {"t": 1}}}, "untrue: alarm t "),
        (
            ["1 ask c 1 arm t", "2 told c 1 ok None", "3 ask c 2 disarm t", "4 told c 2 ok 0"],
            {"c": {"rung": {"t": 1}}},
            "rung: alarm t ",
        ),
        (["1 rang c", "2 ask c 1 tick", "3 told c 1 ok None"], {}, "unrung: the tick of c "),
    ],
)
def test_a_broken_promise_of_objects_is_named(
    lines: list[str], cells: dict[str, dict[str, object]], complaint: str
) -> None:
    given = evidence(told(*lines), **cells)

    found = [*undelivered(given), *unrung(given)]

    assert any(sentence.startswith(complaint) for sentence in found), found


def test_what_came_as_it_should_is_right() -> None:
    story = told(
        "1 ask c 1 send a", "2 told c 1 ok None",
        "3 ask c 2 once b", "4 told c 2 maybe",
        "5 ask c 3 pass e d", "6 told c 3 ok None",
        "7 ask c 4 arm f", "8 told c 4 ok None", "9 ask c 5 disarm f", "10 told c 5 ok 0",
        "11 ask c 6 arm g", "12 told c 6 ok None",
        "13 ask c 7 tick", "14 told c 7 ok None", "15 rang c",
    )  # fmt: skip
    cells = {"c": {"marks": {"a": 2}, "passed": ["e"], "rung": {"g": 1}}, "d": {"marks": {"e": 1}}}

    assert [*undelivered(evidence(story, **cells)), *unrung(evidence(story, **cells))] == []
