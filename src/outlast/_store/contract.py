"""What the engine asks of a database, by noun. Each method is one transaction; none keeps state between calls.

Two implementations: `sqlite` and `postgres`. One suite of tests runs on both. No cursor, driver type or
driver error crosses this line: rows are those of `_model`, errors those of `errors`.

`now_us` is None in production (the store's own clock decides) and an instant in tests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from outlast._model import (
    Asked,
    Beat,
    Committed,
    Deed,
    DeedRow,
    Due,
    Ended,
    Filter,
    Glance,
    Held,
    Letter,
    Line,
    NewInstance,
    Node,
    Note,
    QueueCounts,
    RateRow,
    Receipt,
    Reclaimed,
    Redo,
    Retried,
    Row,
    RunStand,
    ScheduleRow,
    Settlement,
    Signal,
    Standing,
    Stopped,
    Taken,
)
from outlast._store.objects import Alarms, Calls, Objects

CRASHES_ANY: Final = 2**31 - 1
"""No bound on the crashes of what is claimed."""


class Instances(Protocol):
    """The rows themselves, as callers see and steer them."""

    async def add(self, rows: Sequence[NewInstance]) -> list[Held]:
        """Inserts all rows but those whose correlation key is held, and returns these. Adding a row again is harmless.

        Called from a task that nobody cancels: a start shares its transaction with others.
        """

    async def get(self, id: str) -> Row | None:
        """One instance."""

    async def find(self, key: str) -> Row | None:
        """The instance that holds a correlation key; else the newest that had it."""

    async def ended(self, ids: Sequence[str]) -> list[Ended]:
        """How these stand, ended or not. What does not exist is left out."""

    async def cancel(self, id: str, error: str, retention_s: float | None, *, tree: bool = False) -> Stopped | None:
        """Ends a live instance as cancelled, whoever runs it; with `tree` all its live descendants, too.

        None: there is no such row.
        """

    async def delete(self, id: str) -> str | None:
        """Deletes an instance that does not run. Returns its former status (`running`: nothing done); None: no row."""

    async def totals(self) -> dict[str, int]:
        """How many instances there are, by status. Reads the whole table."""

    async def children(self, parent: str, *, round: int | None, after: tuple[int, int] | None, limit: int) -> list[Row]:
        """Children of an instance by (round, number), those after a place in that order; `round` None: of any."""

    async def add_and_send(self, row: NewInstance, signal: Signal) -> tuple[list[Held], Receipt]:
        """In one transaction: inserts a row unless its key is held, then delivers the signal to the key's holder."""

    async def retag(self, id: str, changes: Mapping[str, str | None]) -> dict[str, str] | None:
        """Gives an instance other tags: those named; None takes one away. Returns all that it has then, or None."""

    async def removable(self, ids: Sequence[str]) -> Sequence[str]:
        """Those of these that have ended, but no children of parents that have not."""

    async def list(self, wanted: Filter) -> list[Row]:
        """Instances, newest first. `parent` is for counts only."""

    async def count(self, wanted: Filter, by: str) -> dict[str, int]:
        """How many instances fit, by `status`, `program` or `queue`. Reads those with a tag or a parent where one is
        wanted, else the whole table. `before`, `limit` and `id_prefix` are for lists only."""

    async def remove(self, ids: Sequence[str]) -> int:
        """Deletes those of these that have ended, but no children of parents that have not. Returns how many."""


class Claims(Protocol):
    """Taking work and giving back what came of it. Every write is fenced by epoch."""

    async def take(
        self,
        queue: str,
        node: str,
        known: Sequence[str],
        limit: int,
        grace_s: float,
        crashes_max: int = CRASHES_ANY,
        fair_after: str | None = None,
    ) -> Taken:
        """Claims up to `limit` ready instances of a queue that is not paused, most urgent first. Those of them
        that a limit does not let through become blocked again. A node that is not registered, or was buried, gets
        none: what it claimed would be taken away from it as from a dead one.

        `known` lists the programs this node can run, as "name@version". `grace_s` is added to a step's timeout
        before others may take the instance away. Those that more than `crashes_max` processes died over are left.
        `fair_after` is what the last claim from this queue gave as such.
        """

    async def commit(self, batch: Sequence[Settlement]) -> Committed:
        """Writes outcomes. An outcome that an earlier try has written is not stale. Of a paused instance, what would be
        ready is scheduled, and a claim that is kept is named."""

    async def release(self, claims: Sequence[tuple[str, int]]) -> None:
        """Gives back claims, by id and epoch, that were not run. Costs no attempt."""

    async def owned(self, node: str) -> list[tuple[str, int, bool]]:
        """What the rows say this node is running: id, epoch, and whether it is paused."""

    async def report(self, reports: Sequence[tuple[str, int, float, str]]) -> None:
        """Progress of running instances: id, epoch, fraction, note."""


