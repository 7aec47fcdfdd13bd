"""Which ticks of a schedule fire, which are dropped, and when their runs begin. Pure rules; the store keeps the rows.

A tick is an instant at which a schedule's cron expression fires. Whoever looks at a schedule plans all ticks since the
last look, stores one run per firing under its key, and stores with them up to where ticks are decided. Two nodes that
look at once make the same keys, so a tick has one run in the whole cluster; a clock that goes back decides nothing
again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple

from outlast._kernel.cron import Cron
from outlast.calendar import aware
from outlast.config.values import DAY_S, checked_name, duration_s, one_of, shown, whole
from outlast.errors import ConfigError

CatchUp = Literal["none", "last", "all"]
Overlap = Literal["skip", "queue", "allow"]

CATCH_UPS: Final = ("none", "last", "all")
OVERLAPS: Final = ("skip", "queue", "allow")
TICKS_MAX: Final = 100
"""Ticks that one look decides at most (default); the next look goes on."""
NAME_MAX: Final = 150
"""Characters of a schedule's name; its key, which is longer, must fit where keys are stored."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a schedule does about ticks that were missed, and runs that last until the next tick.

    A tick is on time if it is noticed within `grace_s`, and then always counts. Others were missed, since no node ran
    or none could: `catch_up` says which of them count nevertheless, if they are no older than `window_s`.

    Attributes:
        catch_up: "none"; "last" (default): the newest, if no later tick counts; "all".
        window_s: How old a missed tick may be, in seconds; default one day.
        overlap: If earlier runs have not ended: "skip" drops the tick; "queue" starts it when they have; "allow"
            (default) starts it beside them.
        queued_max: With "queue", ticks beyond so many that wait are dropped; default 100.
        jitter_s: Each run begins up to so many seconds later, always the same for a tick; default 0.
        grace_s: Seconds that a tick may be late and still be on time; default 60. It takes longer than a node needs to
            notice that another is dead.

    Raises: ConfigError.
    """

    catch_up: CatchUp = "last"
    window_s: float = DAY_S
    overlap: Overlap = "allow"
    queued_max: int = 100
    jitter_s: float = 0.0
    grace_s: float = 60.0

    def __post_init__(self) -> None:
        one_of("catch_up", self.catch_up, CATCH_UPS)
        one_of("overlap", self.overlap, OVERLAPS)
        whole("queued_max", self.queued_max, 1, 100_000)
        object.__setattr__(self, "window_s", duration_s(self.window_s, name="window", most_s=366 * DAY_S))
        object.__setattr__(self, "jitter_s", duration_s(self.jitter_s, name="jitter", most_s=DAY_S))
        object.__setattr__(self, "grace_s", duration_s(self.grace_s, name="grace", least_s=1, most_s=DAY_S))


class Firing(NamedTuple):
    """A tick that gets a run.

    Attributes:
        tick: The instant that the expression names, in UTC; what the run is told.
        key: One run in the cluster may have it.
        start_at: When the run may begin, in UTC.
        waits: It must not begin before all earlier runs of the schedule have ended.
    """

    tick: datetime
    key: str
    start_at: datetime
    waits: bool


class Due(NamedTuple):
    """The ticks that count, and those that do not.

    Attributes:
        ticks: Those that count, oldest first.
        missed_from: The oldest that does not; None where all count.
        decided: The newest tick that is decided, whether it counts or not. It is a tick and not now, so that a clock
            which jumps ahead and comes back costs no tick that it did not pass.
        next_tick: The oldest that is not decided; None where there will be none.
    """

    ticks: tuple[datetime, ...]
    missed_from: datetime | None
    decided: datetime
    next_tick: datetime | None


class Plan(NamedTuple):
    """What one look at a schedule decides.

    Attributes:
        firings: Runs to store, oldest tick first.
        overlapped: Ticks dropped because earlier runs have not ended.
        missed_from: The oldest tick dropped because it was missed; None where none was.
        decided: The newest tick that is decided: to store in the transaction that stores the runs.
        next_tick: When to look again, in UTC; it may be past, where more than `limit` ticks were due. None: never.
    """

    firings: tuple[Firing, ...]
    overlapped: tuple[datetime, ...]
    missed_from: datetime | None
    decided: datetime
    next_tick: datetime | None


def plan(
    name: str,
    cron: Cron,
    policy: Policy,
    *,
    decided: datetime,
    now: datetime,
    live: int = 0,
    limit: int = TICKS_MAX,
) -> Plan:
    """What becomes of the ticks between the last look and now.

    Args:
        name: The schedule's name.
        cron: When it fires.
        policy: What it does about missed ticks and long runs.
        decided: Of the last look; for a schedule that is new, changed or enabled again, the instant of that.
        now: The instant of this look, by the clock that all looks share.
        live: Its runs that have not ended.
        limit: Ticks that may fire in one look, at least 1.
    """
    found = due(cron, policy, decided=decided, now=now, limit=limit)
    firings: list[Firing] = []
    overlapped: list[datetime] = []
    for tick in found.ticks:
        verdict = admit(policy, live + len(firings))
        if verdict == "drop":
            overlapped.append(tick)
        else:
            start = start_at(name, tick, policy, now=now)
            firings.append(Firing(tick, tick_key(name, tick), start, verdict == "wait"))
    return Plan(tuple(firings), tuple(overlapped), found.missed_from, found.decided, found.next_tick)


def due(cron: Cron, policy: Policy, *, decided: datetime, now: datetime, limit: int = TICKS_MAX) -> Due:
    """Which ticks after `decided`, up to now, count. A clock that stands before `decided` finds none."""
    decided, now = aware("decided", decided), aware("now", now)
    coming = cron.ticks(decided)
    first = tick = next(coming, None)
    if first is None or first > now:
        return Due((), None, decided, first)
    oldest = now - _s(max(policy.grace_s, policy.window_s if policy.catch_up == "all" else 0.0))
    if first < oldest:
        coming = cron.ticks(oldest - timedelta(microseconds=1))
        tick = next(coming, None)
    ticks: list[datetime] = []
    while tick is not None and tick <= now and len(ticks) < limit:
        ticks.append(tick)
        tick = next(coming, None)
    if ticks:
        return Due(tuple(ticks), first if first < ticks[0] else None, ticks[-1], tick)
    newest = cron.latest(now) or first
    if policy.catch_up == "last" and newest >= now - _s(policy.window_s):
        return Due((newest,), first if first < newest else None, newest, tick)
    return Due((), first, newest, tick)


def admit(policy: Policy, live: int) -> Literal["start", "wait", "drop"]:
    """What becomes of a tick while `live` earlier runs have not ended."""
    if live == 0 or policy.overlap == "allow":
        return "start"
    return "wait" if policy.overlap == "queue" and live <= policy.queued_max else "drop"


def start_at(name: str, tick: datetime, policy: Policy, *, now: datetime) -> datetime:
    """When the run of a tick may begin: the tick and its jitter; now and its jitter for one that was missed.

    After an outage everything is due at once, which is what jitter is for.
    """
    late = now - tick > _s(policy.grace_s)
    return (now if late else tick) + jitter(name, tick, policy.jitter_s)


def jitter(name: str, tick: datetime, most_s: float) -> timedelta:
    """How much later a tick's run begins: in [0, most_s], drawn from tick and name, so that all nodes agree."""
    digest = hashlib.sha256(tick_key(name, tick).encode()).digest()
    return timedelta(seconds=most_s * int.from_bytes(digest[:8], "big") / 2**64)


def tick_key(name: str, tick: datetime) -> str:
    """The key under which a tick has one run in the cluster: the name, an @, and the instant to the second in UTC."""
    return f"{name}@{tick.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def checked_schedule_name(name: object) -> str:
    """A schedule's name: 1 to 150 printable characters. Raises: ConfigError."""
    text = checked_name(name, what="a schedule's name")
    if len(text) > NAME_MAX:
        raise ConfigError(f"a schedule's name must be at most {NAME_MAX} characters long, not {shown(text)}")
    return text


def _s(duration_s: float) -> timedelta:
    return timedelta(seconds=duration_s)
