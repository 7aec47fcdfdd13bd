"""The checker that judges Outlast and its peers alike: each of its figures is shown a case."""

from collections.abc import Sequence

from chaos.history import Event
from chaos.peers.checker import Freeze, Frozen, Verdict, judge, judge_freezes


def told(*lines: str) -> dict[str, list[Event]]:
    """Histories from lines such as `5 one begin 1`: the moment, the worker, the word, the job."""
    histories: dict[str, list[Event]] = {}
    for line in lines:
        at, worker, word, number = line.split(" ")
        histories.setdefault(worker, []).append(Event(int(at), word, [number]))
    return histories


def verdict(*lines: str, jobs: Sequence[int] = (1,), deaths_us: dict[str, int] | None = None) -> Verdict:
    """What the checker says of them."""
    return judge(jobs, told(*lines), deaths_us or {})


def test_work_that_runs_once_to_its_end_is_nothing_to_speak_of() -> None:
    found = verdict("1 one begin 1", "2 one begin 2", "3 one end 2", "4 one end 1", jobs=(1, 2))

    assert found == Verdict(0, 0, 0, 0, 0, None, None, 4, [3, 4])


def test_a_promised_job_that_never_began_or_never_ended_is_never_finished() -> None:
    found = verdict("1 one begin 1", jobs=(1, 2), deaths_us={"one": 5})

    assert (found.never_finished, found.interrupted, found.recovery_s) == (2, 1, None)


def test_a_recovery_lasts_from_the_death_to_the_next_beginning() -> None:
    found = verdict(
        *("1 one begin 1", "2 one begin 2", "3 one begin 3"),
        *("1000005 two begin 1", "2000005 two begin 2", "9000005 two begin 3"),
        *("9000006 two end 1", "9000006 two end 2", "9000006 two end 3"),
        jobs=(1, 2, 3),
        deaths_us={"one": 5},
    )

    assert (found.rerun, found.interrupted, found.never_finished, found.finished_twice) == (3, 3, 0, 0)
    assert (found.recovery_median_s, found.recovery_s) == (2.0, 9.0)


def test_work_whose_end_was_not_recorded_before_the_death_is_finished_twice() -> None:
    found = verdict(
        "1 one begin 1", "2 one end 1", "7 two begin 1", "9 two end 1", jobs=(1,), deaths_us={"one": 5, "two": 20}
    )

    assert (found.finished_twice, found.rerun, found.rerun_alive, found.interrupted) == (1, 1, 0, 0)
    assert found.ended_us == 2


def test_a_job_taken_from_a_worker_that_lives_is_told_from_one_whose_worker_died() -> None:
    lines = ("1 one begin 1", "3 two begin 1", "4 one end 1", "6 two end 1")

    assert verdict(*lines).rerun_alive == 1
    assert verdict(*lines, deaths_us={"one": 10}).rerun_alive == 1
    assert verdict(*lines[:2], lines[3], deaths_us={"one": 2}).rerun_alive == 0


def test_one_worker_may_run_a_job_twice() -> None:
    found = verdict("1 one begin 1", "2 one begin 1", "3 one end 1")

    assert (found.rerun, found.rerun_alive, found.finished_twice, found.never_finished) == (1, 1, 0, 0)


def test_jobs_of_a_frozen_worker_are_those_it_was_in_and_taken_over_before_it_went_on() -> None:
    histories = told(
        *("1 one begin 1", "1 one begin 2", "1 one begin 3", "2 one end 3", "5000000 two begin 1", "5000001 two end 1"),
        *("9000006 one end 1", "9000006 one end 2", "9000007 two begin 2", "9000008 two end 2"),
    )

    assert judge_freezes(histories, [Freeze("one", 3, 9_000_005)]) == Frozen(2, 1, 4.999997)
    assert judge_freezes(histories, [Freeze("two", 3, 9_000_005)]) == Frozen(0, 0, None)
