"""The rules for machines, signals and children: each is shown a case that breaks it."""

import json
from collections.abc import Sequence

import pytest

from chaos.checker import check
from chaos.editions import STOPS
from chaos.evidence import Evidence
from chaos.faults import Fault
from chaos.history import Event, Story
from chaos.machines import CHAIN, CHILD_BASE
from chaos.place import Mail, Row
from chaos.programs import answer


def told(name: str, *lines: str) -> Story:
    """A story from lines such as `5 run a 1 step_0`."""
    story = Story(name)
    for line in lines:
        at, word, *fields = line.split(" ")
        story.tell(Event(int(at), word, fields))
    return story


def row(id: str, program: str, state: object, result: object, **columns: object) -> Row:
    """An instance that has ended well, in its first claim."""
    plain = {"status": "done", "state": json.dumps(state), "result": json.dumps(result)}
    counts = {"attempt": 0, "crashes": 0, "epoch": 1, "commits": 2, "commit_epoch": 1}
    return Row(**{"id": id, "program": program, **plain, **counts, **columns})  # type: ignore[arg-type]


def verdict(*stories: Story, rows: Sequence[Row], mail: Sequence[Mail] = (), faults: Sequence[Fault] = ()) -> list[str]:
    """What the checker says."""
    return check(
        Evidence(
            stories={story.name: story for story in stories},
            faults=faults,
            rows={row.id: row for row in rows},
            mail=mail,
            lease_s=1.0,
            crashes_may_count=True,
        )
    )


def links(places: Sequence[int], *, epoch: int = 1, at: int = 10) -> list[str]:
    """What a process writes that runs these steps of chain `c` and keeps the claim until the last one."""
    lines: list[str] = []
    for place in places:
        status = "done" if place == len(CHAIN) - 1 else "running"
        lines += [
            f"{at} run c {epoch} {CHAIN[place]}",
            f"{at + 1} end c {epoch}",
            f"{at + 2} commit c {epoch} {status}",
        ]
        at += 3
    return lines


def chain(**columns: object) -> Row:
    """A chain that has ended well."""
    trail = list(range(len(CHAIN)))
    result = {"answer": answer(3), "trail": trail}
    return row("c", "chain", {"n": 3, "trail": trail}, result, **({"commits": len(CHAIN)} | columns))


STEPS = range(len(CHAIN))


def test_a_good_chain_has_no_complaint() -> None:
    assert verdict(told("ann", *links(STEPS)), rows=[chain()]) == []


def test_a_chain_may_go_on_in_another_process() -> None:
    dead, heir = told("dead", *links(STEPS[:8]), "50 run c 1 step_8"), told("heir", *links(STEPS[8:], epoch=2, at=60))

    found = verdict(dead, heir, rows=[chain(epoch=2, commit_epoch=2, crashes=1)], faults=[Fault("kill", "dead", 55)])

    assert found == []


def test_a_claim_that_was_kept_and_forgotten_needs_a_reason() -> None:
    quiet, heir = told("quiet", *links(STEPS[:8])), told("heir", *links(STEPS[8:], epoch=2, at=60))

    assert verdict(quiet, heir, rows=[chain(epoch=2, commit_epoch=2)]) == [
        "unexplained: quiet ran the claim c/1, which was forgotten, and nothing was done to it"
    ]


@pytest.mark.parametrize(
    ("complaint", "steps", "columns"),
    [
        ("doubled: chain c has 21 commits, not 20", STEPS, {"commits": 21}),
        ("again: c committed step_4 in claim 1, after step_4", [*STEPS[:5], *STEPS[4:]], {}),
        ("again: ann began step_4 of c in claim 1, after step_4 was committed", [*STEPS[:5], *STEPS[4:]], {}),
        ("again: c committed step_4 in claim 1, after step_5", [0, 1, 2, 3, 5, 4, *STEPS[6:]], {}),
        ("skipped: nobody ran step_7 of c", [*STEPS[:7], *STEPS[8:]], {}),
    ],
)
def test_a_step_out_of_order_is_named(complaint: str, steps: Sequence[int], columns: dict[str, object]) -> None:
    found = verdict(told("ann", *links(steps)), rows=[chain(**columns)])

    assert complaint in found


def box(got: Sequence[int], **columns: object) -> Row:
    """A box that has read these numbers."""
    return row("b", "box", {"n": 5, "want": 2, "got": got}, got, **columns)


def used(number: int) -> Mail:
    """A signal to the box that was used up."""
    return Mail("b", "mail", str(number), True)


def unread(number: int) -> Mail:
    """A signal to the box that is still listed."""
    return Mail("b", "mail", str(number), False)


SENDER = told("sue", "1 send 5 0", "2 sent 5 0 delivered", "3 send 5 1", "4 sent 5 1 duplicate", "5 send 5 2")


def test_mail_that_was_read_once_or_is_listed_has_no_complaint() -> None:
    assert verdict(SENDER, rows=[box([0])], mail=[used(0), unread(1)]) == []


