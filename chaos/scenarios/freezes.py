"""SIGSTOP of workers past their lease, and SIGCONT after others have taken over."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.faults import Fault, recovery_us, was_buried
from chaos.history import now_us
from chaos.members import Member
from chaos.report import Report
from harness.waiting import eventually


class Size(NamedTuple):
    """How much of it: rounds, and workers frozen together in each."""

    rounds: int
    together: int


SIZES: Final = {"full": Size(14, 3), "ci": Size(3, 2)}
WORKERS: Final = 7
JOBS_PER_ROUND: Final = 500
FREEZE_LEASES: Final = (1.5, 3.0)
"""How long a freeze lasts at least. It goes on until others have taken over, however busy the machine is."""
_BURIAL_S: Final = 60.0
_RUN_AGAIN_S: Final = 1.0
_PAUSE_S: Final = 1.0
_PATIENCE_S: Final = 20.0


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Freezes some workers at a time: every other one with outcomes in hand, just before they would be sent."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        feeder = arena.feed(JOBS_PER_ROUND * size.rounds, nap_s=(0.0, 0.1))
        for _ in range(WORKERS):
            arena.hire()
        for number in range(1, size.rounds + 1):
            arena.allow(JOBS_PER_ROUND * number)
            freeze_some(arena, size.together)
            arena.wait(0.1)
        arena.finish(feeder, patience_s=120.0)

    return stage("freezes", act, store=store, scale=scale, seed=seed, mutation=mutation)


def freeze_some(arena: Arena, together: int) -> None:
    """Freezes some workers in the middle of work until others have taken over, and thaws them."""
    frozen: list[tuple[Fault, Member]] = []
    for place in range(together):
        others = [worker for worker in arena.workers() if worker not in (victim for _, victim in frozen)]
        if (victim := freeze(arena, others, with_outcomes=place % 2 == 0)) is not None:
            frozen.append((arena.faults[-1], victim))
    time.sleep(arena.lease_s * arena.dice.uniform(*FREEZE_LEASES))
    await_taken_over(arena, [fault for fault, _ in frozen])
    for fault, victim in frozen:
        fault.until_us = now_us()
        victim.let_go()


def freeze(arena: Arena, candidates: Sequence[Member], *, with_outcomes: bool) -> Member | None:
    """Stops a process that is in the middle of work, and not in the middle of a transaction on SQLite.

    There it would keep the lock: nobody could take over, and nothing stale could come of it. None: no such moment came.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and (victim := arena.catch(candidates)) is not None:
        if with_outcomes:
            go_on_until_outcomes(victim)
        is_caught = victim.is_stopped and victim.watch.is_busy and has_node(arena, victim)
        if is_caught and not arena.place.is_held_by(victim.pid):
            arena.faults.append(Fault("freeze", victim.name, now_us()))
            return victim
        victim.let_go()
    return None


def has_node(arena: Arena, member: Member) -> bool:
    """Whether others take it for alive: just thawed, it may be at work that is no longer its own."""
    beats = member.watch.look().beats
    newest = max(beats, key=lambda node: beats[node][-1], default=None)
    burials = (node for watch in arena.watches.values() for node, _ in watch.look().burials)
    return newest is not None and newest not in burials


def go_on_until_outcomes(victim: Member) -> None:
    """Lets a stopped process go on until it has outcomes in hand, if that is soon, and stops it again."""
    victim.send(signal.SIGUSR1)
    victim.let_go()
    if not victim.await_stopped(_PAUSE_S):
        victim.send(signal.SIGUSR2)
        victim.halt()


def await_taken_over(arena: Arena, faults: Sequence[Fault]) -> None:
    """Waits until others have declared the frozen processes dead, and, for a moment, until their work is run again."""

    def buried() -> bool:
        stories = {name: watch.look() for name, watch in arena.watches.items()}
        return all(was_buried(stories[fault.name or ""], fault, stories) for fault in faults)

    def run_again() -> bool:
        stories = {name: watch.look() for name, watch in arena.watches.items()}
        return all(recovery_us(fault, stories) for fault in faults)

    try:
        eventually(buried, timeout=_BURIAL_S)
        eventually(run_again, timeout=_RUN_AGAIN_S)
    except AssertionError:
        pass  # the report says which faults had an effect.
