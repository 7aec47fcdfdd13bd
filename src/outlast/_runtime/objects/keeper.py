"""The objects of one engine: which are in memory, how calls find them, and when they leave."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from outlast._kernel.objects import CHAIN, Body, Handling, ObjectType, ObjectTypes, Orders
from outlast._model import Activated, AlarmRow, NewCall, ObjectKey, Owned, WaitingCall, Wanted
from outlast._runtime.doorbell import Doorbell
from outlast._runtime.events import Events
from outlast._runtime.gather import Gather
from outlast._runtime.objects.alarms import AlarmClock
from outlast._runtime.objects.answers import alarm_item, call_item, chain_text, path_of, raised, what
from outlast._runtime.objects.fading import Fading
from outlast._runtime.objects.house import Guest
from outlast._runtime.objects.items import Elsewhere, Item, Pending
from outlast._runtime.objects.ledger import Ledger
from outlast._runtime.objects.mail import Inbox, Outbox
from outlast._runtime.objects.resident import Resident
from outlast._runtime.rounds import wait_for_event
from outlast._runtime.threads import Threads
from outlast._store.contract import Store
from outlast._world import World
from outlast.config import Config
from outlast.errors import CallCycle, CallTimeout, MailboxFull, OwnershipLost, StoreError

ACTIVATE_MAX: Final = 500
"""Objects that come to be owned in one transaction at most."""
EVICT_LOOKS: Final = 8
"""Objects looked at for each one that comes when the memory is full."""
TIDY_MAX: Final = 1_000
"""Idle objects looked at in one go."""
CALL_BEAT_S: Final = 1.0
WELL_S: Final = 0.25
LOAD_AGAIN_S: Final = 5.0
"""Seconds before stored calls and alarms are tried again on an object that could not be loaded."""


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
        self._residents: OrderedDict[ObjectKey, Resident] = OrderedDict()
        self._elsewhere = Fading(world)
        self._left: dict[ObjectKey, tuple[int, str, float]] = {}
        self._resident_max = config.resident_objects
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
        self._unwell = Fading(world)
        ways: Any = {"node": self.node, "types": known, "moment": self.moment, "poll_s": config.poll_interval}
        self.inbox = Inbox(store.calls, take=self._take_call, **ways)
        self.alarms = AlarmClock(store.alarms, ring=self._take_alarm, **ways)
        self._activations: Gather[Wanted, dict[ObjectKey, Owned | str]] = Gather(
            "activation", self._activate, _share, batch_max=ACTIVATE_MAX, events=events, world=world
        )

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
        """Something may be begun again."""
        self._well.set()

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
        if self._residents.get(resident.key) is resident:
            del self._residents[resident.key]

    async def release(self, resident: Guest) -> None:
        """Gives the object up."""
        await self._store.objects.release(resident.node, [(*resident.key, resident.epoch)])
        self._events.emit("object.released", type=resident.key[0], id=resident.key[1])
        self._doorbell.objects("*")

    async def refuse(self, resident: Guest) -> None:
        """Gives an object up that cannot be loaded here, and takes nothing for it for a while."""
        self._unwell.add(resident.key, LOAD_AGAIN_S)
        with contextlib.suppress(StoreError):
            await self.release(resident)

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
        body = kind.load(owned.id, owned.version, owned.state, self)
        if self._events.wanted:
            self._events.emit("object.loaded", type=owned.type, id=owned.id, is_new=owned.is_new)
        return body

    def failed(self, resident: Guest, item: Item, error: BaseException) -> None:
        """A handler has raised."""
        fields = {
            "type": resident.key[0],
            "id": resident.key[1],
            "handler": item.name,
            "error": f"{type(error).__name__}: {error}",
        }
        if item.alarm is not None:
            attempt = item.alarm.attempt + 1
            final = self.retry_s(resident.kind, item.alarm.name, attempt) is None
            self._events.emit("alarm.gave_up" if final else "alarm.failed", attempt=attempt, **fields)
        elif self._events.wanted or item.future is None:
            self._events.emit("object.call_failed", **fields)

    def lost(self, resident: Guest) -> None:
        """Another node owns the object by now."""
        self._events.emit("object.lost", type=resident.key[0], id=resident.key[1])

    def served(self, resident: Guest, pending: Pending) -> None:
        """A commit has landed."""
        if pending.done:
            self.dropped(pending.done)
        if pending.orders:
            if pending.orders.alarms:
                self.alarms.earlier()
            if pending.orders.sends:
                self._doorbell.objects("*")
        for sender in pending.senders:
            self._doorbell.answers(sender)
        if self._events.wanted:
            name = "object.deleted" if pending.deleted else "object.saved"
            self._events.emit(name, type=resident.key[0], id=resident.key[1])

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
            resident = self._residents.get(where)
            item = Item(name, given, args, chain=chain)
            try:
                if resident is None:
                    resident = self._resident(kind, id)
                elif given is not None and given.read_only and given.is_async and resident.can_read:
                    resident.used_at = self._world.monotonic()
                    self._residents.move_to_end(where)
                    return await resident.read(item)
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
        key = (kind.name, id)
        resident = self._residents.get(key)
        now = self._world.monotonic()
        if resident is None:
            resident = self._residents[key] = Resident(kind, id, self, now)
            self._left.pop(key, None)
            if len(self._residents) > self._resident_max:
                self._evict()
        else:
            resident.used_at = now
            self._residents.move_to_end(key)
        return resident

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
        kind = self._kind_to_take(call.type, call.id)
        return kind is not None and self._take(kind, call.id, call_item(kind, call, seen, self._world.monotonic()))

    def _take_alarm(self, alarm: AlarmRow, seen: int) -> bool:
        kind = self._kind_to_take(alarm.type, alarm.id)
        return kind is not None and self._take(kind, alarm.id, alarm_item(kind, alarm, seen))

    def _kind_to_take(self, type: str, id: str) -> ObjectType | None:
        return None if self._closing or (type, id) in self._unwell else self._types.find(type)

    def _take(self, kind: ObjectType, id: str, item: Item) -> bool:
        try:
            self._resident(kind, id).put(item)
        except MailboxFull:
            return False
        return True

    # Leaving the memory.

    def _evict(self, looks: int = EVICT_LOOKS) -> None:
        """The least recently used idle objects leave the memory until there is room; those at work are in use."""
        for _ in range(looks):
            if len(self._residents) <= self._resident_max:
                return
            key, resident = next(iter(self._residents.items()))
            if resident.is_idle:
                self._hibernate(key, resident)
            else:
                resident.used_at = self._world.monotonic()
                self._residents.move_to_end(key)

    def _hibernate(self, key: ObjectKey, resident: Resident) -> None:
        resident.leave_idle()
        if resident.kind.shutdown_s is not None:
            self._left[key] = (resident.epoch, resident.node, resident.used_at + resident.kind.shutdown_s)
        if self._events.wanted:
            self._events.emit("object.hibernated", type=key[0], id=key[1])

    async def beat(self) -> float:
        """Lets idle objects leave the memory, and gives up those that were idle for long."""
        self._evict(TIDY_MAX)
        now = self._world.monotonic()
        spans = [kind.hibernate_s for kind in self._types if kind.hibernate_s is not None]
        spans += [kind.shutdown_s for kind in self._types if kind.shutdown_s is not None]
        least_s = min(spans, default=3_600.0)
        looked = 0
        for key, resident in list(itertools.islice(self._residents.items(), TIDY_MAX + 1)):
            idle_s = now - resident.used_at
            if idle_s < least_s or looked >= TIDY_MAX:
                break
            looked += 1
            ends_s = min(resident.kind.hibernate_s or 1e18, resident.kind.shutdown_s or 1e18)
            if resident.is_idle and idle_s >= ends_s:
                self._hibernate(key, resident)
        over = [key for key, (_, _, ends_at) in self._left.items() if ends_at <= now]
        by_node: dict[str, list[tuple[str, str, int]]] = {}
        for key in over:
            epoch, node, _ = self._left.pop(key)
            by_node.setdefault(node, []).append((*key, epoch))
        for node, held in by_node.items():
            await self._store.objects.release(node, held)
        self._elsewhere.tidy()
        self._unwell.tidy()
        return 0.0 if looked >= TIDY_MAX else max(0.05, min(5.0, least_s / 4))

    @property
    def resident_count(self) -> int:
        """Objects in memory."""
        return len(self._residents)

    def bury(self) -> None:
        """Others have taken over all that this process held."""
        for resident in list(self._residents.values()):
            resident.lose()
        self._left.clear()

    # The end.

    def tasks(self) -> list[asyncio.Task[None]]:
        """What is at work now."""
        running = [resident.task for resident in self._residents.values() if resident.task is not None]
        return [*running, *self.ledger.tasks(), *self.outbox.tasks(), *self._activations.tasks()]

    async def drain(self, timeout_s: float) -> None:
        """Takes nothing any more, lets what was taken end, commits it, and gives every object up."""
        self._closing = True
        running = [resident.task for resident in self._residents.values() if resident.task is not None]
        if running:
            await asyncio.wait(running, timeout=timeout_s)
        for resident in list(self._residents.values()):
            if resident.task is not None:
                resident.lose(self._refusal(resident.key, ""))
        await self.ledger.settled()
        await self.outbox.settled()
        for resident in list(self._residents.values()):  # one may be being read: its answer would come too late.
            resident.lose(self._refusal(resident.key, ""))
        if node := self.node():
            if await self._store.objects.release(node, None):
                self._doorbell.objects("*")

    def close(self) -> None:
        """Ends everything now."""
        self._closing = True
        self.ledger.close()
        self._activations.close()
        for resident in list(self._residents.values()):
            resident.lose(
                OwnershipLost("the engine was closed before the answer was committed", **what(resident.key, "", None))
            )
        self.outbox.close(OwnershipLost("the engine was closed while calls waited for their answers"))


def _share(answers: list[dict[ObjectKey, Owned | str]], items: Sequence[Wanted]) -> list[dict[ObjectKey, Owned | str]]:
    return answers  # one mapping for the whole batch.
