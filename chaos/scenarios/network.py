"""A network between processes and Postgres that is cut, silent or slow."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.faults import Fault
from chaos.history import now_us
from chaos.members import Member
from chaos.report import Report
from chaos.wires import WiredPlace, process_of, wired_place


class Size(NamedTuple):
    """How much of it: jobs and machines started, each, faults of the network, and connections cut at some byte."""

    starts: int
    faults: int
    byte_cuts: int


SIZES: Final = {"full": Size(25_000, 204, 10_200), "ci": Size(100, 3, 45)}
"""Every fault of the network comes with its share of the cuts, a whole number: 10,000 would leave four out."""
LEASE_S: Final = 1.0
WORKERS: Final = 3
STATEMENT_S: Final = 1.0
SILENT_S: Final = STATEMENT_S + 5.0
"""After so long without an answer a client takes a connection for lost: `statement_timeout`, and five seconds."""
SLOW_BYTES_PER_S: Final = 8_000.0
SHARE: Final = 0.25
KEYS: Final = {"gate": 0.3, "wide": 0.7}
SLOTS: Final = {"gate": 3, "wide": 10}
_SLACK_S: Final = 2.0


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Cuts statements at every byte of question and answer, and now and then the whole network, or one process."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        assert isinstance(arena.place, WiredPlace)
        place = arena.place
        arena.slots = SLOTS
        arena.options = {
            "connect_timeout": 2.0,
            "statement_timeout": STATEMENT_S,
            "concurrency_limits": SLOTS,
        }
        feeders = [
            arena.feed(size.starts, nap_s=(0.0, 0.05), keys=KEYS),
            arena.feed(size.starts, nap_s=(0.0, 0.01), program="chain"),
        ]
        for _ in range(WORKERS):
            arena.hire()
        arena.await_so(
            lambda: all(member.watch.look().ups_us for member in arena.workers()),
            timeout_s=20.0,
            what="all to be there",
        )
        faults = [_reset, _partition, _refuse, _mute, _slow, _half_open]
        for number in range(size.faults):
            if number % len(faults) == 0:
                arena.dice.shuffle(faults)
            before = arena.commits()
            arena.allow(size.starts * (2 * number + 1) // (2 * size.faults))
            place.knife.left += size.byte_cuts // size.faults
            arena.await_commits(before + 20, patience_s=20.0)
            arena.await_so(lambda: place.knife.is_done or not place.live(), timeout_s=60.0, what="cuts at all bytes")
            arena.allow(size.starts * (number + 1) // size.faults)
            arena.busy(WORKERS)
            faults[number % len(faults)](arena, place)
            arena.await_commit_or_end()
        arena.await_exit(feeders[1], timeout_s=60.0)
        arena.finish(feeders[0], patience_s=600.0 if scale == "full" else 120.0)
        _tell(arena, place)
        if sum(place.knife.counts.values()) < size.byte_cuts / 2:
            arena.said.append(
                f"dull: of {size.byte_cuts} cuts at a byte only {sum(place.knife.counts.values())} were made"
            )

    report = stage(
        "network",
        act,
        store=store,
        scale=scale,
        seed=seed,
        lease_s=LEASE_S,
        mutation=mutation,
        make_place=partial(wired_place, seed=seed, share=SHARE),
    )
    cuts = report.more.get("cut at a byte", 0)
    assert isinstance(cuts, int)  # each of them hit a statement: that is how it was made.
    return replace(
        report, faults_injected=report.faults_injected + cuts, faults_effective=report.faults_effective + cuts
    )


def _of(member: Member) -> Callable[[str], bool]:
    return lambda name: process_of(name) == member.name


def _reset(arena: Arena, place: WiredPlace) -> None:
    """One process loses all its connections, and may make new ones at once."""
    (victim,) = arena.busy()
    arena.faults.append(Fault("reset", victim.name, now_us()))
    place.proxy.cut(_of(victim))


def _partition(arena: Arena, place: WiredPlace) -> None:
    """One process hears nothing for longer than its lease: others take over. What it sent meanwhile comes late."""
    (victim,) = arena.busy()
    fault = Fault("cut", victim.name, now_us())
    arena.faults.append(fault)
    place.proxy.mute(_of(victim))
    time.sleep(arena.lease_s * arena.dice.uniform(1.4, 2.2))
    place.proxy.mute(None)
    fault.until_us = now_us()


def _refuse(arena: Arena, place: WiredPlace) -> None:
    """All connections are reset, and no new one is let in for a while."""
    with arena.fault("outage"):
        place.proxy.refuse(True)
        place.proxy.cut()
        time.sleep(arena.lease_s * arena.dice.uniform(0.1, 1.5))
        place.proxy.refuse(False)


def _mute(arena: Arena, place: WiredPlace) -> None:
    """Nothing passes for a while, and nobody is told."""
    with arena.fault("outage"):
        place.proxy.mute(lambda name: True)
        time.sleep(arena.lease_s * arena.dice.uniform(0.2, 2.0))
        place.proxy.mute(None)


def _slow(arena: Arena, place: WiredPlace) -> None:
    """64 kbit/s for all."""
    with arena.fault("slow"):
        place.proxy.slow(SLOW_BYTES_PER_S)
        time.sleep(arena.dice.uniform(0.5, 1.5))
        place.proxy.slow(None)


def _half_open(arena: Arena, place: WiredPlace) -> None:
    """The answer to a commit ends after some bytes, and nothing comes after them."""
    place.knife.silences += 1
    arena.await_so(lambda: not place.knife.silences, timeout_s=10.0, what="a commit whose answer can be kept")


def _tell(arena: Arena, place: WiredPlace) -> None:
    arena.lost_replies = [Fault("cut", name, at_us, at_us) for name, at_us in place.knife.cuts]
    silent = [link for link in place.proxy.links if link.silent_since is not None]
    noticed_s = [(link.given_up_at or time.monotonic()) - (link.silent_since or 0.0) for link in silent]
    slowest_s = max(noticed_s, default=0.0)
    if slowest_s > SILENT_S + _SLACK_S:
        arena.said.append(f"deaf: a connection that had fallen silent was kept for {slowest_s:.1f} s")
    arena.more = {
        "cut at a byte": sum(place.knife.counts.values()),
        "of these": dict(sorted(place.knife.counts.items())),
        "half open": len(silent),
        "noticed after at most, s": round(slowest_s, 2),
        "connections": len(place.proxy.links),
    }