class Acts(Protocol):
    """What operators do with single instances. What one does is noted in its transaction."""

    async def pause(self, id: str, deed: Deed, *, tree: bool = False) -> Stopped | None:
        """Pauses a live instance, with its errands, with `tree` all its live descendants.

        None of them becomes ready until it is resumed.

        Those that are paused stay as they are. None: there is no such row.
        """

    async def resume(self, id: str, deed: Deed, *, tree: bool = False) -> Stopped | None:
        """Takes a pause back; what was due meanwhile is ready, or goes to its gate. None: there is no such row."""

    async def retry(self, id: str, redo: Redo, deed: Deed | None = None) -> Retried | Held | None:
        """Makes an ended or quarantined instance ready, with fresh counts and what `redo` says: all of it or nothing.

        Held: its key belongs to another by now. None: there is no such row.
        """

    async def list(self, instance: str) -> Sequence[DeedRow]:
        """What was noted, oldest first."""


class Signals(Protocol):
    """Durable messages to instances."""

    async def send(self, batch: Sequence[Signal]) -> list[Receipt]:
        """Delivers signals and wakes whoever waits for them. One receipt each, in order; sending again is harmless."""

    async def inbox(self, ids: Sequence[str]) -> list[Letter]:
        """What these instances were sent and no step has used up, oldest first."""

    async def list(self, instance: str) -> list[Letter]:
        """All that is kept of an instance's signals, oldest first; used ones for a minute, or with a dedup key."""


class Journal(Protocol):
    """What workflows have recorded. Outcomes write it (`Settlement.entries`)."""

    async def notes(self, ids: Sequence[str]) -> list[Note]:
        """What these instances have recorded, each in its order."""

    async def left(self, waits: Sequence[tuple[str, str]]) -> list[tuple[str, str, float]]:
        """The seconds left (negative: since) of waits, named by instance and key: (instance, key, seconds). One without
        a time is left out."""

    async def pending(self, limit: int) -> list[Asked]:
        """Up to `limit` inputs that live instances wait for, those first that have waited longest."""


class Logs(Protocol):
    """What steps have said. Not fenced: what failed and lost attempts said is kept, too."""

    async def write(self, batch: Sequence[Line], lines_max: int) -> None:
        """Writes lines; of each instance the newest `lines_max` stay. Writing again is harmless; what belongs to an
        instance that is gone is left out."""

    async def read(self, instance: str, after: int, limit: int, level: int, step: str | None) -> list[Line]:
        """Up to `limit` lines in their order, those after a number and of this level or above; with `step` those of
        this key, or whose key begins with it and `#` or `/`."""


class Limits(Protocol):
    """Concurrency keys and rate limits. A gate is `k:` and a key, or `r:` and a rate limit."""

    async def declare(self, node: str, slots: Mapping[str, int], rates: Sequence[RateRow]) -> None:
        """What a node says of limits: slots by name hold while it lives, rates until another node says otherwise."""

    async def slots(self) -> dict[str, int]:
        """The concurrency limits in effect: the lowest that a live node says, by name."""

    async def rates(self) -> list[RateRow]:
        """The rate limits in effect."""

    async def open(self, gates: Iterable[str]) -> list[str]:
        """Lets those try who wait at these gates and for whom there is room. Returns queues that received work."""

    async def open_due(self, limit: int) -> list[str]:
        """The same for up to `limit` rate limits at which somebody waits and whose time has come."""

    async def sweep(self, after: str, limit: int) -> tuple[list[str], str]:
        """The same for up to `limit` gates behind the gate `after`, and the gate to go on from; "": that was all."""

    async def strays(self, limit: int) -> list[str]:
        """Up to `limit` rate limits at which somebody waits and which no node has ever declared."""

    async def prune(self, after: str, limit: int) -> tuple[int, str]:
        """Of up to `limit` buckets behind the bucket `after`, deletes those that are full and waited for by nobody.
        Returns how many, and the bucket to go on from; "": that was all."""


class Leases(Protocol):
    """Signs of life. A node without a row is dead."""

    async def register(self, node: str, host: str, pid: int, lease_s: float) -> None:
        """Announces a node."""

    async def beats(self) -> list[Beat]:
        """Every node's last sign of life."""

    async def bury(self, node: str, beat: int) -> bool:
        """Removes a node that has not renewed since `beat`. False: it has."""

    async def reclaim(self, limit: int, max_crashes: int, *, overdue: bool = True) -> Reclaimed:
        """Gives back up to `limit` instances whose node is gone or, with `overdue`, whose step is past its deadline."""

    async def retire(self, node: str) -> None:
        """A node says goodbye."""

    async def nodes(self) -> list[Node]:
        """All nodes, with what they hold."""

    def renewer(self) -> Renewer:
        """A lane of its own for renewals, used from one thread that is not the event loop's."""


class Renewer(Protocol):
    """Renews a lease from a thread of its own; every call blocks."""

    def renew(self, node: str) -> bool:
        """Renews. False: the node was buried. Raises: StoreError."""

    def close(self) -> None:
        """Lets go of the lane."""


class Timers(Protocol):
    """Due times."""

    async def promote(self, limit: int, now_us: int | None = None) -> Due:
        """Makes up to `limit` scheduled instances that are due ready."""

    async def hurry(self, ids: Sequence[str]) -> None:
        """Makes scheduled ones of these due now, and lets waiting ones that would wake at some time do so now."""


