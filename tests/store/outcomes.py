"""What steps of machines write, and the signals that reach them, in short."""

from collections.abc import Sequence
from typing import Any

from outlast._model import Claim, NewInstance, Settlement, Signal
from tests.store.given import Given, settlement


def parked(claim: Claim, *names: str, **columns: Any) -> Settlement:
    """An outcome that waits for any of these signals."""
    made = Settlement(claim.id, claim.epoch, "waiting", 0, step="next", awaits=list(names), **columns)
    made.parent = None
    return made


def spawned(claim: Claim, children: Sequence[NewInstance], **columns: Any) -> Settlement:
    """An outcome that starts these children and waits for them."""
    return Settlement(
        claim.id, claim.epoch, "waiting", 0, step="joined", children=list(children), round=claim.round + 1, **columns
    )


def ended(claim: Claim, status: str = "done", **columns: Any) -> Settlement:
    """An outcome that ends a child."""
    return settlement(claim, status, parent=claim.parent, **columns)


def again(claim: Claim, **columns: Any) -> Settlement:
    """An outcome that runs the same step once more."""
    return Settlement(claim.id, claim.epoch, "ready", claim.attempt + 1, delay_s=0.0, **columns)


def moved(claim: Claim, step: str = "other", **columns: Any) -> Settlement:
    """An outcome that goes on to another step."""
    return Settlement(claim.id, claim.epoch, "ready", 0, step=step, state="{}", delay_s=0.0, **columns)


class Post:
    """Signals, sent in the way of one test."""

    def __init__(self, given: Given) -> None:
        self._given = given

    def signal(self, instance: str | None = None, name: str = "go", **columns: Any) -> Signal:
        """A signal, not yet sent."""
        id = columns.pop("id", None) or self._given.world.new_id()
        return Signal(id, name, columns.pop("payload", "1"), instance, **columns)

    async def send(self, instance: str | None = None, name: str = "go", **columns: Any) -> str:
        """Sends one signal. Returns what became of it."""
        return (await self._given.store.signals.send([self.signal(instance, name, **columns)]))[0].result

    async def unread(self, id: str) -> list[str]:
        """The names of an instance's unread signals, oldest first."""
        return [letter.name for letter in await self._given.store.signals.inbox([id])]

    async def kept(self, id: str) -> list[str]:
        """The names of all that is kept of its signals."""
        return [letter.name for letter in await self._given.store.signals.list(id)]


async def waiting(given: Given, *names: str, count: int = 1, wake_s: float | None = None, **columns: Any) -> list[str]:
    """Instances that wait for these signals; their ids."""
    claims = await given.claimed(count, **columns)
    committed = await given.store.claims.commit([parked(claim, *names, wake_s=wake_s) for claim in claims])
    assert committed.stale == []
    return [claim.id for claim in claims]


async def family(given: Given, count: int, **columns: Any) -> tuple[str, list[Claim]]:
    """A parent that waits for children, and these, running; the parent's id and the children's claims."""
    parent = await given.claim()
    committed = await given.store.claims.commit([spawned(parent, [given.new() for _ in range(count)], **columns)])
    assert committed.stale == []
    children = await given.taken(count)
    assert len(children) == count
    return parent.id, children
