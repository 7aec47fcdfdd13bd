"""What a failover has lost: each account is shown with what fits it, and with what does not."""

from chaos.history import Event, Story
from chaos.tails import Tail, Version, forget, forget_zombies, judge

OLD, NEW = 700, 701
"""A transaction that the replica has seen, and one that it has not."""


def told(name: str, *lines: str) -> Story:
    """A story from lines such as `5 run a 1 run`."""
    story = Story(name)
    for line in lines:
        at, word, *fields = line.split(" ")
        story.tell(Event(int(at), word, fields))
    return story


def judged(
    *stories: Story, left: dict[str, Version], promoted: dict[str, Version], written: frozenset[int] = frozenset({NEW})
) -> Tail:
    """The tail of a server that was dead at 100."""
    starts = {story.name: set(story.starts) for story in stories}
    by_name = {story.name: story for story in stories}
    return judge(by_name, starts, at_us=100, left=left, promoted=promoted, written=set(written))


READY = Version(OLD, 0, 0, 0, "ready")
DONE = Version(NEW, 1, 1, 1, "done")
RAN = ("10 run a 1 run", "20 end a 1", "30 commit a 1 done")


def test_nothing_is_lost_where_both_have_all() -> None:
    done = DONE._replace(xmin=OLD)

    tail = judged(told("ann", "1 start a nap 1", *RAN), left={"a": done}, promoted={"a": done})

    assert (tail.starts, tail.outcomes, tail.undone, tail.wrong) == (set(), [], set(), [])


def test_a_start_behind_the_replicas_place_is_lost() -> None:
    tail = judged(told("ann", "1 start a nap 1"), left={"a": READY._replace(xmin=NEW)}, promoted={})

    assert tail.starts == {("ann", "a")}
    assert tail.wrong == []


def test_an_outcome_behind_the_replicas_place_is_lost_with_its_claim() -> None:
    ann = told("ann", *RAN)

    tail = judged(ann, left={"a": DONE}, promoted={"a": READY})

    assert [(name, leg.id) for name, leg in tail.outcomes] == [("ann", "a")]
    assert tail.undone == {("a", 1)}
    assert tail.wrong == []
    forget({"ann": ann}, tail)
    assert (ann.commits, ann.legs) == ({}, [])


def test_a_claim_without_an_outcome_is_undone_too() -> None:
    running = Version(NEW, 1, 0, 0, "running")

    tail = judged(told("ann", "10 run a 1 run"), left={"a": running}, promoted={"a": READY})

    assert (tail.outcomes, tail.undone) == ([], {("a", 1)})


def test_what_was_told_after_the_next_server_answered_is_not_lost() -> None:
    ann = told("ann", "10 run a 1 run", "20 end a 1", "130 commit a 1 done")

    tail = judged(ann, left={"a": DONE}, promoted={"a": READY})

    assert tail.outcomes == []


def test_a_row_that_differs_without_a_reason_is_told() -> None:
    tail = judged(left={"a": DONE._replace(xmin=OLD)}, promoted={"a": READY})

    assert tail.wrong == ["tail: a differs, and is not behind the place where the replica's log ends"]


def test_a_row_that_is_there_although_it_cannot_be_is_told() -> None:
    tail = judged(left={"a": DONE}, promoted={"a": DONE})

    assert tail.wrong == ["tail: a is the same, and is behind the place where the replica's log ends"]


def test_what_not_even_the_dead_server_has_was_never_written() -> None:
    tail = judged(
        told("ann", "1 start a nap 1"), told("bob", "10 run b 1 run", "30 commit b 1 done"), left={}, promoted={}
    )

    assert [sentence.partition(" ")[0] for sentence in tail.wrong] == ["lost:", "lost:"]


def test_two_that_were_told_of_one_commit_of_a_lost_claim_count_once() -> None:
    stories = {"ann": told("ann", *RAN), "bob": told("bob", "110 run a 1 run", "130 commit a 1 done")}

    assert forget_zombies(stories, {("a", 1)}) == 1
    assert [len(story.legs) for story in stories.values()] == [1, 0]
