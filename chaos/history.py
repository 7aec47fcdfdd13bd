"""What happened, as each process wrote it down for itself, outside the database.

One file per process, one line per event: `<microseconds> <word> <field> ...`, by the machine's monotonic clock, which
is the same in all its processes. A line is written at once, so that a killed process leaves at most one torn line,
which is not read.

    start <id> <program> <n>        a start was acknowledged (by the feeder)
    run <id> <epoch> <step>         a step's code is about to begin; a claim of a machine may hold several steps
    end <id> <epoch>                it has returned or raised
    cut <id> <epoch>                it was cancelled from outside
    commit <id> <epoch> <status>    the commit of its outcome was acknowledged
    stale <id> <epoch>              its outcome was refused: the claim was no longer this process's
    withheld <id> <epoch>           it was given back before its next step began, as the lease might have run out
    beat <node>                     a registration or renewal that succeeded; the time is that of its beginning
    bury <node>                     this process has declared that node dead
    fenced | buried                 this process doubts its lease | has lost it
    pause                           this process stops itself (SIGSTOP) before its next commit
    up                              the engine has started
    edition <number>                which edition of the application the process is
    refused <id> <epoch> <size>     the database refused this outcome, in a batch of that size
    claimed <micros> <count>        a look for work took so long and found that many
    dialled                         a connection to the database was tried
    tasks <count>                   how many tasks the process's loop has
    held <until>                    a neighbour held the database's lock, from then until then
    begin <id> <epoch> <key> <attempt>           the code of a workflow's step is about to begin
    over <id> <epoch> <key> <attempt>            it has returned or raised
    noted <id> <epoch> <key> <attempt> <status>  the record of what came of it was acknowledged; failures are counted
    paid <id> <epoch> <limit> <weight> <since>   a claim has taken tokens of a rate limit, between then and now
    send <box> <number>             a signal is about to be sent
    sent <box> <number> <answer>    its answer was received
    ask <object> <number> <kind> <argument> ...  a call of an object is about to be made
    told <object> <number> <outcome> [<answer>]  it is over: `ok`, `no` (it has not happened) or `maybe`
    rang <object>                   the handler of its tick begins
    idle                            the process makes no more calls
    trouble <text>                  a loop of the engine reported an error that it did not expect
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from sys import intern, maxsize
from typing import Final, NamedTuple

Claim = tuple[str, int]
"""An instance's id and the epoch of one claim of it."""
Posting = tuple[str, int]
"""Whom a signal is for, and its number."""
WORKFLOW: Final = "workflow"
"""What the one step of every workflow is called."""
KEPT: Final = "running"
"""The status that an outcome writes which keeps its claim for the next step."""


def now_us() -> int:
    """Microseconds on the machine's monotonic clock."""
    return time.monotonic_ns() // 1_000


