"""Signals to machines, while those who send them and those who read them are killed."""

from __future__ import annotations

from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.members import Member
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: boxes, signals to each, kills of any process, and the mean time between them."""

    boxes: int
    mails: int
    kills: int
    gap_s: float


SIZES: Final = {"full": Size(1_500, 10, 120, 0.2), "ci": Size(70, 6, 7, 0.1)}
WORKERS: Final = 4
SENDERS: Final = 2
SENDER_EVERY: Final = 3
"""Every third kill is that of a sender."""
SENDING_S: Final = 600.0
"""How long all sending may take: a busy machine may need minutes for its thousands."""
NAP_S: Final = (0.0, 0.02)
"""How long a box reads; also how long a sender waits between two signals to one box."""


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Kills workers and senders and replaces them. Each signal that was accepted is used up once, or still listed."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        feeder = arena.feed(size.boxes, nap_s=NAP_S, program="box", size=size.mails)
        arena.allow(size.boxes)
        for _ in range(WORKERS):
            arena.hire()
        posts = [
            Post(arena, [box for box in range(size.boxes) if box % SENDERS == n], size.mails) for n in range(SENDERS)
        ]
        for number in range(1, size.kills + 1):
            arena.wait(size.gap_s)
            if number % SENDER_EVERY == 0:
                posts[number // SENDER_EVERY % SENDERS].replace()
            else:
                arena.strike()
                arena.hire()
        for post in posts:
            arena.await_exit(post.member, timeout_s=SENDING_S)
        arena.finish(feeder, patience_s=180.0)
        sent = [answer for watch in arena.watches.values() for _, answer in watch.look().sent.values()]
        arena.more["signals"] = ", ".join(f"{sent.count(answer):,} {answer}" for answer in sorted(set(sent)))

    return stage("signals", act, store=store, scale=scale, seed=seed, mutation=mutation)


class Post:
    """A share of the boxes, and who sends to it by now."""

    def __init__(self, arena: Arena, boxes: list[int], mails: int) -> None:
        self._arena = arena
        self._boxes = boxes
        self._mails = mails
        self._names: list[str] = []
        self.member = self._send()

    def _send(self) -> Member:
        member = self._arena.post(self._boxes, self._mails, nap_s=NAP_S, heir_of=self._names)
        self._names.append(member.name)
        return member

    def replace(self) -> None:
        """Kills the sender while a signal is on its way, unless it is done; another one takes its place."""
        if (victim := self._arena.catch([self.member], patience_s=1.0)) is not None:
            self._arena.kill(victim)
            self.member = self._send()
