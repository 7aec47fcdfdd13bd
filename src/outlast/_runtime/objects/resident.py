"""One object in memory: its mailbox, the calls it serves one after the other, and what they leave to be committed.

A handler works on the state as the last one left it, committed or not; every answer waits until all that its handler
saw is committed. A commit that is refused (another node has taken the object over) takes everything with it that was
built on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections import deque
from contextvars import Context
from typing import Any

from outlast._kernel.failures import failure_text
from outlast._kernel.objects import CHAIN, DELETE, START, STOP, Body, ObjectType, Orders, after_failure, after_ring
from outlast._model import AlarmMove, Answer, ObjectCommit, ObjectKey, Owned
from outlast._runtime.objects.fading import COMING, STAY_S, Changes
from outlast._runtime.objects.house import House
from outlast._runtime.objects.items import Elsewhere, Item, Pending, Reply
from outlast._runtime.objects.readers import Readers
from outlast._runtime.objects.refusals import after_load, full, not_read_only, taken_over, too_much
from outlast.errors import EncodingError, StoreError, ValueTooLarge


class Resident:
    """An object in memory, or on its way there.

    Attributes:
        key: Its type and id.
        epoch, commits: As stored.
        version: Of the state that is written next: as stored, until it is loaded.
        node: The node id under which it is owned.
        owned_since: The moment (`House.moment`) from which on it is owned here.
        used_at: When it was last called, on the monotonic clock.
        gone: Whether it has left: nothing may be put into its mailbox any more.
    """

    __slots__ = (
        "_changes",
        "_current",
        "_house",
        "_mailbox",
        "_owned",
        "_readers",
        "_stays_until",
        "_task",
        "_text",
        "body",
        "commits",
        "epoch",
        "gone",
        "in_flight",
        "key",
        "kind",
        "landed",
        "node",
        "owned_since",
        "pending",
        "used_at",
        "version",
    )

    def __init__(self, kind: ObjectType, id: str, house: House, now: float) -> None:
        self.kind = kind
        self.key: ObjectKey = (kind.name, id)
        self.body: Body | None = None
        self.epoch = self.commits = self.version = 0
        self.node = ""
        self.owned_since = 0
        self.used_at = now
        self.gone = False
        self.pending: Pending | None = None
        self.in_flight: Pending | None = None
        self.landed: asyncio.Event | None = None
        self._house = house
        self._owned: Owned | None = None
        self._text = ""
        self._mailbox: deque[Item] = deque()
        self._task: asyncio.Task[None] | None = None
        self._current: Item | None = None
        self._changes = Changes()
        self._readers = Readers()
        self._stays_until = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether it could leave the memory now."""
        if self._task is not None or self.pending is not None or self.in_flight is not None or self._readers:
            return False
        return not self._stays_until or self._house.monotonic() >= self._stays_until

    @property
    def task(self) -> asyncio.Task[None] | None:
        """Who serves its mailbox now."""
        return self._task

    def put(self, item: Item) -> None:
        """Takes an item. Raises: MailboxFull."""
        if len(self._mailbox) >= self.kind.queue_limit:
            self._mailbox = deque(each for each in self._mailbox if not each.is_moot)
        if len(self._mailbox) >= self.kind.queue_limit:
            raise full(self.key, item.name, len(self._mailbox))
        self._mailbox.append(item)
        if self._task is None:
            self._start()

    def _start(self) -> None:
        # In a context of its own: it serves many callers, and must not take the first one's for all.
        self._task = asyncio.get_running_loop().create_task(self._run(), name="outlast-object", context=Context())

    # Reading in the caller's own task.

    @property
    def can_read(self) -> bool:
        """Whether a read-only handler may run at once: nothing waits, runs or is uncommitted."""
        return (
            self._task is None
            and self.body is not None
            and self.pending is None
            and self.in_flight is None
            and not self.gone
        )

    async def read(self, item: Item) -> Any:
        """Runs a read-only `async def` handler in the caller's task. Raises: what it raises; Elsewhere."""
        body, handling = self.body, item.handling
        assert body is not None
        assert handling is not None
        token = CHAIN.set((*item.chain, self.key))
        try:
            with self._readers.reading():
                value = await body.run(handling, item.args)
                self._check_unchanged(body, item)
                value = handling.copy_result(value)
        except BaseException:
            body.restore(self._text)
            raise
        finally:
            CHAIN.reset(token)
        if self.gone:  # this node may be sure of its lease again: that is another one.
            raise Elsewhere(None)
        if not self._house.is_sure() and not await self._house.confirm(self):
            self.lose()
            raise Elsewhere(None)
        return value

    def _check_unchanged(self, body: Body, item: Item) -> None:
        if body.orders or body.dump() != self._text:
            raise not_read_only(self.key, item.name)

    # Serving the mailbox.

    async def _run(self) -> None:
        try:
            if self.body is None:
                await self._open()
                if self.gone:
                    return
            while self._mailbox and not self.gone:
                if self._readers:
                    await self._readers.gone()
                item = self._mailbox.popleft()
                if item.is_moot:
                    continue
                if not self._is_current(item):
                    self._stays_until = self._house.monotonic() + STAY_S
                    self._house.outdated(item)
                    continue
                if not self._house.node():
                    self._mailbox.appendleft(item)
                    await self._house.well()
                    continue
                self._current = item
                await self._serve(item)
                self._current = None
        except Elsewhere as moved:
            self._leave(moved)
        except asyncio.CancelledError:
            self._leave(Elsewhere(None))
            raise
        except Exception as error:
            if self.body is None and self.node and not self.gone:
                await self._cannot_be_loaded(error)
            self._leave(error)
        finally:
            self._task = None
            if self._mailbox and not self.gone:
                self._start()

    def _is_current(self, item: Item) -> bool:
        """Whether what was listed is still so: only what was listed since the object is owned here, and since its
        handlers have set or cancelled the alarm, has not been served or changed by anybody."""
        if item.future is not None:
            return True
        if item.call is not None:
            return item.seen > self.owned_since and self._house.monotonic() < item.until
        if item.alarm is not None:
            return item.seen > max(self.owned_since, self._changes.since(item.alarm.name))
        return True

    async def _open(self) -> None:
        """Comes to own the object, and loads it. Raises: Elsewhere; what stops it from being loaded."""
        owned = self._owned
        if owned is None:
            owned = await self._house.acquire(self.kind, self.key[1])
            self.epoch, self.commits, self.node = owned.epoch, owned.commits, self._house.node()
            self.owned_since = self._house.moment()
            if not self.node:
                raise Elsewhere(None)
            self._owned, self._text, self.version = owned, owned.state, owned.version
        head = self._head()
        if head is None:  # nobody waits for it any more.
            return
        if head.name in (STOP, DELETE):  # possible where it cannot be loaded, too.
            self._current = self._mailbox.popleft()
            await self._built_in(head)
            return
        body = self._house.load(self.kind, owned)
        text = body.dump()
        CHAIN.set((self.key,))
        await after_load(body, self.key)
        after, orders = body.dump(), body.take_orders()
        body.settle(after)
        self.body, self._text, self.version = body, after, self.kind.version
        self._owned = None
        self._house.loaded(self, owned.is_new)
        if after != text or orders:
            self._ordered(orders)
            await self.settled()
            if self.gone:
                raise Elsewhere(None)

    def _head(self) -> Item | None:
        """What is first to be served, before the object is loaded."""
        while self._mailbox:
            head = self._mailbox[0]
            if not head.is_moot and (head.name not in (STOP, DELETE) or self._is_current(head)):
                return head
            self._mailbox.popleft()
            if not head.is_moot:
                self._house.outdated(head)
        return None

    async def _cannot_be_loaded(self, error: Exception) -> None:
        """Gives the object up: another process may know how.

        Callers elsewhere hear of what its own code raised. Calls with a key, or that nobody waits for, stay until it
        can be loaded.
        """
        self._house.load_failed(self, error)
        if not isinstance(error, EncodingError):
            for item in self._mailbox:
                if item.call is not None and item.call.sender is not None and item.call.key is None:
                    self._answered(item, Answer(item.call.call, None, failure_text(error)))
            await self.settled()
        if not self.gone:
            with contextlib.suppress(StoreError):
                await self._house.release(self)

    async def settled(self) -> None:
        """Waits until all that is pending is committed, or lost."""
        while (self.pending is not None or self.in_flight is not None) and not self.gone:
            self.landed = self.landed or asyncio.Event()
            await self.landed.wait()

    def _put_off(self) -> Pending:
        """What gathers for the next commit."""
        pending = self.pending
        if pending is None:
            pending = self.pending = Pending(self._text)
            self._house.dirty(self)
        else:
            pending.text = self._text
        return pending

    async def _serve(self, item: Item) -> None:
        if item.handling is None:
            await self._built_in(item)
            return
        body = self.body
        assert body is not None
        item.begun = True
        CHAIN.set((*item.chain, self.key))
        value: Any = None
        try:
            value = await self._answer(body, item)
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, GeneratorExit) and task is not self._task:
                raise  # nobody goes on with this coroutine: it is being closed.
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            if not self.gone:
                await self._failed(body, item, error)
        else:
            if not self.gone:
                await self._succeeded(item, value)

    async def _answer(self, body: Body, item: Item) -> Any:
        """Runs the handler and takes the new state. Raises: what it raises; EncodingError."""
        handling = item.handling
        assert handling is not None
        if handling.is_async:
            value = await body.run(handling, item.args)
        else:
            value = await self._house.in_thread(lambda: body.run(handling, item.args))
            if inspect.isawaitable(value):
                value = await value
        if self.gone:  # the handler did not heed that it was cancelled.
            return None
        text = body.dump()
        if handling.read_only:
            self._check_unchanged(body, item)
        elif text != self._text:
            if len(text) * 4 > self._house.bytes_max and (size := len(text.encode())) > self._house.bytes_max:
                raise ValueTooLarge(f"the state of {self.kind.name} {self.key[1]!r}", size, self._house.bytes_max)
            value = handling.write_result(value) if item.call is not None else handling.copy_result(value)
            body.settle(text)
            self._text = text
            self._put_off()
            return value
        return handling.write_result(value) if item.call is not None else handling.copy_result(value)

    async def _succeeded(self, item: Item, value: Any) -> None:
        assert self.body is not None
        orders = self.body.take_orders()
        if orders:
            self._ordered(orders)
        if item.call is not None:
            self._answered(item, Answer(item.call.call, value, None))
        elif item.alarm is not None:
            self._moved(item, after_ring(item.alarm, self._house.now_us()))
        elif item.future is not None:
            await self._reply(Reply(item.future, value))

    def _ordered(self, orders: Orders) -> None:
        self._put_off().orders.fold(orders)
        self._changes.note(orders, COMING)

    async def _failed(self, body: Body, item: Item, error: BaseException) -> None:
        body.restore(self._text)
        self._house.failed(self, item, error)
        if item.call is not None:
            self._answered(item, Answer(item.call.call, None, failure_text(error)))
        elif item.alarm is not None:
            wait_s = self._house.retry_s(self.kind, item.alarm.name, item.alarm.attempt + 1)
            self._moved(item, after_failure(item.alarm, failure_text(error), wait_s, self._house.now_us()), error)
        elif item.future is not None:
            if not isinstance(error, Exception):  # it would end the caller's task, or the whole process.
                error = too_much(self.key, item.name, error)
            await self._reply(Reply(item.future, error=error))

    def _answered(self, item: Item, answer: Answer) -> None:
        assert item.call is not None
        pending = self._put_off()
        pending.answers.append(answer)
        pending.done.append(item.call.call)
        if item.call.sender is not None:
            pending.senders.add(item.call.sender)

    def _moved(self, item: Item, move: AlarmMove, error: BaseException | None = None) -> None:
        pending = self._put_off()
        pending.moved.append(move)
        pending.done.append((*self.key, move.name, move.revision))
        if item.future is not None:
            pending.replies.append(Reply(item.future, error=error))

    async def _reply(self, reply: Reply) -> None:
        """Answers a caller of this process once all that the handler saw is committed."""
        if self.pending is not None:
            self.pending.replies.append(reply)
        elif self.in_flight is not None:
            self.in_flight.late.append(reply)
        elif self._house.is_sure() or await self._house.confirm(self):
            reply.give()
        else:
            reply.refuse(taken_over(self.key, "before its answer could be confirmed"))
            self.lose()

    async def _built_in(self, item: Item) -> None:
        if item.name == START:
            await self._done(item)
        elif item.name == STOP:
            if item.call is not None:  # whoever has the answer finds the object free.
                self._put_off().released = True
                await self._done(item)
            await self.settled()
            if not self.gone:
                await self._house.release(self, is_done=item.call is not None)
            if item.future is not None:
                Reply(item.future).give()
            self._leave(Elsewhere(None))
        elif item.name == DELETE:
            self._put_off().deleted = True
            await self._done(item)
            await self.settled()
            self._leave(Elsewhere(None))

    async def _done(self, item: Item) -> None:
        if item.call is not None:
            self._answered(item, Answer(item.call.call, "null", None))
        elif item.future is not None:
            await self._reply(Reply(item.future))

    # Commits.

    def take(self) -> ObjectCommit:
        """What is to be committed now; until `land` or `lose` the next gathers."""
        pending = self.pending
        assert pending is not None
        assert self.in_flight is None
        self.in_flight, self.pending = pending, None
        return pending.commit(self.key, self.epoch, self.commits + 1, self.version, self.kind.retention_s)

    def land(self) -> None:
        """What was taken is committed."""
        pending, self.in_flight = self.in_flight, None
        assert pending is not None
        self.commits += 1
        for reply in pending.replies:
            reply.give()
        if pending.late:
            if self._house.is_sure():
                for reply in pending.late:
                    reply.give()
            else:  # one more commit says whether the object is still owned here.
                self._put_off().replies.extend(pending.late)
        if pending.orders:
            self._changes.note(pending.orders, self._house.moment())
            if self.pending is not None:
                self._changes.note(self.pending.orders, COMING)
        self._house.served(self, pending)
        if self.landed is not None and self.pending is None:
            self.landed.set()
            self.landed = None

    def lose(self, error: BaseException | None = None, *, is_certain: bool = False) -> None:
        """The object is no longer owned here, or its commit failed: all that is not committed is void.

        Args:
            error: What callers are told, if not that another node owns the object.
            is_certain: What is under way is known not to be committed.
        """
        if self.gone:
            return
        if error is None:
            self._house.lost(self)
        told = error or taken_over(self.key, "before its changes were committed")
        current, self._current = self._current, None
        if current is not None and current.begun:
            current.refuse(told)
        self._leave(Elsewhere(None), told, is_certain=is_certain)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _leave(self, why: BaseException, told: BaseException | None = None, *, is_certain: bool = False) -> None:
        """Leaves the memory: what waits is sent on, or gets the error."""
        if self.gone:
            return
        self.gone = True
        self.body = None
        self._house.left(self)
        dropped: list[Any] = []
        void = maybe = told or taken_over(self.key, "before its changes were committed")
        if not is_certain and getattr(void, "happened", None) is not None:
            maybe = taken_over(self.key, "while its changes were being committed: they may have been", happened=None)
        for pending, error in ((self.in_flight, maybe), (self.pending, void)):
            if pending is not None:
                dropped += pending.done
                for reply in pending.replies:
                    reply.refuse(error)
                for reply in pending.late:
                    reply.refuse(void)
        self.in_flight = self.pending = None
        waiting = [*self._mailbox] if self._current is None else [self._current, *self._mailbox]
        self._mailbox.clear()
        self._current = None
        for item in waiting:
            if item.call is not None:
                dropped.append(item.call.call)
            elif item.alarm is not None:
                dropped.append((*self.key, item.alarm.name, item.alarm.revision))
                item.refuse(why)
            elif item.begun and not isinstance(why, EncodingError):
                item.refuse(told or taken_over(self.key, "while it was at work"))
            else:
                item.refuse(why)
        self._house.dropped(dropped)
        if self.landed is not None:
            self.landed.set()
            self.landed = None

    def leave_idle(self) -> None:
        """Leaves the memory, idle as it is; the node goes on owning the object."""
        self.gone = True
        self.body = None
        self._house.left(self)
