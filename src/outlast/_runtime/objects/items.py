"""What waits in an object's mailbox, and what waits for its next commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outlast._kernel.objects import Handling, Orders
from outlast._model import AlarmMove, AlarmRow, Answer, ObjectCommit, ObjectKey, WaitingCall
from outlast.errors import CallTimeout


class Elsewhere(Exception):
    """The object is not, or no more, at home here; the item has not begun.

    Attributes:
        node: The living node that owns it, or None.
    """

    def __init__(self, node: str | None) -> None:
        super().__init__(node)
        self.node = node


class Item:
    """One call, alarm or built-in act that waits for its turn.

    Attributes:
        name: The handler's name; that of a built-in act where there is no `handling`.
        handling, args: What is run with what.
        future: The caller of this process, who gets the answer once it is committed.
        call: The stored call that it is; its answer is committed with the state.
        alarm: The alarm that it is.
        chain: The objects whose calls led to this one.
        seen: Of a stored call or an alarm: the moment (`House.moment`) when the listing was asked for that has it.
        until: Of a stored call: when it must not be begun any more, on the monotonic clock.
        begun: Whether its handler has begun.
    """

    __slots__ = ("alarm", "args", "begun", "call", "chain", "future", "handling", "name", "seen", "until")

    def __init__(
        self,
        name: str,
        handling: Handling | None,
        args: Mapping[str, Any],
        *,
        future: asyncio.Future[Any] | None = None,
        call: WaitingCall | None = None,
        alarm: AlarmRow | None = None,
        chain: tuple[ObjectKey, ...] = (),
        seen: int = 0,
        until: float = float("inf"),
    ) -> None:
        self.name = name
        self.handling = handling
        self.args = args
        self.future = future
        self.call = call
        self.alarm = alarm
        self.chain = chain
        self.seen = seen
        self.until = until
        self.begun = False

    @property
    def is_moot(self) -> bool:
        """Whether its caller has given up."""
        return self.future is not None and self.future.done()

    def expire(self, key: ObjectKey, timeout_s: float) -> None:
        """The caller's time is over."""
        if self.future is not None and not self.future.done():
            state = "had begun, and goes on" if self.begun else "had not begun, and will not"
            self.future.set_exception(
                CallTimeout(
                    f"{key[0]}.{self.name} of {key[1]!r} gave no answer within {timeout_s:g} s; it {state}",
                    type=key[0],
                    id=key[1],
                    handler=self.name,
                    happened=None if self.begun else False,
                )
            )

    def refuse(self, error: BaseException) -> None:
        """Its caller gets an error, which depends on nothing that is not committed."""
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True)
class Reply:
    """An answer that waits for a commit."""

    future: asyncio.Future[Any]
    value: Any = None
    error: BaseException | None = None

    def give(self) -> None:
        """Tells the caller."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.value)

    def refuse(self, error: BaseException) -> None:
        """Tells the caller that the commit did not come."""
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True)
class Pending:
    """What calls have left of an object and is not committed yet.

    Attributes:
        text: The newest state.
        orders: What they ordered, folded.
        moved: What became of alarms.
        answers: Answers to stored calls, with those who are rung for them.
        replies: Who waits in this process.
        late: Who has seen what it writes, but came when it was under way: that it lands says nothing of who owns the
            object by now.
        done: Ids of calls and (name, revision) of alarms that are over with it.
        deleted: Whether the object goes.
        released: Whether the node gives the object up.
    """

    text: str
    orders: Orders = field(default_factory=Orders)
    moved: list[AlarmMove] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    senders: set[str] = field(default_factory=set)
    replies: list[Reply] = field(default_factory=list)
    late: list[Reply] = field(default_factory=list)
    done: list[Any] = field(default_factory=list)
    deleted: bool = False
    released: bool = False

    def commit(self, key: ObjectKey, epoch: int, number: int, version: int, expires_s: float | None) -> ObjectCommit:
        """The same, as the store takes it."""
        orders = self.orders
        return ObjectCommit(
            *key,
            epoch,
            number,
            version,
            self.text,
            expires_s=expires_s,
            deleted=self.deleted,
            moved=self.moved,
            clears_alarms=orders.clears,
            cancelled=sorted(orders.cancelled),
            alarms=[orders.alarms[name] for name in sorted(orders.alarms)],
            sends=orders.sends,
            answers=self.answers,
            released=self.released,
        )
