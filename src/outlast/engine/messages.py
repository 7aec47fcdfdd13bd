"""Signals, children and lines: what passes between instances, and between them and the outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from outlast._codec import encode
from outlast._kernel.states import READY, SCHEDULED, WAITING
from outlast._model import Instance, LogLine, Receipt, Signal, StoredSignal
from outlast.config import checked_name, shown
from outlast.engine.acts import Acts
from outlast.engine.checks import checked_id, checked_level, checked_limit, checked_words, is_id
from outlast.engine.handles import SignalResult
from outlast.engine.reading import read_instance, read_line, read_stored
from outlast.errors import ConfigError, NotFound, ValueTooLarge


class Identified(Protocol):
    """Anything that knows the instance it means: a handle, an `Instance`, a child."""

    @property
    def id(self) -> str:
        """The instance."""


Target = str | Identified
"""An instance: its handle (or whatever has its `id`), its id, or its correlation key."""


class Messages(Acts):
    """Signals, children, and what steps say."""

    async def signal(
        self, target: Target, name: str, payload: Any = None, *, dedup_key: str | None = None
    ) -> SignalResult:
        """Sends a durable signal: stored when this returns `delivered`, until a step uses it up.

        Args:
            target: The instance: its id or handle, or the correlation key that it holds.
            name: What `Await` names.
            payload: What it carries; anything that can be stored.
            dedup_key: Of signals to one instance with the same key only the first counts, even after it was used up.

        Raises: ConfigError, EncodingError, StoreError, EngineStateError.
        """
        crew = self._running()
        signal = self._new_signal(target, name, payload, dedup_key)
        (receipt,) = await crew.post.send([signal])
        if receipt.result == "no_target" and isinstance(target, str) and signal.instance is not None:
            signal.instance, signal.key = None, target  # a correlation key that looks like an id.
            (receipt,) = await crew.post.send([signal])
        self._tell_sent(receipt, name)
        if receipt.result == "duplicate" and dedup_key is None:
            return "delivered"  # by an earlier try of this very call, whose reply was lost.
        return receipt.result  # type: ignore[return-value]

    def _new_signal(self, target: Target, name: str, payload: Any, dedup_key: str | None) -> Signal:
        checked_name(name, what="a signal's name")  # first: what is wrong with the payload is told with it.
        text = encode(payload, what=f"the payload of signal {name!r}")
        size = len(text)
        if size > self.config.payload_bytes_max // 4 and (size := len(text.encode())) > self.config.payload_bytes_max:
            raise ValueTooLarge(f"the payload of signal {name!r}", size, self.config.payload_bytes_max)
        signal = Signal(self._world.new_id(), name, text)
        signal.instance, signal.key = _address(target)
        if dedup_key is not None:
            signal.dedup_key = checked_name(dedup_key, what="dedup_key")
        return signal

    def _tell_sent(self, receipt: Receipt, name: str) -> None:
        if self._events.wanted:
            self._events.emit("signal.sent", id=receipt.instance, signal=name, result=receipt.result)
        crew = self._running()
        if receipt.queue is not None:
            crew.doorbell.work([receipt.queue])
            crew.doorbell.timer()  # what has a limit is admitted by the timekeeper.
        elif receipt.passed is not None:  # who skips locked rows may just have skipped this one, and looks no more.
            status, queue = receipt.passed
            if status == READY:
                crew.doorbell.work([queue])
            elif status in (SCHEDULED, WAITING):
                crew.doorbell.timer()
            else:
                crew.sweep()

    async def signals(self, target: Target) -> Sequence[StoredSignal]:
        """An instance's signals, oldest first: those that no step has used up, used ones with a dedup key, and others
        for about a minute after they were used.

        What an ended instance has unused is undelivered: it was accepted, and nobody read it. Raises: NotFound.
        """
        id = await self._id_of(target)
        return [read_stored(letter) for letter in await self._store.signals.list(id)]

    async def children(
        self, target: Target, *, round: int | None = None, after: Instance | None = None, limit: int = 100
    ) -> Sequence[Instance]:
        """An instance's children in the order in which they were spawned, one page.

        Args:
            target: The parent.
            round: Only those of its first (1), second... `Spawn`; None: of all.
            after: The last child of the page before.
            limit: At most this many, up to 1,000.

        Raises: NotFound.
        """
        id = await self._id_of(target)
        place = None if after is None else (after.round, after.child)
        rows = await self._store.instances.children(id, round=round, after=place, limit=checked_limit(limit))
        return [read_instance(row) for row in rows]

    async def all_children(self, target: Target, *, round: int | None = None) -> AsyncIterator[Instance]:
        """All of an instance's children, read page by page."""
        last: Instance | None = None
        while page := await self.children(target, round=round, after=last, limit=1_000):
            for child in page:
                yield child
            last = page[-1]

    async def logs(
        self,
        target: Target,
        *,
        after: LogLine | int | None = None,
        level: str | int | None = None,
        step: str | None = None,
        limit: int = 100,
    ) -> Sequence[LogLine]:
        """What an instance's steps have logged and printed, in their order, one page.

        Which steps' lines are kept, and how many: see `log_capture` and the settings beside it. Those
        of other processes can be read within moments after they were said, those of this engine at once.

        Args:
            target: The instance.
            after: The last line of the page before, or its number.
            level: Only lines of this level of `logging` or above, such as "warning".
            step: Only lines of this step: a step's name, a key in a workflow's journal (`charge#2`), or the path of one
                of its branches.
            limit: At most this many, up to 1,000.

        Raises: NotFound. ConfigError.
        """
        checked_words("step", step)
        number = after.number if isinstance(after, LogLine) else after or 0
        lowest, limit = checked_level(level), checked_limit(limit)
        id = await self._id_of(target)
        if (book := self._running().logs) is not None:
            await book.flush()
        return [read_line(line) for line in await self._store.logs.read(id, number, limit, lowest, step)]

    async def all_logs(
        self,
        target: Target,
        *,
        after: LogLine | int | None = None,
        level: str | int | None = None,
        step: str | None = None,
    ) -> AsyncIterator[LogLine]:
        """All lines of an instance that are kept, read page by page; see `logs`."""
        while page := await self.logs(target, after=after, level=level, step=step, limit=1_000):
            for line in page:
                yield line
            after = page[-1]

    async def _id_of(self, target: Target) -> str:
        self._running()
        id, key = _address(target)
        if id is not None and (not isinstance(target, str) or await self._store.instances.get(id) is not None):
            return id
        found = await self.find(key if key is not None else str(target))
        if found is None:
            raise NotFound(f"no instance has the id or correlation key {target!r}")
        return found.id


def _address(target: Target) -> tuple[str | None, str | None]:
    """The target as (id, None) or (None, correlation key)."""
    if not isinstance(target, str) and isinstance(id := getattr(target, "id", None), str):
        return checked_id(id), None
    if not isinstance(target, str):
        raise ConfigError(f"a target is an id, a handle or a correlation key, not {shown(target)}")
    lowered = target.lower()
    if is_id(lowered):
        return lowered, None
    return None, checked_name(target, what="a correlation key")
