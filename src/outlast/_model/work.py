"""What is started, claimed and settled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from outlast._model.messages import Letter


class NewInstance(msgspec.Struct, gc=False):
    """An instance to insert. `delay_s` counts from the store's now; `due_us` is absolute; at most one is set.

    A child names its `parent`, the parent's `round` of children and its number `child` within it. `concurrency_key` and
    `rate_limit` are texts as `_kernel.limits` writes them. `trace` is the caller's trace context (W3C traceparent),
    `tags` a JSON object of texts by name.
    """

    id: str
    program: str
    version: int
    queue: str
    priority: int
    step: str
    state: str
    correlation_key: str | None = None
    correlation_scope: str | None = None
    delay_s: float | None = None
    due_us: int | None = None
    timeout_s: float | None = None
    parent: str | None = None
    round: int = 0
    child: int = 0
    concurrency_key: str | None = None
    rate_limit: str | None = None
    rate_weight: float = 1.0
    fair_key: str | None = None
    fair_weight: float = 1.0
    trace: str | None = None
    tags: str | None = None


class Claim(msgspec.Struct, array_like=True, gc=False):
    """A claimed instance, as a node holds it. The field order is that of the claim statements.

    `awaits` is a JSON list of the signal names it last waited for; `round` counts its spawns; `mail` says that it was
    sent a signal once. The node's own notes: `letters` are the unread signals, `notes` what a workflow has recorded.
    Where its code has stayed in memory `notes` were not read, and `left` are the seconds left of what it waits for by
    the clock, by key.
    """

    id: str
    program: str
    version: int
    step: str
    state: str
    epoch: int
    attempt: int
    crashes: int
    priority: int
    correlation_key: str | None
    commits: int = 0
    awaits: str | None = None
    round: int = 0
    concurrency_key: str | None = None
    rate_limit: str | None = None
    rate_weight: float = 1.0
    trace: str | None = None
    mail: bool = False
    parent: str | None = None
    letters: Sequence[Letter] = ()
    notes: Sequence[Note] = ()
    left: dict[str, float] | None = None


class Denied(NamedTuple):
    """Claims that a limit did not let through: the gate (`k:` and a key, `r:` and a rate limit), and how many."""

    gate: str
    claims: int


class Taken(list[Claim]):
    """Claims that may run.

    Attributes:
        seen: Ready instances that were looked at: the claims, and those that a limit did not let through.
        denied: What those were denied by.
        fair_after: The fair key that was served last, for the next claim to go on from; None: there was none.
    """

    __slots__ = ("denied", "fair_after", "seen")

    def __init__(
        self, claims: Sequence[Claim], *, seen: int, denied: Sequence[Denied] = (), fair_after: str | None = None
    ) -> None:
        super().__init__(claims)
        self.seen = seen
        self.denied = denied
        self.fair_after = fair_after


TAGS: Final = "tags"
"""The kind of an entry that gives its instance other tags."""


class Entry(msgspec.Struct, array_like=True, gc=False):
    """What an outcome records in its instance's journal: a step, a wait, a child.

    `key` is unique within the instance, `number` the order. `status` is `done`, `failed`, `retrying` or `waiting`;
    `wake_s` are seconds until it is looked at again in any case. An entry of the kind `tags` changes the instance's
    tags to those in its `value`, too; null takes one away.
    """

    key: str
    kind: str
    status: str
    number: int
    attempt: int = 0
    value: str | None = None
    error: str | None = None
    duration_s: float | None = None
    wake_s: float | None = None


class Note(NamedTuple):
    """A journal's row. `left_s`: seconds until its `wake_at`, none when that is past."""

    instance: str
    key: str
    kind: str
    status: str
    number: int
    attempt: int
    value: str | None
    error: str | None
    duration_s: float | None
    wake_at: datetime | None
    left_s: float | None
    recorded_at: datetime


class Asked(NamedTuple):
    """An input that an instance waits for. `value` says what is asked, as JSON text."""

    instance: str
    program: str
    key: str
    value: str | None
    since: datetime
    until: datetime | None


