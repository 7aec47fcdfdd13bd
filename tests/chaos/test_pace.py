"""The rules for limits: each is shown a case that breaks it, and the nearest that does not."""

from collections.abc import Sequence

from chaos.evidence import Evidence, Pace
from chaos.faults import Fault
from chaos.history import Event, Story
from chaos.pace import crowded, hasty, peaks
from chaos.place import Row


def told(name: str, *lines: str) -> Story:
    """A story from lines such as `5 run a 1 run`."""
    story = Story(name)
    for line in lines:
        at, word, *fields = line.split(" ")
        story.tell(Event(int(at), word, fields))
    return story


def evidence(*stories: Story, faults: Sequence[Fault] = (), clock_step_s: float = 0.0) -> Evidence:
    """Jobs a, b, c and d of key `k2[x]`, which has two slots; a rate of ten a second, with a burst of two."""
    rows = [Row(id, "nap", "done", "{}", "1", 0, 0, 1, 1, 1, concurrency_key="k2[x]") for id in "abcd"]
    return Evidence(
        stories={story.name: story for story in stories},
        faults=faults,
        rows={row.id: row for row in rows},
        lease_s=1.0,
        crashes_may_count=True,
        slots={"k2": 2},
        paces={"slow": Pace(10.0, 2.0)},
        clock_step_s=clock_step_s,
    )


ANN = told("ann", "1 run a 1 run", "9 end a 1", "1 run b 1 run", "5 end b 1")


def test_as_many_as_there_are_slots_may_run_at_once() -> None:
    bob = told("bob", "5 run c 1 run", "9 end c 1", "9 run d 1 run", "12 end d 1")

    assert list(crowded(evidence(ANN, bob))) == []
    assert peaks(evidence(ANN, bob)) == {"k2[x]": (2, 1)}


def test_one_more_than_there_are_slots_is_named() -> None:
    bob = told("bob", "4 run c 1 run", "9 end c 1")

    assert list(crowded(evidence(ANN, bob))) == ["crowded: 3 steps of key k2[x], which has 2 slots, ran at once at 4"]


def test_a_step_runs_until_its_process_is_killed() -> None:
    dead, bob = told("dead", "1 run c 1 run", "1 run d 1 run"), told("bob", "8 run a 2 run", "9 end a 2")

    assert list(crowded(evidence(dead, bob, faults=[Fault("kill", "dead", 8)]))) == []
    assert list(crowded(evidence(dead, bob, faults=[Fault("kill", "dead", 9)]))) != []


def test_a_step_whose_node_was_declared_dead_runs_until_the_end_of_its_lease() -> None:
    lost = told("lost", "5 beat n1", "6 run c 1 run", "6 run d 1 run", "3000000 end c 1", "3000000 end d 1")
    early = told("early", "1000004 run a 2 run", "1000009 end a 2", "1500000 bury n1")
    late = told("late", "1000005 run a 2 run", "1000009 end a 2", "1500000 bury n1")

    assert list(crowded(evidence(lost, late))) == []
    assert list(crowded(evidence(lost, early))) != []


def test_the_burst_and_what_comes_in_the_time_may_be_taken() -> None:
    story = told("ann", "10 paid a 1 slow[x] 2 0", "100010 paid b 1 slow[x] 1 100000", "100020 paid c 1 slow[y] 2 5")

    assert list(hasty(evidence(story))) == []


def test_a_token_too_many_is_named() -> None:
    story = told("ann", "10 paid a 1 slow[x] 2 0", "100010 paid b 1 slow[x] 2 100000")

    assert list(hasty(evidence(story))) == ["hasty: 4 tokens of slow[x] were taken in 0.100 s, 0.5 too many"]
    assert list(hasty(evidence(story, clock_step_s=1.0))) == [], "the clock was set: the bucket may have filled up"


def test_tokens_that_may_have_been_taken_earlier_do_not_count() -> None:
    story = told("ann", "500000 paid a 1 slow[x] 2 0", "500000 paid b 1 slow[x] 2 499000")

    assert list(hasty(evidence(story))) == []
