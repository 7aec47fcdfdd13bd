"""Where a scenario takes place: a database, processes that work on it, and what is done to them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from chaos.checker import check
from chaos.evidence import Evidence, Pace
from chaos.faults import Fault, is_effective, recovery_us
from chaos.history import Claim, Watch, now_us
from chaos.members import Member
from chaos.place import PLACES, MakePlace, NoPlace, Place
from chaos.report import SHOWN_MAX, Report, versions
from chaos.roles import Order
from chaos.zygote import Zygote
from harness.clocks import Clock, Clocks
from harness.waiting import eventually

LEASE_S = 0.5
MUTANT_S = 4.0
"""A planted bug may keep the work from ever being done: this long is waited for it."""
_POLL_S = 0.005
_TROUBLES = ("Traceback (most recent call last)", "was never retrieved", "was destroyed but it is pending")


@dataclass(kw_only=True)
class Arena:
    """One run of one scenario.

    Attributes:
        place: The database.
        folder: Of histories, logs and perhaps the database.
        dice: All that the run decides; seeded.
        lease_s: The nodes' lease.
        mutation: A bug to plant into every worker, or None.
        options: Of every engine.
        rows_may_go: Whether ended instances may be deleted while the run lasts.
        slots, paces: Concurrency and rate limits in effect; also to be set as options.
        deaf: Whether workers are from now on made so that no hint reaches them or leaves them.
        gauged: Whether they are made so that they write down how long claims take, and what they hold.
        members: Processes that live.
        faults: What was done to them.
        undone: Claims that the database has lost.
        lost_replies: Connections that were cut while they answered. Too many and too small to be counted as faults.
        clocks: Where processes get clocks of their own from; None: they share the machine's.
        clock_of: Their clocks, by name.
    """

    scenario: str
    scale: str
    seed: int
    place: Place
    folder: Path
    zygote: Zygote
    dice: Random
    lease_s: float = LEASE_S
    mutation: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    rows_may_go: bool = False
    slots: dict[str, int] = field(default_factory=dict)
    paces: dict[str, Pace] = field(default_factory=dict)
    deaf: bool = False
    gauged: bool = False
    members: list[Member] = field(default_factory=list)
    watches: dict[str, Watch] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    more: dict[str, object] = field(default_factory=dict)
    crashes_may_count: bool = True
    undone: set[Claim] = field(default_factory=set)
    lost_replies: list[Fault] = field(default_factory=list)
    clocks: Clocks | None = None
    clock_of: dict[str, Clock] = field(default_factory=dict)
    began_at: float = field(default_factory=time.monotonic)
    clock_ahead_s: float = field(default_factory=lambda: time.time() - time.monotonic())

    def feed(
        self,
        jobs: int | None,
        *,
        nap_s: tuple[float, float],
        program: str | None = None,
        purse: str = "budget",
        **more: Any,
    ) -> Member:
        """A process that starts instances, as `allow` allows; `more` is what else an `Order` says.

        It ends after so many jobs; None: when `allow` says so.
        """
        return self._fork(
            "feeder",
            jobs=sys.maxsize if jobs is None else jobs,
            nap_s=nap_s,
            program=program,
            budget=str(self.folder / purse),
            deaf=self.deaf,
            **more,
        )

    def allow(self, jobs: int, *, purse: str = "budget", is_all: bool = False) -> None:
        """Feeders with this purse may have started this many by now. `is_all`: and then they end."""
        (self.folder / "budget.new").write_text(f"{jobs} end" if is_all else str(jobs))
        os.replace(self.folder / "budget.new", self.folder / purse)

    def hire(
        self, *, concurrency: int = 20, engines: int = 1, queues: dict[str, int] | None = None, edition: int = 0
    ) -> Member:
        """A process that works."""
        return self._fork(
            "worker",
            queues={"default": concurrency} if queues is None else queues,
            engines=engines,
            mutation=self.mutation,
            deaf=self.deaf,
            gauged=self.gauged,
            edition=edition,
        )

    def post(self, boxes: Sequence[int], mails: int, *, nap_s: tuple[float, float], heir_of: Sequence[str]) -> Member:
        """A process that sends `mails` signals to each of these boxes, but those that its forerunners have sent."""
        return self._fork("sender", boxes=list(boxes), mails=mails, nap_s=nap_s, forerunners=list(heir_of))

    def serve(self, cells: int, calls: int, *, role: str = "worker") -> Member:
        """A process that calls objects, and as a worker owns them, too; until the file `stop` is there."""
        more: dict[str, Any] = {"queues": {"none": 1}, "mutation": self.mutation} if role == "worker" else {}
        place, stop = len(self.watches) + 1, str(self.folder / "stop")
        return self._fork(role, cells=cells, calls=calls, place=place, budget=stop, **more)

    def lock(self, held_s: tuple[float, float]) -> Member:
        """A process that takes SQLite's lock now and then."""
        return self._fork("locker", nap_s=held_s)

    def _fork(self, role: str, *, queues: dict[str, int] | None = None, **values: Any) -> Member:
        name = f"{role}-{len(self.watches)}"
        options = {"poll_interval": 0.1, "max_poll_interval": 0.5, "connect_timeout": 10.0} | self.options
        options |= {"name": name}
        if role == "worker":
            options |= {"queues": queues, "lease": self.lease_s, "reap_interval": self.lease_s / 4}
            options = {"max_crashes": 1_000_000, "retention": None} | options
        if self.clocks is not None:
            self.clock_of[name] = self.clocks.clock(name)
            values["clock"] = str(self.clock_of[name].path)
        order = Order(role, name, str(self.folder), self.place.url, self.dice.getrandbits(32), options, **values)
        watch = self.watches[name] = Watch(name, order.history)
        member = Member(name, self.zygote.fork(order), watch)
        self.members.append(member)
        return member

    def workers(self) -> list[Member]:
        """Those that work."""
        return [member for member in self.members if member.name.startswith("worker")]

    def busy(self, count: int = 1, *, patience_s: float = 3.0) -> list[Member]:
        """Some workers, if possible such as are in the middle of something by then."""
        deadline = time.monotonic() + patience_s
        while True:
            workers = self.workers()
            self.dice.shuffle(workers)
            found = [worker for worker in workers if worker.watch.is_busy][:count]
            if len(found) == count or time.monotonic() > deadline:
                return found + [worker for worker in workers if worker not in found][: count - len(found)]
            time.sleep(_POLL_S)

    def catch(self, members: Sequence[Member] | None = None, *, patience_s: float = 10.0) -> Member | None:
        """Stops a process, of the workers or of these, in the middle of something. None: none was, for so long.

        It stands still: what its history says of it is true until it is let go or killed.
        """
        deadline = time.monotonic() + patience_s
        while True:
            candidates = self.workers() if members is None else list(members)
            self.dice.shuffle(candidates)
            for member in candidates:
                if member.watch.is_busy:
                    if member.halt() and member.watch.is_busy:
                        return member
                    member.let_go()
            if time.monotonic() > deadline:
                return None
            time.sleep(_POLL_S)

    def strike(self, members: Sequence[Member] | None = None) -> Member:
        """Kills a process, of the workers or of these, in the middle of something; whichever, if nobody is."""
        victim = self.catch(members) or self.dice.choice(self.workers() if members is None else list(members))
        self.kill(victim)
        return victim

    def wait(self, mean_s: float) -> None:
        """A random while."""
        time.sleep(min(self.dice.expovariate(1 / mean_s), 5 * mean_s))

    def kill(self, worker: Member) -> None:
        """SIGKILL."""
        if (code := self.zygote.exit_code(worker.pid)) is not None:
            self.said.append(f"exit: {worker.name} ended with {code} before anything was done to it")
        self.faults.append(Fault("kill", worker.name, now_us()))
        worker.send(signal.SIGKILL)
        self.members.remove(worker)

    def fallen(self) -> list[Member]:
        """Processes that have died since the last look without our doing; each counts as killed."""
        found = [member for member in self.members if self.zygote.exit_code(member.pid) is not None]
        for member in found:
            self.members.remove(member)
            self.faults.append(Fault("kill", member.name, now_us()))
        return found

    def terminate(self, member: Member) -> None:
        """SIGTERM. It ends by itself: see `await_exit`."""
        self.faults.append(Fault("term", member.name, now_us()))
        member.send(signal.SIGTERM)

    def await_exit(self, member: Member, *, timeout_s: float, codes: Sequence[int] = (0,)) -> None:
        """Waits for the end of a process that was told to end, or whose work is done. Other `codes` are wrong."""
        deadline = time.monotonic() + timeout_s
        while (found := self.zygote.exit_code(member.pid)) is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        self.members.remove(member)
        if found is None:
            self.said.append(f"hung: {member.name} had not ended {timeout_s:g} s after it was told to")
            member.send(signal.SIGKILL)
        elif found not in codes:
            self.said.append(f"exit: {member.name} ended with {found}, not with {' or '.join(map(str, codes))}")

    @contextmanager
    def fault(self, kind: str) -> Iterator[None]:
        """Something done to all processes, for as long as the context lasts."""
        fault = Fault(kind, None, now_us())
        self.faults.append(fault)
        yield
        fault.until_us = now_us()

    def await_beat(self, member: Member, *, patience_s: float = 10.0) -> None:
        """Waits until a process has renewed its lease once more."""

        def beats() -> int:
            return sum(map(len, member.watch.look().beats.values()))

        seen = beats()
        self._await(lambda: beats() > seen, timeout_s=patience_s, what=f"a beat of {member.name}")

    def await_commits(self, count: int, *, patience_s: float) -> None:
        """Waits until so many outcomes were acknowledged in the whole run."""

        self._await(lambda: self.commits() >= count, timeout_s=self._patience_s(patience_s), what=f"{count} commits")

    def await_commit(self, *, patience_s: float = 20.0) -> None:
        """Waits until the work goes on: any outcome acknowledged from now on."""
        seen = self.commits()
        self._await(lambda: self.commits() > seen, timeout_s=patience_s, what="a commit")

    def await_commit_or_end(self, *, patience_s: float = 20.0) -> None:
        """As `await_commit`; but if nothing is left to be done, nothing can come."""
        seen = self.commits()
        self._await(lambda: self.commits() > seen or self._is_done(), timeout_s=patience_s, what="a commit")

    def commits(self) -> int:
        """How many claims' outcomes were acknowledged so far, in the whole run."""
        return sum(len(watch.look().commits) for watch in self.watches.values())

    def finish(self, feeder: Member, *, patience_s: float, watcher: Member | None = None) -> None:
        """Faults have ended: waits until everything is done, then ends all processes."""
        for member in self.members:
            member.let_go()
        deadline = time.monotonic() + self._patience_s(patience_s)
        self.await_exit(feeder, timeout_s=deadline - time.monotonic())
        self._await(self._is_done, timeout_s=deadline - time.monotonic(), what="finishing all jobs")
        if watcher is not None:  # so that it has watched until after the last fault.
            self.await_beat(watcher)
        self.end()

    def await_so(self, is_so: Callable[[], bool], *, timeout_s: float, what: str) -> None:
        """Waits until it is so; that it never is, is a violation."""
        self._await(is_so, timeout_s=timeout_s, what=what)

    def end(self) -> None:
        """Ends all processes."""
        for member in self.members:
            member.let_go()
            member.send(signal.SIGTERM)
        for member in list(self.members):
            self.await_exit(member, timeout_s=15.0)

    def _patience_s(self, patience_s: float) -> float:
        return patience_s if self.mutation is None else min(patience_s, MUTANT_S)

    def _await(self, predicate: Callable[[], bool], *, timeout_s: float, what: str) -> None:
        try:
            eventually(predicate, timeout=timeout_s, poll=0.02, what=what)
        except AssertionError as error:
            self.said.append(f"stuck: {error}")

    def _is_done(self) -> bool:
        try:
            return not self.place.live()
        except (psycopg.Error, sqlite3.Error):
            return False

    def evidence(self) -> Evidence:
        """What there is to judge by."""
        return Evidence(
            stories={name: watch.look() for name, watch in self.watches.items()},
            faults=self.faults,
            rows={row.id: row for row in self.place.rows()},
            lease_s=self.lease_s,
            crashes_may_count=self.crashes_may_count,
            mail=self.place.mail(),
            journal=self.place.journal(),
            cells={id: json.loads(state) for id, state in self.place.cells().items()},
            rows_may_go=self.rows_may_go,
            slots=self.slots,
            paces=self.paces,
            undone=frozenset(self.undone),
            lost_replies=self.lost_replies,
            clock_step_s=abs(time.time() - time.monotonic() - self.clock_ahead_s),
        )

    def report(self) -> Report:
        """The verdict."""
        evidence = self.evidence()
        stories, rows = evidence.stories, evidence.rows
        said = [*self.said, *check(evidence), *self._log_troubles()]
        if damage := self.place.damage():
            said.append(f"damage: {damage}")
        executions, outcomes = evidence.runs()
        return Report(
            scenario=self.scenario,
            store=self.place.store,
            scale=self.scale,
            seed=self.seed,
            versions=versions(self.place.store, self.place.version),
            duration_s=round(time.monotonic() - self.began_at, 2),
            operations=len(evidence.starts) + sum(len(story.asks) for story in stories.values()),
            executions=executions,
            commits=outcomes if self.rows_may_go else sum(row.commits for row in rows.values()),
            faults_injected=len(self.faults),
            faults_effective=sum(is_effective(fault, stories) for fault in self.faults),
            violations=len(said),
            said=said[:SHOWN_MAX],
            complaints="\n".join(said),
            re_executions_per_commit=round((executions - outcomes) / max(1, outcomes), 4),
            slowest_recovery_s=max((recovery_us(fault, stories) for fault in self.faults), default=0) / 1e6,
            lease_losses=sum(len(story.lost_us) for story in stories.values()),
            stale_refused=sum(len(story.stale) for story in stories.values()),
            more=self.more,
        )

    def _log_troubles(self) -> list[str]:
        log = self.folder / "log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return [f"log: {line}" for line in lines if any(trouble in line for trouble in _TROUBLES)]