class Line(msgspec.Struct, array_like=True, gc=False):
    """A line that a step has said. `number` is its order: see `line_number`. `level` is that of `logging`; `source` is
    `logging` or `print`; `step` the step's name, or its key in the journal; `fields` JSON text of what came with it.
    """

    instance: str
    number: int
    at_us: int
    level: int
    message: str
    source: str
    step: str
    attempt: int
    fields: str | None = None


LINES_OF_CLAIM: Final = 1_000_000_000
"""Numbers that the lines of one claim have for themselves."""


def line_number(epoch: int, count: int) -> int:
    """The number of a claim's line: later claims come after it, and nobody else makes the same."""
    return epoch * LINES_OF_CLAIM + count


class Settlement(msgspec.Struct, gc=False):
    """What one claim's outcome writes. Fenced by `id` and `epoch`.

    `status` is the status after the commit: a final one, `ready`, `scheduled` with `delay_s`, or `running`, which keeps
    the claim for the next step; others may take it away after `deadline_s`. `retention_s` counts from the commit; None
    keeps the row for ever. `step`, `state` and `version` stay as they are where they are None. `commits` is how many
    outcomes the row held when the step began. It tells those of one claim apart, and two claims with the same number,
    the second from a standby that had not heard of the first when it was promoted. None: not compared.

    `waiting` comes with `awaits` (signal names that wake it) or `children` (spawned in the same transaction; it wakes
    when `need` of them have ended, None: all that were inserted), and `wake_s`, seconds until it wakes in any case.
    `consumed` are ids of signals that this outcome uses up; `shown` those that woke the step: they do not do so again.
    `entries` is what it records in the journal, `started` are children for which no round of children waits. `frees` is
    the key whose slot this lets go of. `parent` is whom the end of this child may wake; `round` the number of the
    children's round.
    `concurrency_key` and `rate_limit` apply from the next step on: None keeps what the row has, "" clears it.
    """

    id: str
    epoch: int
    status: str
    attempt: int
    result: str | None = None
    error: str | None = None
    delay_s: float | None = None
    retention_s: float | None = None
    step: str | None = None
    state: str | None = None
    version: int | None = None
    deadline_s: float | None = None
    commits: int | None = None
    awaits: list[str] | None = None
    wake_s: float | None = None
    consumed: Sequence[str] | None = None
    shown: list[str] | None = None
    children: list[NewInstance] | None = None
    need: int | None = None
    concurrency_key: str | None = None
    rate_limit: str | None = None
    rate_weight: float | None = None
    parent: str | None = None
    round: int | None = None
    frees: str | None = None
    entries: Sequence[Entry] | None = None
    started: Sequence[NewInstance] | None = None

    @property
    def born(self) -> list[NewInstance]:
        """All children that it inserts."""
        return [*(self.children or ()), *(self.started or ())]

    @property
    def only_records(self) -> bool:
        """Whether the claim goes on with the same step, and has recorded something."""
        return self.status == "running" and self.step is None and self.commits is not None

    @property
    def is_plain(self) -> bool:
        """Whether it writes what a plain job's outcome does, and nothing else."""
        return self.status != "running" and not self.entries and self.is_short

    @property
    def is_short(self) -> bool:
        """Whether it writes what a plain outcome does, or keeps the claim, and records something at most."""
        return (
            self.state is None
            and self.step is None
            and self.frees is None
            and self.concurrency_key is None
            and self.rate_limit is None
            and self.status != "waiting"
            and self.deadline_s is None
            and self.wake_s is None
            and self.children is None
            and not (self.awaits or self.consumed or self.parent or self.started)
            and not (self.entries and any(entry.kind == TAGS for entry in self.entries))
        )

    @property
    def has_effects(self) -> bool:
        """Whether it changes more than its own row."""
        effects = self.awaits or self.consumed or self.parent or self.entries or self.started
        return bool(effects) or self.children is not None


class Committed(NamedTuple):
    """What became of a batch of outcomes.

    `stale` are the ids whose claim was no longer ours; `queues` those in which the commit itself made instances ready:
    parents whose join opened, parks that found their signal there already, children. `paused` are those of kept claims
    whose instance is paused: nothing more may be begun in them.
    """

    stale: list[str]
    queues: list[str]
    paused: Sequence[str] = ()
