"""The rules for workflows: each is shown a case that breaks it."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from chaos.checker import check
from chaos.evidence import Evidence
from chaos.faults import Fault
from chaos.history import Event, Story, Watch
from chaos.place import Note, Row
from chaos.programs import answer
from chaos.trips import CHILD_BASE, FAILURE, LAST, PLACES, TOLD

FAILING = 3
"""The number of a trip that fails at its last step."""
STEPS = (*TOLD, LAST)
UNDOS = (
    "~undo/right#1/inform#1/retract#1",
    "~undo/left#1/pack#1/unpack#1",
    "~undo/charge#1/refund#1",
    "~undo/reserve#1/release#1",
)


def told(name: str, lines: Sequence[str]) -> Story:
    """A story from lines such as `begin t 1 charge#1 0`, one after the other."""
    story = Story(name)
    for at, line in enumerate(lines):
        word, *fields = line.split(" ")
        story.tell(Event(at, word, fields))
    return story


def ran(*keys: str, epoch: int = 1, failing: str = "") -> list[str]:
    """What is written by a claim that runs these steps and records each."""
    lines = [f"run t {epoch} workflow"]
    for key in keys:
        lines += [f"begin t {epoch} {key} 0", f"over t {epoch} {key} 0"]
        lines += [f"noted t {epoch} {key} 1 failed" if key == failing else f"noted t {epoch} {key} 0 done"]
        lines += [f"commit t {epoch} running"]
    return lines


def ended(status: str = "done", epoch: int = 1) -> list[str]:
    """What it writes at its end."""
    return [f"end t {epoch}", f"commit t {epoch} {status}"]


def row(id: str, program: str, n: int, **columns: Any) -> Row:
    """An instance that has ended well, in its first claim."""
    plain: dict[str, Any] = {"status": "done", "state": json.dumps({"n": n}), "result": str(answer(n))}
    counts: dict[str, Any] = {"attempt": 0, "crashes": 0, "epoch": 1, "commits": 1, "commit_epoch": 1}
    return Row(**{"id": id, "program": program, **plain, **counts, **columns})


def journal(n: int = 0, /, **values: object) -> dict[str, Note]:
    """All that a trip without a failure has recorded; `values` replaces some, by the name of their step."""
    notes = {}
    for number, key in enumerate(PLACES):
        value: object = [1]
        if key == "child":
            key, value = ("child:parcel#1" if n % 2 else "child:nap#1"), {"id": "c", "status": "done"}
        elif key == LAST:
            value = [[1]] * (len(TOLD) + 1)
        notes[key] = Note("t", key, "done", number, 0, json.dumps(values.get(key.rpartition("/")[2][:-2], value)))
    return notes


def verdict(
    *stories: Story, notes: dict[str, Note], n: int = 0, faults: Sequence[Fault] = (), **columns: Any
) -> list[str]:
    """What the checker says of one trip and its child."""
    child = row("c", "parcel" if n % 2 else "nap", CHILD_BASE + n, parent="t", child=1)
    rows = {"t": row("t", "trip", n, **columns), "c": child}
    return check(
        Evidence(
            stories={story.name: story for story in stories},
            faults=faults,
            rows=rows,
            journal=list(notes.values()),
            lease_s=1.0,
            crashes_may_count=True,
        )
    )


def undone() -> dict[str, Note]:
    """The journal of a trip that has failed at its end."""
    notes = journal(FAILING)
    notes[LAST] = Note("t", LAST, "failed", 20, 1, None)
    notes[FAILURE] = Note("t", FAILURE, "failed", 21, 0, None)
    for number, key in enumerate(UNDOS, 22):
        notes[key] = Note("t", key, "done", number, 0, "[1, 1]")
    return notes


def verdict_undone(notes: dict[str, Note], lines: Sequence[str] | None = None) -> list[str]:
    """What the checker says of a trip that has failed."""
    if lines is None:
        lines = [*ran(*STEPS, *UNDOS, failing=LAST), *ended("compensated")]
    ann = told("ann", lines)
    return verdict(ann, notes=notes, n=FAILING, status="compensated", result=None, attempt=1)


def test_a_good_trip_has_no_complaint() -> None:
    assert verdict(told("ann", [*ran(*STEPS), *ended()]), notes=journal()) == []


def test_a_trip_may_go_on_in_another_process() -> None:
    dead = told("dead", [*ran(*STEPS[:2]), f"begin t 1 {STEPS[2]} 0"])
    heir = told("heir", [*ran(*STEPS[2:], epoch=2), *ended(epoch=2)])
    notes = journal(pack=[2], label=[2], inform=[2], weigh=[2], ship=[[2], [1], [1], [2], [2], [2], [2]])

    found = verdict(dead, heir, notes=notes, faults=[Fault("kill", "dead", 50)], epoch=2, commit_epoch=2)

    assert found == []


def test_a_trip_that_was_undone_has_no_complaint() -> None:
    assert verdict_undone(undone()) == []


def test_a_failed_attempt_may_be_made_again() -> None:
    weigh = ["begin t 1 right#1/weigh#1 0", "over t 1 right#1/weigh#1 0", "noted t 1 right#1/weigh#1 1 retrying"]
    again = ["begin t 1 right#1/weigh#1 1", "over t 1 right#1/weigh#1 1", "noted t 1 right#1/weigh#1 1 done"]
    before = [key for key in STEPS if key not in ("right#1/weigh#1", LAST)]

    assert verdict(told("ann", [*ran(*before), *weigh, *again, *ran(LAST)[1:], *ended()]), notes=journal()) == []


@pytest.mark.parametrize(
    ("complaint", "lines"),
    [
        (
            "again: ann began charge#1 of t in claim 1, after it was recorded as done in claim 1",
            [*ran(*STEPS[:2]), "begin t 1 charge#1 0"],
        ),
        ("again: ann began reserve#1 of t twice in claim 1", ["begin t 1 reserve#1 0", "begin t 1 reserve#1 0"]),
        ("again: ann began charge#1 of t in claim 2, and claim 1 has recorded it", ["begin t 2 charge#1 0"]),
        (
            "doubled: charge#1 of t was recorded in claim 2, and the journal has claim 1's",
            ["begin t 2 charge#1 0", "noted t 2 charge#1 0 done"],
        ),
        (
            "unrecorded: ann ran charge#1 of t in claim 1, and nothing came of it",
            ["begin t 1 charge#1 0", "over t 1 charge#1 0"],
        ),
        (
            "backward: ann began reserve#1 of t after charge#1 had begun",
            ["begin t 1 charge#1 0", "begin t 1 reserve#1 0"],
        ),
        (
            "unsaved: ann began charge#1 of t before reserve#1 was recorded",
            ["begin t 1 reserve#1 0", "begin t 1 charge#1 0"],
        ),
        (
            "forward: ann began ship#1 of t after ~undo/reserve#1/release#1 had begun",
            ["begin t 1 ~undo/reserve#1/release#1 0", "begin t 1 ship#1 0"],
        ),
        ("forgotten: ann recorded pay#1 of t as done, and the journal does not say so", ["noted t 1 pay#1 0 done"]),
    ],
)
def test_a_step_out_of_place_is_named(complaint: str, lines: list[str]) -> None:
    assert complaint in verdict(told("ann", lines), notes=journal())


def test_branches_have_no_order_among_them() -> None:
    lines = ["begin t 1 right#1/weigh#1 0", "begin t 1 left#1/pack#1 0"]

    found = "".join(verdict(told("ann", lines), notes=journal()))

    assert "backward" not in found
    assert "unsaved" not in found


def test_what_is_missing_or_too_much_is_named() -> None:
    ann, notes = told("ann", [*ran(*STEPS), *ended()]), journal()
    del notes["right#1/sleep#1"]
    notes["charge#2"] = Note("t", "charge#2", "done", 30, 0, "[1]")

    found = verdict(ann, notes=notes)

    assert "unheard of: t has recorded ['charge#2']" in found
    assert "skipped: t ended as done without a result of ['right#1/sleep#1']" in found


def test_a_trip_that_was_told_something_else_is_named() -> None:
    notes = journal(ship=[[1], [1], [3], [1], [1], [1], [1]])

    found = verdict(told("ann", [*ran(*STEPS), *ended()]), notes=notes)

    assert found == [
        "doubled: t was told [[1], [3], [1], [1], [1], [1]] of its steps, which is not what its journal says"
    ]


def test_a_child_too_many_is_named() -> None:
    notes = journal()
    notes["child:nap#1"] = notes["child:nap#1"]._replace(value='{"id": "d"}')

    assert "doubled: t has 1 children, and its journal knows ['d']" in verdict(told("ann", []), notes=notes)


def test_what_was_not_undone_is_named() -> None:
    notes = undone()
    del notes[UNDOS[1]]

    assert any(said.startswith("not undone: t has undone ") for said in verdict_undone(notes, []))


def test_what_was_undone_without_a_failure_is_named() -> None:
    notes = journal()
    notes[UNDOS[0]] = Note("t", UNDOS[0], "done", 30, 0, "[1, 1]")

    assert f"not undone: t has undone {[UNDOS[0]]}, of []" in verdict(told("ann", []), notes=notes)


def test_what_was_undone_in_the_wrong_order_is_named() -> None:
    notes = undone()
    first, second = notes[UNDOS[0]], notes[UNDOS[1]]
    notes[UNDOS[0]], notes[UNDOS[1]] = first._replace(number=second.number), second._replace(number=first.number)

    assert f"not undone: t has undone {UNDOS[1]} before {UNDOS[0]}, which is newer" in verdict_undone(notes, [])


def test_what_undid_something_else_is_named() -> None:
    notes = undone()
    notes[UNDOS[2]] = notes[UNDOS[2]]._replace(value="[1, 7]")

    assert f"wrong: {UNDOS[2]} of t undid [1, 7], and the journal has [1]" in verdict_undone(notes, [])


def test_a_trip_with_another_end_than_its_own_is_named() -> None:
    feeder = told("feeder", ["start t trip 0"])

    found = verdict(feeder, notes=journal(), status="compensated", result=None)

    assert "lost: trip t was acknowledged and is compensated" in found


def test_a_workflow_is_busy_until_it_waits(tmp_path: Any) -> None:
    history = tmp_path / "ann.history"
    history.write_text(
        "1 run t 1 workflow\n2 begin t 1 charge#1 0\n3 noted t 1 charge#1 0 done\n4 commit t 1 running\n"
    )
    watch = Watch("ann", history)
    assert watch.is_busy

    with history.open("a") as file:
        file.write("5 end t 1\n6 commit t 1 waiting\n")

    assert not watch.is_busy
    assert watch.story.repeated == []
