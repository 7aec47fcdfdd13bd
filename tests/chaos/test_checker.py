"""The checker is what the crash runs believe in, so each of its rules is shown a case that breaks it, and no other."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from chaos.checker import Evidence, check
from chaos.faults import Fault, is_effective, recovery_us
from chaos.history import Event, History, Story, Watch
from chaos.place import Row
from chaos.programs import answer

LEASE_S = 1.0


def told(name: str, *lines: str) -> Story:
    """A story from lines such as `5 run a 1`."""
    story = Story(name)
    for line in lines:
        at, word, *fields = line.split(" ")
        story.tell(Event(int(at), word, fields))
    return story


def row(id: str = "a", **columns: object) -> Row:
    """An instance of `nap` that has ended well, at the first try."""
    plain = {"program": "nap", "status": "done", "state": json.dumps({"n": 3}), "result": str(answer(3))}
    counts = {"attempt": 0, "crashes": 0, "epoch": 1, "commits": 1, "commit_epoch": 1}
    return Row(**{"id": id, **plain, **counts, **columns})  # type: ignore[arg-type]


def verdict(
    *stories: Story, rows: Sequence[Row], faults: Sequence[Fault] = (), crashes_may_count: bool = True
) -> list[str]:
    """What the checker says."""
    return check(
        Evidence(
            stories={story.name: story for story in stories},
            faults=faults,
            rows={row.id: row for row in rows},
            lease_s=LEASE_S,
            crashes_may_count=crashes_may_count,
        )
    )


FEEDER = told("feeder", "1 start a nap 3")
ANN = told("ann", "5 run a 1", "6 end a 1", "7 commit a 1 done")


def test_a_good_run_has_no_complaint() -> None:
    assert verdict(FEEDER, ANN, rows=[row()]) == []


def test_a_killed_process_may_leave_its_work_to_another() -> None:
    dead = told("dead", "5 run a 1")
    heir = told("heir", "9 run a 2", "10 end a 2", "11 commit a 2 done")

    found = verdict(
        FEEDER, dead, heir, rows=[row(epoch=2, commit_epoch=2, crashes=1)], faults=[Fault("kill", "dead", 6)]
    )

    assert found == []


def test_a_commit_may_be_written_and_never_acknowledged() -> None:
    dead = told("dead", "5 run a 1", "6 end a 1")

    assert verdict(FEEDER, dead, rows=[row()], faults=[Fault("kill", "dead", 7)]) == []


@pytest.mark.parametrize(
    ("complaint", "stories", "rows"),
    [
        ("lost: nap a was acknowledged and is not in the database", [FEEDER], []),
        ("lost: nap a was acknowledged and is failed", [FEEDER, ANN], [row(status="failed")]),
        ("unfinished: nap b is ready", [FEEDER, ANN], [row(), row("b", status="ready", result=None)]),
        ("wrong: nap a ended as done with 5", [FEEDER, ANN], [row(result="5")]),
        ("wrong: a was started as ('nap', 3)", [FEEDER, ANN], [row(state='{"n": 4}', result=str(answer(4)))]),
        ("doubled: nap a has 2 commits, not 1", [FEEDER, ANN], [row(commits=2, epoch=2)]),
        ("counted: nap a has 1 failed attempts, not 0", [FEEDER, ANN], [row(attempt=1)]),
        ("counted: a has 1 commits and 1 crashes in 1 claims", [FEEDER, ANN], [row(crashes=1)]),
        (
            "doubled: ann and bob both ran the claim a/1",
            [FEEDER, ANN, told("bob", "5 run a 1", "6 cut a 1", "7 fenced")],
            [row()],
        ),
        (
            "doubled: ann and bob both committed the claim a/1",
            [FEEDER, ANN, told("bob", "5 run a 1", "7 commit a 1 done")],
            [row()],
        ),
        (
            "doubled: ann has two runs of the claim a/1",
            [FEEDER, told("ann", "5 run a 1", "6 run a 1", "7 commit a 1 done")],
            [row()],
        ),
        (
            "doubled: a ended in claim 1 and in claim 2",
            [FEEDER, ANN, told("bob", "5 run a 2", "7 commit a 2 done")],
            [row(epoch=2, commit_epoch=2)],
        ),
        (
            "stale: ann ended a in claim 1, and claim 2 was committed too",
            [FEEDER, ANN, told("bob", "5 run a 2", "7 commit a 2 scheduled")],
            [row(epoch=2, commit_epoch=2)],
        ),
        ("stale: a was committed in claim 1, and its row says 2", [FEEDER, ANN], [row(epoch=2, commit_epoch=2)]),
        (
            "unheard of: bob committed the claim a/1 without having run it",
            [FEEDER, told("bob", "7 commit a 1 done")],
            [row()],
        ),
        (
            "unexplained: bob ran the claim a/2, which was forgotten, and nothing was done to it",
            [FEEDER, ANN, told("bob", "5 run a 2")],
            [row(epoch=2)],
        ),
        (
            "buried alive: bob declared n1 dead after 0.500 s of silence",
            [FEEDER, ANN, told("carl", "1000000 beat n1"), told("bob", "1500000 bury n1")],
            [row()],
        ),
        (
            "trouble: bob: pruner ZeroDivisionError",
            [FEEDER, ANN, told("bob", "5 trouble pruner ZeroDivisionError")],
            [row()],
        ),
    ],
)
def test_a_broken_promise_is_named(complaint: str, stories: list[Story], rows: list[Row]) -> None:
    found = verdict(*stories, rows=rows)

    assert any(sentence.startswith(complaint) for sentence in found), found


def test_a_claim_whose_next_step_was_not_begun_has_a_reason() -> None:
    ahead = ("5 run a 2", "6 end a 2", "7 commit a 2 running")

    def unexplained(*lines: str) -> list[str]:
        found = verdict(FEEDER, ANN, told("bob", *lines), rows=[row(epoch=2)])
        return [sentence for sentence in found if sentence.startswith("unexplained")]

    assert len(unexplained(*ahead)) == 1
    assert unexplained(*ahead, "9 withheld a 2") == []


def test_a_claim_taken_from_a_node_that_lived_is_named() -> None:
    taken = row(crashes=1, epoch=2, commit_epoch=2)
    bob = told("bob", "5 run a 2", "7 commit a 2 done")

    assert verdict(FEEDER, bob, rows=[taken]) == []
    assert verdict(FEEDER, bob, rows=[taken], crashes_may_count=False) == [
        "taken: nap a was taken from a node that lived, 1 times"
    ]


def test_a_node_that_was_silent_for_a_lease_may_be_buried() -> None:
    silent, bob = told("silent", "1000000 beat n1"), told("bob", "2000001 bury n1")

    assert verdict(FEEDER, ANN, silent, bob, rows=[row()]) == []


def test_contention_excuses_no_run_that_came_to_nothing() -> None:
    bob = told("bob", "5 run a 2")
    rows = [row(epoch=2)]

    assert verdict(FEEDER, ANN, bob, rows=rows, faults=[Fault("outage", None, 4, 6)]) == []
    assert verdict(FEEDER, ANN, bob, rows=rows, faults=[Fault("outage", None, 1, 4)]) != []
    assert verdict(FEEDER, ANN, bob, rows=rows, faults=[Fault("lock", None, 4, 6)]) != []


def test_a_fault_counts_that_hit_a_call_which_was_under_way() -> None:
    caller = told(
        "caller", "5 ask c1 1 add 7", "6 ask c2 2 get", "8 told c2 2 ok 0", "12 told c1 1 ok 7", "20 ask c1 3 get"
    )
    stories = {"caller": caller}

    hits = {at_us: is_effective(Fault("kill", "caller", at_us), stories) for at_us in (4, 5, 7, 9, 12, 19, 20, 99)}

    assert hits == {4: False, 5: True, 7: True, 9: True, 12: False, 19: False, 20: True, 99: True}
    caller.tell(Event(30, "told", ["c1", "3", "ok", "7"]))
    assert not is_effective(Fault("kill", "caller", 99), stories)


def test_a_fault_counts_only_when_it_hit_work() -> None:
    busy = told("busy", "5 run a 1", "4 beat n1")
    idle = told("idle", "1 run b 1", "2 commit b 1 done", "15 bury n1", "20 run a 2")
    stories = {story.name: story for story in (busy, idle)}

    assert is_effective(Fault("kill", "busy", 6), stories)
    assert not is_effective(Fault("kill", "idle", 6), stories)
    assert is_effective(Fault("freeze", "busy", 6, 16), stories)
    assert not is_effective(Fault("freeze", "busy", 6, 14), stories), "it was thawed before it was buried"
    assert recovery_us(Fault("kill", "busy", 6), stories) == 14


def test_a_torn_line_is_not_read_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "ann.history"
    history, watch = History(path), Watch("ann", path)
    history.write("run", "a", 1)
    with path.open("a") as file:
        file.write("7 commit a 1 do")

    assert watch.is_busy
    assert watch.story.commits == {}

    with path.open("a") as file:
        file.write("ne\n")
    assert not watch.is_busy
    assert watch.story.commits == {("a", 1): (7, "done")}