def stage(
    scenario: str,
    act: Callable[[Arena], None],
    *,
    store: str,
    scale: str,
    seed: int,
    lease_s: float = LEASE_S,
    mutation: str | None = None,
    make_place: MakePlace | None = None,
    environment: Mapping[str, str] | None = None,
) -> Report:
    """Runs a scenario in an arena of its own, and reports.

    What it leaves is deleted, but kept after a failure that nobody planted.
    """
    folder = Path(tempfile.mkdtemp(prefix="outlast-chaos-"))
    with ExitStack() as stack:
        try:
            place = stack.enter_context((make_place or PLACES[store])(folder))
        except NoPlace as error:
            shutil.rmtree(folder, ignore_errors=True)
            return Report(scenario=scenario, store=store, scale=scale, seed=seed, skipped=str(error))
        arena = Arena(
            scenario=scenario,
            scale=scale,
            seed=seed,
            place=place,
            folder=folder,
            zygote=stack.enter_context(Zygote(environment)),
            dice=Random(seed),
            lease_s=lease_s,
            mutation=mutation,
        )
        act(arena)
        report = arena.report()
    if report.passed or mutation is not None:
        shutil.rmtree(folder, ignore_errors=True)  # a server may still be deleting its own files.
    else:
        report.kept = str(folder)
    return report