class Queues(Protocol):
    """Queues as the database knows them."""

    async def pause(self, name: str) -> None:
        """Nobody claims from it until it is resumed."""

    async def resume(self, name: str) -> None:
        """Takes the pause back."""

    async def counts(self) -> list[QueueCounts]:
        """Live instances by queue. Reads live rows only."""


class Schedules(Protocol):
    """What is started again and again. A write names the revision it was planned from, and changes no other."""

    async def glance(self) -> Glance:
        """The store's clock, and whether there is anything to look at."""

    async def due(self, now: datetime, limit: int, *, watch: bool) -> list[ScheduleRow]:
        """Up to `limit` schedules that have a tick up to `now`, the earliest first; with `watch`, then those that have
        runs."""

    async def stands(self, ids: Sequence[str]) -> list[RunStand]:
        """How these runs stand. What does not exist is left out."""

    async def list(
        self, *, enabled: bool | None, program: str | None, queue: str | None, after: str, limit: int
    ) -> list[ScheduleRow]:
        """Schedules by name, those behind `after`."""

    async def get(self, name: str) -> ScheduleRow | None:
        """One schedule."""

    async def add(self, row: ScheduleRow) -> bool:
        """Inserts one. False: there is one of that name."""

    async def change(self, row: ScheduleRow) -> bool:
        """Writes one. False: it is not at the row's revision any more."""

    async def fire(self, row: ScheduleRow, runs: Sequence[NewInstance]) -> bool:
        """Writes one and inserts its runs, in one transaction. False: it is not at the row's revision any more, and
        nothing was done. A run whose correlation key is held is left out."""

    async def delete(self, name: str) -> bool:
        """Deletes one; its runs stay. False: there is none."""


class Upkeep(Protocol):
    """What keeps the tables small and the operator informed."""

    async def prune(self, limit: int, now_us: int | None = None) -> int:
        """Deletes up to `limit` instances past their retention. Returns how many."""

    async def findings(self) -> list[tuple[str, str, str]]:
        """What `doctor` should say of this database: level (`ok`, `warning`, `problem`), subject, sentence."""

    async def standing(self) -> Standing:
        """What waits, and for how long. Reads live rows only."""


class Schema(Protocol):
    """The tables."""

    async def version(self) -> int:
        """The version of the tables; 0: there are none."""

    async def migrate(self) -> list[int]:
        """Brings the tables up to this release. Safe to run from many processes. Returns the versions applied."""

    async def drop(self) -> None:
        """Deletes the tables and everything in them."""

    def script(self, since: int = 0) -> str:
        """The SQL that `migrate` would run, from version `since`."""

    @property
    def latest(self) -> int:
        """The version that this release needs."""


class Bell(Protocol):
    """Hints between processes: may be lost, doubled or late."""

    async def listen(self, heard: Callable[[str], None]) -> None:
        """Calls `heard` with what others ring, on the event loop, until closed; "*": anything may have changed."""

    def ring(self, message: str) -> None:
        """Tells other processes, soon. Never waits, never raises."""


class Store(Protocol):
    """One database. Opened once, closed once."""

    dialect: str

    @property
    def instances(self) -> Instances:
        """The rows."""

    @property
    def acts(self) -> Acts:
        """Operators' acts."""

    @property
    def signals(self) -> Signals:
        """Messages to them."""

    @property
    def journal(self) -> Journal:
        """What workflows have recorded."""

    @property
    def logs(self) -> Logs:
        """What steps have said."""

    @property
    def limits(self) -> Limits:
        """Who may run beside whom, and how often."""

    @property
    def claims(self) -> Claims:
        """Taking and settling."""

    @property
    def leases(self) -> Leases:
        """Nodes."""

    @property
    def timers(self) -> Timers:
        """Due times."""

    @property
    def queues(self) -> Queues:
        """Pauses and counts."""

    @property
    def schedules(self) -> Schedules:
        """What is started again and again."""

    @property
    def objects(self) -> Objects:
        """Objects and who owns them."""

    @property
    def calls(self) -> Calls:
        """Calls that travel to them."""

    @property
    def alarms(self) -> Alarms:
        """When they want to be called."""

    @property
    def upkeep(self) -> Upkeep:
        """Retention and findings."""

    @property
    def schema(self) -> Schema:
        """Tables."""

    @property
    def bell(self) -> Bell:
        """Hints."""

    async def open(self) -> None:
        """Connects and checks the tables. Raises: StoreError."""

    async def close(self) -> None:
        """Ends everything that was opened. Never raises."""

    def describe(self) -> str:
        """The database in one line, without secrets."""

    def enlist(self, connection: Any) -> Enlisted:
        """The caller's own connection as a place to insert. Raises: ConfigError: of a kind not known."""


class Enlisted(Protocol):
    """Inserts on a connection, and in a transaction, that belong to the caller."""

    is_async: bool

    def add(self, rows: Sequence[NewInstance], queues: Collection[str]) -> Any:
        """Inserts rows; the doorbell rings for `queues` when the caller commits. Returns the Held ones,
        or an awaitable of them when `is_async`."""
