"""What the histories of all workers say about the jobs, the same for every system."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from chaos.history import Event


class Run(NamedTuple):
    """One run of a job. `ended_us` is None when it did not run to the end."""

    worker: str
    began_us: int
    ended_us: int | None


@dataclass(frozen=True)
class Verdict:
    """What came of the jobs.

    Attributes:
        never_finished: Jobs whose work never ran to the end.
        finished_twice: Jobs whose work ran to the end more than once.
        rerun: Runs beyond each job's first.
        rerun_alive: Those of them that began while every process which had the job before was still alive.
        interrupted: Runs that a death cut off.
        recovery_s: The slowest time from a death until a job that it cut off began again; None: none began again.
        recovery_median_s: The one in the middle.
        ended_us: When the last job ran to its end for the first time; 0: none did.
        first_ends_us: When each job ran to its end for the first time, in order.
    """

    never_finished: int
    finished_twice: int
    rerun: int
    rerun_alive: int
    interrupted: int
    recovery_s: float | None
    recovery_median_s: float | None
    ended_us: int
    first_ends_us: Sequence[int]


class Freeze(NamedTuple):
    """A worker that stood still, from when until when."""

    worker: str
    since_us: int
    until_us: int


class Frozen(NamedTuple):
    """What came of jobs whose worker stood still in the middle of them.

    Attributes:
        jobs: How many.
        taken_over: How many of them others began before it went on.
        slowest_s: From the freeze until the last of those began.
    """

    jobs: int
    taken_over: int
    slowest_s: float | None


def judge_freezes(histories: Mapping[str, Iterable[Event]], freezes: Iterable[Freeze]) -> Frozen:
    """What others did with the jobs of workers that stood still."""
    runs = list(_runs(histories))
    jobs, takeovers = 0, []
    for worker, since_us, until_us in freezes:
        for number, run in runs:
            ended_us = until_us if run.ended_us is None else run.ended_us
            if run.worker != worker or not run.began_us <= since_us < until_us <= ended_us:
                continue
            jobs += 1
            begins = [again.began_us for other, again in runs if other == number and again.worker != worker]
            takeovers += [(at_us - since_us) / 1e6 for at_us in sorted(begins) if since_us < at_us < until_us][:1]
    return Frozen(jobs, len(takeovers), max(takeovers, default=None))


def judge(numbers: Iterable[int], histories: Mapping[str, Iterable[Event]], deaths_us: Mapping[str, int]) -> Verdict:
    """Holds what was promised against what was done.

    Args:
        numbers: The jobs whose submission was acknowledged.
        histories: What each worker wrote down.
        deaths_us: When workers were killed.
    """
    runs: dict[int, list[Run]] = {number: [] for number in numbers}
    for number, run in _runs(histories):
        runs.setdefault(number, []).append(run)
    first_ends, recoveries = [], []
    never = twice = rerun = alive = interrupted = 0
    for each in runs.values():
        each.sort(key=lambda run: run.began_us)
        ends = sorted(run.ended_us for run in each if run.ended_us is not None)
        never, twice = never + (not ends), twice + (len(ends) > 1)
        first_ends += ends[:1]
        rerun += max(len(each) - 1, 0)
        for place, run in enumerate(each[1:], 1):
            alive += all(deaths_us.get(before.worker, run.began_us) >= run.began_us for before in each[:place])
        interrupted += sum(run.ended_us is None and run.worker in deaths_us for run in each)
        recoveries += [
            (after.began_us - deaths_us[cut.worker]) / 1e6
            for cut, after in pairwise(each)
            if cut.ended_us is None and cut.worker in deaths_us
        ]
    recoveries.sort()
    first_ends.sort()
    return Verdict(
        never_finished=never,
        finished_twice=twice,
        rerun=rerun,
        rerun_alive=alive,
        interrupted=interrupted,
        recovery_s=recoveries[-1] if recoveries else None,
        recovery_median_s=recoveries[len(recoveries) // 2] if recoveries else None,
        ended_us=first_ends[-1] if first_ends else 0,
        first_ends_us=first_ends,
    )


def _runs(histories: Mapping[str, Iterable[Event]]) -> Iterable[tuple[int, Run]]:
    for worker, events in histories.items():
        begun: dict[int, list[int]] = defaultdict(list)
        for event in events:
            number = int(event.fields[0])
            if event.word == "begin":
                begun[number].append(event.at_us)
            else:
                yield number, Run(worker, begun[number].pop(0), event.at_us)
        for number, moments in begun.items():
            yield from ((number, Run(worker, at_us, None)) for at_us in moments)
