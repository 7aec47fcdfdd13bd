"""Seeds in processes of their own."""

import os
import signal
from collections.abc import Iterator

import pytest

from simulation.apart import judged
from simulation.total import Verdict


def judge(seed: int) -> Verdict:
    """Says so; the process of seed 2 is killed, as for want of memory, that of seed 3 ends."""
    if seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 3:
        os._exit(3)
    return Verdict(seed, digest=f"of {seed}", violations=["bad"] if seed == 4 else [])


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_seed_has_a_verdict_also_if_its_process_ends_without_a_word(jobs: int) -> None:
    found = {verdict.seed: verdict for verdict in judged(iter(range(6)), judge, jobs)}

    assert sorted(found) == [0, 1, 2, 3, 4, 5]
    assert {seed: verdict.violations for seed, verdict in found.items() if verdict.violations} == {
        2: ["its process ended with -9, without a word"],
        3: ["its process ended with 3, without a word"],
        4: ["bad"],
    }
    assert [found[seed].digest for seed in (0, 1, 5)] == ["of 0", "of 1", "of 5"]


def test_no_seed_is_begun_after_the_last_verdict_that_is_wanted() -> None:
    taken: list[int] = []

    def seeds() -> Iterator[int]:
        for seed in (0, 1, 2, 3):
            taken.append(seed)
            yield seed

    verdicts = judged(seeds(), judge, 1)
    assert next(verdicts).seed == 0
    verdicts.close()

    assert taken == [0, 1]
