"""Workers that are killed one after the other, and replaced, while work comes in as fast as they die."""

from __future__ import annotations

from collections.abc import Callable

from chaos.arena import Arena


def wear_down(
    arena: Arena,
    rows: int,
    *,
    workers: int,
    kills: int,
    gap_s: float,
    kill: Callable[[Arena], object] = Arena.strike,
    after: Callable[[int], object] = lambda number: None,
) -> None:
    """Hires workers and kills as many as it is told to.

    Args:
        rows: What is started in all; a share of it is let in before each kill.
        workers: How many live at once.
        kills, gap_s: How many die, and the mean seconds between two deaths.
        kill: How one dies; in the middle of work, unless it says otherwise.
        after: Called with the number of each kill, counted from 1.
    """
    for _ in range(workers):
        arena.hire()
    for number in range(1, kills + 1):
        arena.allow(rows * number // kills)
        arena.wait(gap_s)
        kill(arena)
        arena.hire()
        after(number)
