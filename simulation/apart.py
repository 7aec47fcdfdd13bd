"""Runs seeds in processes of their own, one for each: what a dead cluster leaves in memory goes with its process."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from simulation.total import Verdict

_HERE: Final = multiprocessing.get_context("fork")

Judge = Callable[[int], Verdict]


def judged(seeds: Iterator[int], judge: Judge, jobs: int) -> Generator[Verdict, None, None]:
    """What came of each seed, as it becomes known. `jobs` of them run at once; those under way are killed at the end.

    A seed is taken when there is room for it. A process that ends without a word is a violation, too.
    """
    running: dict[Connection, tuple[BaseProcess, int]] = {}

    def begin() -> None:
        if (seed := next(seeds, None)) is not None:
            ear, mouth = _HERE.Pipe(duplex=False)
            process = _HERE.Process(target=_tell, args=(judge, seed, mouth))
            process.start()
            mouth.close()
            running[ear] = process, seed

    try:
        for _ in range(jobs):
            begin()
        while running:
            for ear in wait(list(running)):
                assert isinstance(ear, Connection)
                process, seed = running[ear]
                verdict = _heard(ear)
                process.join()
                ear.close()
                del running[ear]
                begin()
                if verdict is None:
                    verdict = Verdict(seed, violations=[f"its process ended with {process.exitcode}, without a word"])
                yield verdict
    finally:
        for process, _ in running.values():
            process.kill()
            process.join()


def _heard(ear: Connection) -> Verdict | None:
    try:
        verdict: Verdict = ear.recv()
    except EOFError:
        return None
    return verdict


def _tell(judge: Judge, seed: int, mouth: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then says how far it came.
    mouth.send(judge(seed))
    mouth.close()
    os._exit(0)  # at once: nothing of a dead cluster is to run.
