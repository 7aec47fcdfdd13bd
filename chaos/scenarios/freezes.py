"""SIGSTOP of workers past their lease, and SIGCONT after others have taken over."""

from __future__ import annotations

import signal
import time
from typing import Final, NamedTuple

from chaos.arena import Arena, Member, stage
from chaos.faults import Fault
from chaos.history import now_us
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: rounds, and workers frozen together in each."""

    rounds: int
    together: int


SIZES: Final = {"full": Size(14, 3), "ci": Size(3, 2)}
WORKERS: Final = 7
JOBS_PER_ROUND: Final = 500
FREEZE_LEASES: Final = (2.5, 4.0)
"""A freeze must outlast the lease, the watching of it, and a busy machine."""
_PAUSE_S: Final = 1.0
_TRIES_MAX: Final = 10


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Freezes some workers at a time: every other one with outcomes in hand, just before they would be sent."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        feeder = arena.feed(JOBS_PER_ROUND * size.rounds, nap_s=(0.0, 0.1))
        for _ in range(WORKERS):
            arena.hire()
        for number in range(1, size.rounds + 1):
            arena.allow(JOBS_PER_ROUND * number)
            victims = arena.busy(size.together)
            frozen = [freeze(arena, victim, with_outcomes=place % 2 == 0) for place, victim in enumerate(victims)]
            time.sleep(arena.lease_s * arena.dice.uniform(*FREEZE_LEASES))
            for fault, victim in zip(frozen, victims, strict=True):
                fault.until_us = now_us()
                victim.send(signal.SIGCONT)
            arena.wait(0.1)
        arena.finish(feeder, patience_s=45.0)

    return stage("freezes", act, store=store, scale=scale, seed=seed, mutation=mutation)


def freeze(arena: Arena, victim: Member, *, with_outcomes: bool) -> Fault:
    """Stops a process for long, and not in the middle of a transaction on SQLite.

    There it would keep the lock: nobody could take over, and nothing stale could come of it.
    """
    for _ in range(_TRIES_MAX):
        at_us = stop(victim, with_outcomes=with_outcomes)
        if not arena.place.is_locked():
            break
        victim.send(signal.SIGCONT)
        time.sleep(0.01)
    fault = Fault("freeze", victim.name, at_us)
    arena.faults.append(fault)
    return fault


def stop(victim: Member, *, with_outcomes: bool) -> int:
    """Stops a process: at once, or when it has outcomes in hand, if that happens soon. Returns when."""
    if with_outcomes:
        victim.send(signal.SIGUSR1)
        deadline = time.monotonic() + _PAUSE_S
        while not victim.is_stopped and time.monotonic() < deadline:
            time.sleep(0.002)
        if not victim.is_stopped:
            victim.send(signal.SIGUSR2)
    at_us = now_us()
    victim.send(signal.SIGSTOP)
    return at_us