class History:
    """Where one process writes down what happens to it; any of its threads may.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, *fields: object, at_us: int | None = None) -> None:
        """One event, now or at `at_us`. The last field may hold spaces."""
        self.write_all([fields], at_us=at_us)

    def write_all(self, events: Iterable[tuple[object, ...]], *, at_us: int | None = None) -> None:
        """Several events of one moment."""
        at = now_us() if at_us is None else at_us
        lines = [" ".join(map(str, (at, *fields))).replace("\n", " ") for fields in events]
        if lines:
            os.write(self._file, ("\n".join(lines) + "\n").encode())


@dataclass(slots=True)
class Leg:
    """One step of one claim, run once.

    Attributes:
        id, epoch, step: Which.
        began_us, ended_us, cut_us: When its code began, returned or raised, was cancelled.
        committed_us: When its outcome was acknowledged.
    """

    id: str
    epoch: int
    step: str
    began_us: int
    ended_us: int | None = None
    cut_us: int | None = None
    committed_us: int | None = None


class Mark(NamedTuple):
    """What a step of a workflow has come to: `begin`, `over` or `noted`, and then with which status."""

    at_us: int
    word: str
    id: str
    epoch: int
    key: str
    attempt: int
    status: str = ""


class Call(NamedTuple):
    """A call of an object that is about to be made, and what became of one: `word` is its kind, or its outcome."""

    at_us: int
    word: str
    args: tuple[str, ...]


class Paid(NamedTuple):
    """Tokens that a claim has taken, at some moment between two."""

    limit: str
    weight: float
    since_us: int
    until_us: int


class Event(NamedTuple):
    """One line of a history."""

    at_us: int
    word: str
    fields: list[str]

    @property
    def claim(self) -> Claim:
        """The claim that it speaks of."""
        return self.fields[0], int(self.fields[1])

    @property
    def posting(self) -> Posting:
        """The call that it speaks of: one of very many, on a few objects."""
        return intern(self.fields[0]), int(self.fields[1])


class Reader:
    """Reads a history while it is being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0

    def news(self) -> Iterator[Event]:
        """The events since the last call. What has no line end yet is left for the next."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read_bytes)
                whole, _, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        if not whole:
            return
        self._read_bytes += len(whole) + 1
        for line in whole.decode().split("\n"):
            at, word, *fields = line.split(" ")
            yield Event(int(at), word, fields)


@dataclass
class Story:
    """One process's whole history, by what it says.

    Attributes:
        name: The process.
        starts: Acknowledged starts: program and argument by id.
        started_us: When they were acknowledged.
        runs, ends, cuts: When each claim's code began, last ended, was cancelled, in microseconds.
        commits: When each claim's last outcome was acknowledged, and the status that it wrote.
        legs: Every step that it ran; a workflow from its resumption to its next wait.
        marks: What the steps of workflows have come to here.
        paid: Tokens that its claims took.
        sends, sent: When signals were about to be sent; when their answers came, and what they were.
        asks, tolds: Calls of objects, and what became of them.
        rings: Objects whose ticks it has begun to handle, and when.
        is_idle: Whether it makes no more calls.
        stale: Claims whose outcome was refused.
        withheld: Claims that it gave back before their next step began.
        beats: When each of its nodes began the renewals that succeeded.
        burials: Nodes that it has declared dead, and when.
        lost_us: When it doubted its lease or knew that it had lost it.
        pauses_us: When it stopped itself.
        ups_us: When its engines had started.
        refusals: Outcomes that the database refused: when, which claim, in a batch of which size.
        claimed: Looks for work: when they ended, how many microseconds they took, what they found.
        dials_us: When it tried to connect.
        tasks: How many tasks it had, and when.
        held_us: From when until when it held the database's lock.
        edition: Which edition of the application it is; 0: it knows of none.
        repeated: Claims that it ran, or whose outcome it saw acknowledged, twice.
        troubles: Errors that the engine did not expect.
    """

    name: str
    starts: dict[str, tuple[str, int]] = field(default_factory=dict)
    started_us: dict[str, int] = field(default_factory=dict)
    runs: dict[Claim, int] = field(default_factory=dict)
    ends: dict[Claim, int] = field(default_factory=dict)
    cuts: dict[Claim, int] = field(default_factory=dict)
    commits: dict[Claim, tuple[int, str]] = field(default_factory=dict)
    legs: list[Leg] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    paid: list[Paid] = field(default_factory=list)
    sends: dict[Posting, int] = field(default_factory=dict)
    sent: dict[Posting, tuple[int, str]] = field(default_factory=dict)
    asks: dict[Posting, Call] = field(default_factory=dict)
    tolds: dict[Posting, Call] = field(default_factory=dict)
    rings: list[tuple[str, int]] = field(default_factory=list)
    is_idle: bool = False
    stale: set[Claim] = field(default_factory=set)
    withheld: set[Claim] = field(default_factory=set)
    beats: dict[str, list[int]] = field(default_factory=dict)
    burials: list[tuple[str, int]] = field(default_factory=list)
    lost_us: list[int] = field(default_factory=list)
    pauses_us: list[int] = field(default_factory=list)
    ups_us: list[int] = field(default_factory=list)
    refusals: list[tuple[int, Claim, int]] = field(default_factory=list)
    claimed: list[tuple[int, int, int]] = field(default_factory=list)
    dials_us: list[int] = field(default_factory=list)
    tasks: list[tuple[int, int]] = field(default_factory=list)
    held_us: list[tuple[int, int]] = field(default_factory=list)
    edition: int = 0
    repeated: list[tuple[str, Claim]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    _open: dict[Claim, Leg] = field(default_factory=dict, repr=False)
    _spans: tuple[int, tuple[int, ...], tuple[int, ...]] | None = field(default=None, repr=False)

    def tell(self, event: Event) -> None:
        """Adds one event."""
        at_us, word, fields = event
        match word:
            case "run":
                self._tell_run(event)
            case "commit":
                self._tell_commit(event)
            case "start":
                self.starts[fields[0]] = (fields[1], int(fields[2]))
                self.started_us[fields[0]] = at_us
            case "end":
                self.ends[event.claim] = at_us
                if event.claim in self._open:
                    self._open[event.claim].ended_us = at_us
            case "cut":
                self.cuts[event.claim] = at_us
                if event.claim in self._open:
                    self._open[event.claim].cut_us = at_us
            case "begin" | "over" | "noted":
                self.marks.append(Mark(at_us, word, *event.claim, fields[2], int(fields[3]), *fields[4:]))
            case "paid":
                self.paid.append(Paid(fields[2], float(fields[3]), int(fields[4]), at_us))
            case "send":
                self.sends[event.claim] = at_us
            case "ask":
                self.asks[event.posting] = Call(at_us, intern(fields[2]), tuple(fields[3:]))
            case "told":
                self.tolds[event.posting] = Call(at_us, intern(fields[2]), tuple(fields[3:]))
            case "rang":
                self.rings.append((fields[0], at_us))
            case "idle":
                self.is_idle = True
            case "sent":
                self.sent[event.claim] = (at_us, fields[2])
            case "stale":
                self.stale.add(event.claim)
            case "withheld":
                self.withheld.add(event.claim)
            case "beat":
                self.beats.setdefault(fields[0], []).append(at_us)
            case "bury":
                self.burials.append((fields[0], at_us))
            case "fenced" | "buried":
                self.lost_us.append(at_us)
            case "pause":
                self.pauses_us.append(at_us)
            case "edition":
                self.edition = int(fields[0])
            case "up":
                self.ups_us.append(at_us)
            case "refused":
                self.refusals.append((at_us, event.claim, int(fields[2])))
            case "claimed":
                self.claimed.append((at_us, int(fields[0]), int(fields[1])))
            case "dialled":
                self.dials_us.append(at_us)
            case "tasks":
                self.tasks.append((at_us, int(fields[0])))
            case "held":
                self.held_us.append((at_us, int(fields[0])))
            case "trouble":
                self.troubles.append(" ".join(fields))
            case _:
                raise ValueError(f"{self.name}: no event is called {word!r}")

    def _tell_run(self, event: Event) -> None:
        claim = event.claim
        if claim in self.runs and (claim in self._open or self.is_settled(claim)):
            self.repeated.append(("run", claim))
        self.runs.setdefault(claim, event.at_us)
        leg = Leg(*claim, event.fields[2] if len(event.fields) > 2 else "", event.at_us)
        self._open[claim] = leg
        self.legs.append(leg)

    def _tell_commit(self, event: Event) -> None:
        claim = event.claim
        status = event.fields[2]
        leg = self._open.get(claim)
        if leg is not None:
            if leg.step != WORKFLOW or status != KEPT:  # a workflow goes on after what it records.
                del self._open[claim]
                leg.committed_us = event.at_us
        elif claim in self.commits:
            self.repeated.append(("commit", claim))
        self.commits[claim] = (event.at_us, status)

    def is_open(self, claim: Claim) -> bool:
        """Whether an outcome is still to come that ends what this claim runs."""
        return claim in self._open

    def is_settled(self, claim: Claim) -> bool:
        """Whether an outcome that lets go of the claim was acknowledged."""
        return claim in self.commits and self.commits[claim][1] != KEPT

    def open_at(self, at_us: int) -> list[Claim]:
        """Claims whose code had begun and whose outcome was not yet acknowledged at that moment."""
        return [
            claim for claim, began_us in self.runs.items() if began_us <= at_us and not self._settled_by(claim, at_us)
        ]

    def _settled_by(self, claim: Claim, at_us: int) -> bool:
        cut_us = self.cuts.get(claim)
        return (self.is_settled(claim) and self.commits[claim][0] <= at_us) or (cut_us is not None and cut_us <= at_us)

    def is_busy_at(self, at_us: int) -> bool:
        """Whether it was in the middle of anything at that moment."""
        if self.open_at(at_us):
            return True
        if self._is_calling_at(at_us):
            return True
        return any(
            since_us <= at_us and (posting not in self.sent or self.sent[posting][0] > at_us)
            for posting, since_us in self.sends.items()
        )

    def _is_calling_at(self, at_us: int) -> bool:
        """Whether a call was under way; looked up, for there are many faults and a million calls."""
        size = len(self.asks) + len(self.tolds)
        if self._spans is None or self._spans[0] != size:
            ends_us = (
                (ask.at_us, self.tolds[call].at_us if call in self.tolds else maxsize)
                for call, ask in self.asks.items()
            )
            asked_us, told_us = zip(*sorted(ends_us), strict=True) if self.asks else ((), ())
            self._spans = size, asked_us, tuple(accumulate(told_us, max))
        _, asked_us, last_us = self._spans
        place = bisect_right(asked_us, at_us)
        return place > 0 and last_us[place - 1] > at_us

    @property
    def unacknowledged(self) -> list[Claim]:
        """Claims that ran here, and of which no outcome was acknowledged that lets go of them."""
        return [claim for claim in self.runs if not self.is_settled(claim)]


class Watch:
    """A story as it grows, and what the process is in the middle of.

    Attributes:
        story: What was read so far.
        path: The history.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.story = Story(name)
        self.path = path
        self._reader = Reader(path)
        self._open: set[Claim] = set()

    def look(self) -> Story:
        """The story so far."""
        for event in self._reader.news():
            self.story.tell(event)
            if event.word in ("run", "send", "ask"):
                self._open.add(event.claim)
            elif event.word == "commit" and self.story.is_open(event.claim):
                continue
            elif event.word in ("commit", "cut", "stale", "sent", "told"):
                self._open.discard(event.claim)
        return self.story

    @property
    def is_busy(self) -> bool:
        """Whether it is in the middle of a step, of committing one, or of sending a signal."""
        self.look()
        return bool(self._open)