@pytest.mark.parametrize(
    ("complaint", "got", "mail"),
    [
        ("lost: mail 1 to box 5 was accepted, and is neither read nor listed", [0], [used(0)]),
        ("doubled: box 5 has read mail 0 2 times, and lists it 0 times", [0, 0, 1], [used(0), used(1)]),
        ("doubled: box 5 has read mail 1 1 times, and lists it 1 times", [0, 1], [used(0), unread(1)]),
        ("doubled: box 5 has read mail 1 0 times, used up 1 times", [0], [used(0), used(1)]),
    ],
)
def test_mislaid_mail_is_named(complaint: str, got: list[int], mail: list[Mail]) -> None:
    assert complaint in verdict(SENDER, rows=[box(got)], mail=mail)


def test_mail_that_was_accepted_twice_is_named() -> None:
    again = told("heir", "7 send 5 0", "8 sent 5 0 delivered")

    assert "doubled: box 5 accepted mail 0 2 times" in verdict(
        SENDER, again, rows=[box([0])], mail=[used(0), unread(1)]
    )


def test_a_box_that_waits_for_what_it_has_is_named() -> None:
    waiting = box([0], status="waiting", awaits='["mail"]')

    found = verdict(SENDER, rows=[waiting], mail=[used(0), unread(1)])

    assert "asleep: box 5 waits for mail, and mail 1 lies in its inbox" in found
    assert "asleep" not in "".join(verdict(SENDER, rows=[waiting._replace(awaits='["post"]')], mail=[unread(1)]))


def family(children: int = 2, ended: int = 2) -> Row:
    """A family that has ended well."""
    total = sum(answer(CHILD_BASE + place) for place in range(ended))
    return row("f", "family", {"n": 1, "children": children}, {"ended": ended, "sum": total}, epoch=2, commit_epoch=2)


def child(place: int, **columns: object) -> Row:
    """One of its children."""
    n = CHILD_BASE + place
    plain = {"commits": 1, "parent": "f", "child": place}
    return row(f"f{place}", "nap", {"n": n}, answer(n), **(plain | columns))


CHILDREN = ("5 run f0 1", "6 end f0 1", "7 commit f0 1 done", "5 run f1 1", "6 end f1 1", "8 commit f1 1 done")
SPAWN = ("1 run f 1 start", "2 end f 1", "3 commit f 1 waiting")
JOIN = ("9 run f 2 join", "10 end f 2", "11 commit f 2 done")


def test_a_good_family_has_no_complaint() -> None:
    assert verdict(told("ann", *SPAWN, *CHILDREN, *JOIN), rows=[family(), child(0), child(1)]) == []


def test_a_parent_that_was_woken_early_is_named() -> None:
    early = ("6 run f 2 join", "10 end f 2", "11 commit f 2 done")

    assert verdict(told("ann", *SPAWN, *CHILDREN, *early), rows=[family(), child(0), child(1)]) == [
        "early: f was woken while 2 of its 2 children had not ended"
    ]


def test_a_child_too_many_or_too_few_is_named() -> None:
    story = told("ann", *SPAWN, *CHILDREN, *JOIN)

    assert "doubled: f has 1 children at 1 places, not 2" in verdict(story, rows=[family(), child(0)])
    assert "doubled: f has 3 children at 2 places, not 2" in verdict(
        story, rows=[family(), child(0), child(1), child(1)._replace(id="f2")]
    )


def test_a_parent_that_was_woken_twice_is_named() -> None:
    again = ("12 run f 3 join", "13 end f 3", "14 commit f 3 done")

    found = verdict(told("ann", *SPAWN, *CHILDREN, *JOIN, *again), rows=[family(), child(0), child(1)])

    assert "doubled: f was woken 2 times, in claims [2, 3]" in found


def tour(version: int, *, commits: int = STOPS) -> Row:
    """A tour that has ended well, of this version in the end."""
    return row("t", "tour", {"n": 3}, answer(3), epoch=2, commits=commits, commit_epoch=2, version=version)


def run_of(edition: int, epoch: int, status: str, *, at: int) -> list[str]:
    """What a process of an edition writes that runs a step of tour `t` in this claim."""
    claim = f"t {epoch}"
    return [
        f"0 edition {edition}",
        f"{at} run {claim} travel",
        f"{at} end {claim}",
        f"{at + 1} commit {claim} {status}",
    ]


@pytest.mark.parametrize(
    ("begun_by", "editions", "version", "complaint"),
    [
        (1, (1, 2), 2, ""),
        (1, (1, 1), 1, ""),
        (2, (2, 2), 2, ""),
        (1, (2, 1), 2, "which edition 2 has upgraded"),
        (2, (1, 2), 2, "which edition 2 has started"),
    ],
)
def test_an_old_process_that_runs_what_is_newer_is_named(
    begun_by: int, editions: tuple[int, int], version: int, complaint: str
) -> None:
    feeder = told("feeder", f"0 edition {begun_by}", "1 start t tour 3")
    first = told("ann", *run_of(editions[0], 1, "ready", at=10))
    second = told("bob", *run_of(editions[1], 2, "done", at=20))

    said = verdict(feeder, first, second, rows=[tour(version)])

    assert said == [] if not complaint else [each for each in said if complaint in each] == said != []
