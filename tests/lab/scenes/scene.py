"""What a scene is: rows, and operations that meet on them."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, ClassVar

from outlast._model import Claim, Deed, Settlement, Signal
from tests.lab.answers import Sent, Settled, Took
from tests.lab.check import Rows
from tests.lab.stepping import Actor
from tests.store.given import KNOWN, Given

Doing = Callable[[Any, Actor], Awaitable[Any]]
GRACE_S = 5.0


def operation(doing: Doing) -> Doing:
    """Marks a method as an operation of its scene: what an actor does, with the actor's own store."""
    doing.is_operation = True  # type: ignore[attr-defined]
    return doing


def rare(doing: Doing) -> Doing:
    """Marks an operation that is left out where time is short: another one is much like it."""
    doing.is_rare = True  # type: ignore[attr-defined]
    return operation(doing)


class Scene:
    """Rows, made once and played from again and again; the ids of whatever operations add are made with them.

    Attributes:
        operations: The names of the scene's operations.
        rare: Those of them that are left out where time is short.
    """

    operations: ClassVar[tuple[str, ...]]
    rare: ClassVar[frozenset[str]]

    def __init__(self, given: Given) -> None:
        self.given = given
        self.store = given.store

    def __init_subclass__(cls) -> None:
        cls.operations = tuple(name for name, value in vars(cls).items() if hasattr(value, "is_operation"))
        cls.rare = frozenset(name for name, value in vars(cls).items() if hasattr(value, "is_rare"))

    async def prepare(self) -> None:
        """Makes the rows."""
        raise NotImplementedError

    def verify(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        """What is wrong beside what would be wrong in any scene."""
        return iter(())

    async def begin(self, *nodes: str) -> None:
        """Nodes that live."""
        for node in nodes:
            await self.given.node(node)

    def letters(self, count: int = 3, **columns: Any) -> list[Signal]:
        """Signals, one for each actor."""
        name = columns.pop("name", "go")
        return [Signal(self.given.world.new_id(), name, "1", **columns) for _ in range(count)]

    def deeds(self, act: str, count: int = 3) -> list[Deed]:
        """What operators do, one for each actor."""
        return [Deed(self.given.world.new_id(), act) for _ in range(count)]

    def ids(self, count: int) -> list[str]:
        """New ids."""
        return [self.given.world.new_id() for _ in range(count)]


def living(rows: Rows, root: str) -> list[str]:
    """Ids of an instance and its descendants that have not ended."""
    tree, found = [root], []
    for id in tree:
        tree += [row["id"] for row in rows["instances"] if row["parent"] == id]
        found += [row["id"] for row in rows["instances"] if row["id"] == id and row["finished_at"] is None]
    return found


async def settle(who: Actor, *batch: Settlement) -> Settled:
    """Commits outcomes, as the engine does: and opens the gates of what they let go of."""
    committed = await who.store.claims.commit(batch)
    if gates := [f"k:{item.frees}" for item in batch if item.frees is not None and item.id not in committed.stale]:
        await who.store.limits.open(gates)
    return Settled(who.node, batch, committed)


async def send(who: Actor, *batch: Signal) -> Sent:
    """Sends signals."""
    return Sent(batch, await who.store.signals.send(batch))


async def take(who: Actor, limit: int = 10, queue: str = "default", **options: Any) -> Took:
    """Claims for the actor's node."""
    return Took(who.node, await who.store.claims.take(queue, who.node, KNOWN, limit, GRACE_S, **options))


async def promote(who: Actor) -> Any:
    """A timekeeper's round."""
    return await who.store.timers.promote(10)


async def reap(who: Actor, node: str) -> Any:
    """A reaper's round, which finds a node dead."""
    beats = {beat.node: beat.beat for beat in await who.store.leases.beats()}
    if node in beats:
        await who.store.leases.bury(node, beats[node])
    return await who.store.leases.reclaim(10, 3, overdue=False)


async def reclaim(who: Actor) -> Any:
    """A reaper's round, which finds steps past their deadline."""
    return await who.store.leases.reclaim(10, 3)


async def cancel(who: Actor, id: str, *, tree: bool = False) -> Any:
    """An operator's cancel."""
    return await who.store.instances.cancel(id, '{"type":"Cancelled"}', 60.0, tree=tree)


def kept(claim: Claim, **columns: Any) -> Settlement:
    """An outcome that keeps its claim for the next step."""
    return Settlement(
        claim.id,
        claim.epoch,
        "running",
        0,
        step="other",
        state="{}",
        commits=claim.commits,
        deadline_s=600.0,
        **columns,
    )
