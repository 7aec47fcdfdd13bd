"""The objects of one engine: which are in memory, how calls find them, and when they leave."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from outlast._kernel.failures import brief
from outlast._kernel.objects import CHAIN, DELETE, STOP, Body, Handling, ObjectType, ObjectTypes, Orders
from outlast._model import Activated, AlarmRow, NewCall, ObjectKey, Owned, WaitingCall, Wanted
from outlast._runtime.doorbell import Doorbell
from outlast._runtime.events import Events
from outlast._runtime.gather import Gather
from outlast._runtime.objects.ailing import Ailing
from outlast._runtime.objects.alarms import AlarmClock
from outlast._runtime.objects.answers import alarm_item, call_item, chain_text, path_of, raised, what
from outlast._runtime.objects.fading import Fading
from outlast._runtime.objects.house import Guest
from outlast._runtime.objects.items import Elsewhere, Item, Pending
from outlast._runtime.objects.ledger import Ledger
from outlast._runtime.objects.mail import Inbox, Outbox
from outlast._runtime.objects.memory import Memory
from outlast._runtime.objects.resident import Resident
from outlast._runtime.rounds import wait_for_event
from outlast._runtime.threads import Threads
from outlast._store.contract import Store
from outlast._world import World
from outlast.config import Config
from outlast.errors import CallCycle, CallTimeout, MailboxFull, OwnershipLost

ACTIVATE_MAX: Final = 500
"""Objects that come to be owned in one transaction at most."""
CALL_BEAT_S: Final = 1.0
WELL_S: Final = 0.25


class Keeper:
    """Keeps objects.

    Args:
        types: Types by name.
        node: This node's id, empty while nothing may be begun; None: this engine keeps no objects.
        is_sure: Whether this node's lease is good beyond doubt.
        make_ref: Makes a reference to an object, for objects that ask for one.
    """

    name = "object-keeper"

    def __init__(
        self,
        store: Store,
        config: Config,
        *,
        types: ObjectTypes,
        node: Callable[[], str] | None,
        is_sure: Callable[[], bool],
        make_ref: Callable[[Any, str, Callable[[], Orders]], Any],
        threads: Threads,
        doorbell: Doorbell,
        events: Events,
        world: World,
    ) -> None:
        self._store = store
        self._types = types
        self._node = node
        self._is_sure = is_sure
        self._make_ref = make_ref
        self._threads = threads
        self._doorbell = doorbell
        self._events = events
        self._world = world
        self._elsewhere = Fading(world)
        self._ailing = Ailing(world)
        self.memory = Memory(
            types,
            resident_max=config.resident_objects,
            release=store.objects.release,
            events=events,
            world=world,
        )
        self._well = asyncio.Event()
        self._closing = False
        self.bytes_max = config.payload_bytes_max
        self.ledger = Ledger(store.objects, batch_max=config.commit_batch, events=events, world=world)
        self.outbox = Outbox(
            store.calls,
            doorbell,
            batch_max=config.commit_batch,
            poll_s=config.poll_interval,
            events=events,
            world=world,
        )
        known = self._known_types
        self._moments = itertools.count(1)
        ways: Any = {"node": self.node, "types": known, "moment": self.moment, "poll_s": config.poll_interval}
        self.inbox = Inbox(store.calls, take=self._take_call, **ways)
        self.alarms = AlarmClock(store.alarms, ring=self._take_alarm, monotonic=self.monotonic, **ways)
        self._activations: Gather[Wanted, dict[ObjectKey, Owned | str]] = Gather(
            "activation", self._activate, _share, batch_max=ACTIVATE_MAX, events=events, world=world
        )

    def move_in(self, node: Callable[[], str]) -> None:
        """Keeps objects as another node than the engine's own, whose lease is always good: for the test kit."""
        self._node, self._is_sure = node, lambda: True

    # What residents need (`resident.House`).

    def node(self) -> str:
        """This node's id; empty while nothing may be begun."""
        return "" if self._node is None else self._node()

    async def well(self) -> None:
        """Waits until something may be begun again."""
        while not self.node():
            self._well.clear()
            await wait_for_event(self._well, WELL_S)  # a lease that was only late may be good again without a word.

    def on_well(self) -> None:
        """Something may be begun again, also what was stored meanwhile."""
        self._well.set()
        self.inbox.heard("*")
        self.alarms.earlier()

    def is_sure(self) -> bool:
        """Whether this node's lease is good beyond doubt."""
        return self._is_sure()

    def moment(self) -> int:
        """A number greater than all before."""
        return next(self._moments)

    def monotonic(self) -> float:
        """Seconds on the monotonic clock."""
        return self._world.monotonic()

    async def confirm(self, resident: Guest) -> bool:
        """Asks the store whether the resident's object is still owned here."""
        held = [(*resident.key, resident.epoch)]
        return bool(await self._store.objects.owned(resident.node, held))

    def dirty(self, resident: Resident) -> None:
        """There is something to commit."""
        self.ledger.put(resident)

    def left(self, resident: Resident) -> None:
        """The resident has left the memory."""
        self.memory.drop(resident)

    async def release(self, resident: Guest, *, is_done: bool = False) -> None:
        """Gives the object up; `is_done`: a commit has done so."""
        if not is_done:
            await self._store.objects.release(resident.node, [(*resident.key, resident.epoch)])
        self._events.emit("object.released", type=resident.key[0], id=resident.key[1])
        self._doorbell.objects("*")

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        """Runs a plain function on a thread."""
        return await self._threads.run(call)

    def now_us(self) -> int:
        """The time, microseconds since 1970."""
        pinned = self._world.pinned_us()
        return self._world.wall_us() if pinned is None else pinned

    def new_id(self) -> str:
        """A new id."""
        return self._world.new_id()

    def object(self, kind: Any, id: str, orders: Callable[[], Orders]) -> Any:
        """A reference to an object, whose one-way calls become orders."""
        return self._make_ref(kind, id, orders)

    def retry_s(self, kind: ObjectType, alarm: str, failures: int) -> float | None:
        """Seconds until an alarm that failed is tried again, or None."""
        return kind.retry_s(alarm, failures, self._world.dice)

    def load(self, kind: ObjectType, owned: Owned) -> Body:
        """The object in memory. Raises: EncodingError."""
        return kind.load(owned.id, owned.version, owned.state, self)

    def loaded(self, resident: Guest, is_new: bool) -> None:
        """The object is in memory, and its `after_load` has run."""
        self._ailing.well(resident.key)
        if self._events.wanted:
            self._events.emit("object.loaded", type=resident.key[0], id=resident.key[1], is_new=is_new)

    def load_failed(self, resident: Guest, error: BaseException) -> None:
        """The object is owned, and cannot be loaded."""
        self._events.emit(
            "object.load_failed",
            type=resident.key[0],
            id=resident.key[1],
            error=brief(error),
            retry_s=self._ailing.failed(resident.key),
        )

    def failed(self, resident: Guest, item: Item, error: BaseException) -> None:
        """A handler has raised."""
        (type, id), told = resident.key, brief(error)
        if item.alarm is not None:
            attempt = item.alarm.attempt + 1
            if self.retry_s(resident.kind, item.alarm.name, attempt) is None:
                self._events.emit("alarm.gave_up", type=type, id=id, handler=item.name, attempt=attempt, error=told)
            else:
                self._events.emit("alarm.failed", type=type, id=id, handler=item.name, attempt=attempt, error=told)
        elif self._events.wanted or item.future is None:
            self._events.emit("object.call_failed", type=type, id=id, handler=item.name, error=told)

    def lost(self, resident: Guest) -> None:
        """Another node owns the object by now."""
        self._events.emit("object.lost", type=resident.key[0], id=resident.key[1])

    def served(self, resident: Guest, pending: Pending) -> None:
        """A commit has landed."""
        if pending.done:
            self.dropped(pending.done)
        if pending.moved:
            self.alarms.moved(pending.moved, self.now_us())
        if pending.orders:
            if pending.orders.alarms:
                self.alarms.earlier()
            if pending.orders.sends:
                self._doorbell.objects("*")
        for sender in pending.senders:
            self._doorbell.answers(sender)
        if self._events.wanted:
            if pending.deleted:
                self._events.emit("object.deleted", type=resident.key[0], id=resident.key[1])
            else:
                self._events.emit("object.saved", type=resident.key[0], id=resident.key[1])

    def outdated(self, item: Item) -> None:
        """What was listed may no longer be so: it is not begun, and looked for again."""
        if item.call is not None:
            self.inbox.again(item.call.call)
        elif (alarm := item.alarm) is not None:
            self.alarms.again((alarm.type, alarm.id, alarm.name, alarm.revision))

    def dropped(self, items: list[Any]) -> None:
        """Stored calls and alarms that were taken are not being served any more."""
        calls = [item for item in items if isinstance(item, str)]
        if calls:
            self.inbox.over(calls)
        if len(calls) < len(items):
            self.alarms.over([item for item in items if not isinstance(item, str)])

    async def acquire(self, kind: ObjectType, id: str) -> Owned:
        """Makes this node the owner. Raises: Elsewhere, StoreError."""
        (answers,) = await self._activations.put([Wanted(kind.name, id, kind.version, kind.blank())])
        found = answers[kind.name, id]
        if isinstance(found, str):
            raise Elsewhere(found or None)
        return found

    async def _activate(self, wanted: Sequence[Wanted]) -> list[dict[ObjectKey, Owned | str]]:
        found: dict[ObjectKey, Owned | str] = {(each.type, each.id): "" for each in wanted}
        unique = {(each.type, each.id): each for each in wanted}
        if node := self.node():
            answer: Activated = await self._store.objects.activate(node, list(unique.values()))
            found |= {(owned.type, owned.id): owned for owned in answer.owned}
            found |= {(type, id): other for type, id, other in answer.elsewhere}
        return [found]

    # Calls.

    async def call(
        self,
        kind: ObjectType,
        id: str,
        handling: Handling | str,
        args: Mapping[str, Any],
        *,
        timeout_s: float,
        key: str | None = None,
        keep_s: float = 86_400.0,
    ) -> Any:
        """Calls a handler of an object, or one of the acts that every object has, wherever it lives.

        Raises: What the handler raises; CallError; StoreError.
        """
        name = handling if isinstance(handling, str) else handling.name
        where, chain = (kind.name, id), CHAIN.get()
        if where in chain:
            raise CallCycle(
                f"{path_of(chain)} calls {kind.name} {id!r}, which waits for this very call", **what(where, name, False)
            )
        given = None if isinstance(handling, str) else handling
        local = key is None and self._node is not None and not self._closing
        deadline = self._world.monotonic() + timeout_s
        while local and (self._node is not None and self._node()) and where not in self._elsewhere:
            resident = self.memory.find(where)
            item = Item(name, given, args, chain=chain)
            try:
                if resident is None:
                    resident = self._resident(kind, id)
                elif given is not None and given.read_only and given.is_async and resident.can_read:
                    self.memory.use(resident)
                    return await self._read(resident, item, deadline, timeout_s)
                return await self._put(resident, item, deadline, timeout_s)
            except Elsewhere as moved:
                if moved.node is not None:
                    self._elsewhere.add(where, CALL_BEAT_S)
                if self._closing:
                    raise self._refusal(where, name) from None
        return await self._call_away(kind, id, name, given, args, chain, deadline, timeout_s, key, keep_s)

    def _refusal(self, where: ObjectKey, name: str) -> OwnershipLost:
        return OwnershipLost("the engine is closing", **what(where, name, False))

    def _resident(self, kind: ObjectType, id: str) -> Resident:
        resident = self.memory.find((kind.name, id))
        if resident is None:
            resident = Resident(kind, id, self, self._world.monotonic())
            self.memory.add(resident)
        else:
            self.memory.use(resident)
        return resident

    async def _read(self, resident: Resident, item: Item, deadline: float, timeout_s: float) -> Any:
        try:
            async with asyncio.timeout(max(0.0, deadline - self._world.monotonic())) as time:
                return await resident.read(item)
        except TimeoutError:
            if not time.expired():  # the handler's own.
                raise
            raise CallTimeout(
                f"{resident.key[0]}.{item.name} of {resident.key[1]!r} gave no answer within {timeout_s:g} s; "
                "it only reads, and was stopped",
                **what(resident.key, item.name, False),
            ) from None

    async def _put(self, resident: Resident, item: Item, deadline: float, timeout_s: float) -> Any:
        loop = asyncio.get_running_loop()
        now = self._world.monotonic()
        resident.used_at = now
        future: asyncio.Future[Any] = loop.create_future()
        item.future = future
        resident.put(item)
        timer = loop.call_later(max(0.0, deadline - now), item.expire, resident.key, timeout_s)
        try:
            return await future
        finally:
            timer.cancel()

    async def _call_away(
        self,
        kind: ObjectType,
        id: str,
        name: str,
        handling: Handling | None,
        args: Mapping[str, Any],
        chain: tuple[ObjectKey, ...],
        deadline: float,
        timeout_s: float,
        key: str | None,
        keep_s: float,
    ) -> Any:
        text = "{}" if handling is None or not args else handling.write_args(args)
        left_s = max(0.001, deadline - self._world.monotonic())
        call = NewCall(
            self._world.new_id(),
            kind.name,
            id,
            name,
            text,
            sender=self.outbox.sender,
            key=key,
            chain=chain_text(chain),
            timeout_s=left_s,
            keep_s=keep_s,
        )
        try:
            async with asyncio.timeout(left_s):
                answer = await self.outbox.answer(call)
        except TimeoutError:
            raise CallTimeout(
                f"{kind.name}.{name} of {id!r} gave no answer within {timeout_s:g} s, and may have happened",
                **what((kind.name, id), name, None),
            ) from None
        if answer.error is not None:
            raise raised((kind.name, id), name, answer.error)
        return None if handling is None else handling.read_result(answer.result or "null")

    async def send(self, call: NewCall) -> None:
        """Stores a one-way call. Raises: StoreError."""
        await self.outbox.post(call)

    def new_send(
        self, kind: ObjectType, id: str, handling: Handling, args: Mapping[str, Any], key: str | None
    ) -> NewCall:
        """A one-way call."""
        text = handling.write_args(args) if args else "{}"
        return NewCall(self._world.new_id(), kind.name, id, handling.name, text, key=key)

    # What comes through the store.

    def _known_types(self) -> Sequence[str]:
        return self._types.names()

    def _take_call(self, call: WaitingCall, seen: int) -> bool:
        kind = self._kind_to_take(call.type, call.id, anyway=call.handler in (STOP, DELETE))
        return kind is not None and self._take(kind, call.id, call_item(kind, call, seen, self._world.monotonic()))

    def _take_alarm(self, alarm: AlarmRow, seen: int) -> bool:
        kind = self._kind_to_take(alarm.type, alarm.id)
        return kind is not None and self._take(kind, alarm.id, alarm_item(kind, alarm, seen))

    def _kind_to_take(self, type: str, id: str, *, anyway: bool = False) -> ObjectType | None:
        ails = not anyway and self._ailing.is_ailing((type, id))
        return None if self._closing or ails else self._types.find(type)

    def _take(self, kind: ObjectType, id: str, item: Item) -> bool:
        try:
            self._resident(kind, id).put(item)
        except MailboxFull:
            return False
        return True

    async def ring(self, kind: ObjectType, alarm: AlarmRow) -> None:
        """Rings an alarm, due or not, and waits until what came of it is committed: for the test kit.

        Raises: What its handler raises; CallError, StoreError.
        """
        while True:
            item = alarm_item(kind, alarm, self.moment())
            item.future = asyncio.get_running_loop().create_future()
            try:
                self._resident(kind, alarm.id).put(item)
                await item.future
                return
            except Elsewhere as moved:
                if moved.node is not None or self._closing:
                    raise self._refusal((kind.name, alarm.id), alarm.name) from None

    async def beat(self) -> float:
        """Lets idle objects leave the memory, and forgets what is of no use any more."""
        self._elsewhere.tidy()
        self._ailing.tidy()
        return await self.memory.beat()

    @property
    def resident_count(self) -> int:
        """Objects in memory."""
        return len(self.memory)

    def bury(self) -> None:
        """Others have taken over all that this process held."""
        for resident in self.memory:
            resident.lose()
        self.memory.forget_owned()

    # The end.

    def tasks(self) -> list[asyncio.Task[None]]:
        """What is at work now."""
        running = [resident.task for resident in self.memory if resident.task is not None]
        return [*running, *self.ledger.tasks(), *self.outbox.tasks(), *self._activations.tasks()]

    async def settled(self) -> None:
        """Waits until nothing is at work, and all that was left is committed."""
        while running := self.tasks():
            await asyncio.wait(running)

    async def drain(self, timeout_s: float) -> None:
        """Takes nothing any more, lets what was taken end, commits it, and gives every object up."""
        self._closing = True
        running = [resident.task for resident in self.memory if resident.task is not None]
        if running:
            await asyncio.wait(running, timeout=timeout_s)
        for resident in self.memory:
            if resident.task is not None:
                resident.lose(self._refusal(resident.key, ""))
        await self.ledger.settled()
        await self.outbox.settled()
        for resident in self.memory:  # one may be being read: its answer would come too late.
            resident.lose(self._refusal(resident.key, ""))
        if node := self.node():
            if await self._store.objects.release(node, None):
                self._doorbell.objects("*")

    def close(self) -> None:
        """Ends everything now."""
        self._closing = True
        self.ledger.close()
        self._activations.close()
        for resident in self.memory:
            resident.lose(
                OwnershipLost("the engine was closed before the answer was committed", **what(resident.key, "", None))
            )
        self.outbox.close(OwnershipLost("the engine was closed while calls waited for their answers"))


def _share(answers: list[dict[ObjectKey, Owned | str]], items: Sequence[Wanted]) -> list[dict[ObjectKey, Owned | str]]:
    return answers  # one mapping for the whole batch.
