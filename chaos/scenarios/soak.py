"""Steady work for a long time, while some workers come and go: what lasts must not grow."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, linear_regression
from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.arrivals import Arrivals
from chaos.members import Member
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: minutes, jobs a second, and seconds between two looks and between two replacements."""

    minutes: float
    per_s: float
    look_s: float
    replace_s: float


SIZES: Final = {"full": Size(6.0, 250.0, 5.0, 10.0), "ci": Size(0.06, 100.0, 0.5, 1.5)}
STAY: Final = 2
"""Workers that nothing is done to, and that are looked at."""
NAP_S: Final = (0.0, 0.05)
WARM_UP: Final = 1 / 3
"""Of the time; what grows then may."""
JUDGED_MIN: Final = 2.0
"""Minutes from which on growth can be told from noise."""
WAL_MB_MAX: Final = 64.0
TABLES_TIMES: Final = 2.0
GROWTH: Final = {"RSS, MB": (0.05, 2.0), "files": (0.0, 3.0), "threads": (0.0, 2.0), "tasks": (0.0, 20.0)}
"""What each may grow by in the whole time: a share of its mean, and something beside, for noise."""
_PAGE_MB: Final = 4_096 / 1e6


@dataclass
class Gauges:
    """What was seen, in turn, by name."""

    at_s: list[float] = field(default_factory=list)
    seen: dict[str, list[float]] = field(default_factory=dict)

    def look(self, arena: Arena, members: Sequence[Member]) -> None:
        """One more look."""
        self.at_s.append(time.monotonic())
        tasks = [member.watch.look().tasks[-1][1] for member in members if member.watch.look().tasks]
        found = {
            "RSS, MB": sum(int(_proc(member, "statm").split()[1]) for member in members) * _PAGE_MB,
            "files": float(sum(len(list(Path(f"/proc/{member.pid}/fd").iterdir())) for member in members)),
            "threads": float(sum(len(list(Path(f"/proc/{member.pid}/task").iterdir())) for member in members)),
            "tasks": float(sum(tasks)),
            **arena.place.sizes_mb(),
        }
        for name, value in found.items():
            self.seen.setdefault(name, []).append(value)

    def growth(self, name: str) -> tuple[float, float]:
        """Mean, and growth by the line of best fit, after the warm-up."""
        first = int(len(self.at_s) * WARM_UP)
        times_s, values = self.at_s[first:], self.seen[name][first:]
        return fmean(values), linear_regression(times_s, values).slope * (times_s[-1] - times_s[0])


def run(*, store: str, scale: str, seed: int, mutation: str | None = None, minutes: float | None = None) -> Report:
    """Memory, files, threads, tasks and tables stay as they are, and each job is done once."""
    size = SIZES[scale] if minutes is None else SIZES[scale]._replace(minutes=minutes)

    def act(arena: Arena) -> None:
        arena.rows_may_go = True
        arena.gauged = True
        arena.options = {"prune_interval": 0.5, "drain_timeout": 2.0, "cancel_timeout": 1.0}
        feeder = arena.feed(None, nap_s=NAP_S, shares={"pass_by": 1.0}, later=0.0)
        lasting = [arena.hire() for _ in range(STAY)]
        fleeting = arena.hire()
        for member in arena.members:
            arena.await_so(lambda watch=member.watch: bool(watch.look().ups_us), timeout_s=20.0, what="an engine")  # type: ignore[misc]
        arrivals, gauges = Arrivals(arena, size.per_s), Gauges()
        ends_at = time.monotonic() + size.minutes * 60.0
        replace_at = time.monotonic() + size.replace_s
        while time.monotonic() < ends_at:
            arrivals.go_on(size.look_s)
            gauges.look(arena, lasting)
            if time.monotonic() > replace_at:
                replace_at += size.replace_s
                fleeting = replace(arena, fleeting, is_kill=len(arena.faults) % 2 == 1)
        arrivals.end()
        arena.finish(feeder, patience_s=60.0)
        judge(arena, gauges, size)

    return stage("soak", act, store=store, scale=scale, seed=seed, mutation=mutation)


def replace(arena: Arena, member: Member, *, is_kill: bool) -> Member:
    """Ends a worker, this way or that, when it is in the middle of something. Returns the next one."""
    caught = arena.catch([member])
    if is_kill:
        arena.kill(member)
    else:
        arena.terminate(member)
        if caught is not None:
            member.let_go()
        arena.await_exit(member, timeout_s=10.0)
    return arena.hire()


def judge(arena: Arena, gauges: Gauges, size: Size) -> None:
    """Whether anything has grown."""
    arena.more["minutes"] = size.minutes
    for name, values in gauges.seen.items():
        mean, growth = gauges.growth(name)
        arena.more[name] = f"{mean:.1f}, {growth:+.2f} in the time, at most {max(values):.1f}"
        if size.minutes < JUDGED_MIN:
            continue
        if name in GROWTH and growth > GROWTH[name][0] * mean + GROWTH[name][1]:
            arena.said.append(f"grows: {name}, by {growth:.2f} from {mean:.1f}")
        if name == "tables, MB" and max(values) > TABLES_TIMES * mean:
            arena.said.append(f"grows: {name}, to {max(values):.1f}, where {mean:.1f} is usual")
    # Postgres keeps of its log what its settings say, whatever we do.
    if arena.place.store == "sqlite" and (most := max(gauges.seen["log, MB"])) > WAL_MB_MAX:
        arena.said.append(f"grows: the write-ahead log, to {most:.1f} MB")


def _proc(member: Member, name: str) -> str:
    return Path(f"/proc/{member.pid}/{name}").read_text()
