"""A database behind a network that we own, and a knife that cuts its connections at chosen bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

from chaos.history import now_us
from chaos.place import DATABASE, NoPlace, PostgresPlace, make_tables
from harness.binaries import NoPostgres
from harness.postgres import USER, PostgresServer
from harness.proxy import Cut, Link, Proxy
from outlast._store.statements import load

LABELS: Final = {
    "commit": "outcome",
    "commit_full": "outcome",
    "take": "claim",
    "add": "start",
    "add_full": "start",
    "renew": "lease",
}
"""Statements of the engine that are cut, by name, and what they are counted as."""


def marked() -> dict[str, str]:
    """Labels by the statement's text, as the server sees it."""
    sql = load("outlast._store.postgres.sql", schema='"outlast"')
    return {sql[name].numbered: label for name, label in LABELS.items()} | {"COMMIT;": "transaction"}


def process_of(name: str) -> str:
    """The process that a connection of this `application_name` belongs to."""
    return name.split(" ")[1] if name.startswith("outlast ") else name


class Knife:
    """Decides which answers and questions are cut, and after how many bytes: after none at first, then one more each
    time, and from the beginning again after the last one.

    Attributes:
        left: Resets that are still to be made.
        silences: Connections that are still to fall silent.
        counts: What was cut so far, by label and direction.
        cuts: Whose connections were cut, and when, by the history's clock.
    """

    def __init__(self, dice: Random, share: float) -> None:
        self._dice = dice
        self._share = share
        self._next: Counter[tuple[str, bool]] = Counter()
        self.left = 0
        self.silences = 0
        self.counts: Counter[str] = Counter()
        self.cuts: list[tuple[str, int]] = []

    @property
    def is_done(self) -> bool:
        """Whether it has made as many resets as it should."""
        return not self.left

    def decide(self, label: str, link: Link, size: int, answer: bool) -> Cut | None:
        """See `Proxy`."""
        if self.silences and answer and label == "outcome":
            self.silences -= 1
            self.cuts.append((process_of(link.name), now_us()))
            return Cut(kept=self._kept(label, answer, size), silent=True)
        if not self.left or self._dice.random() > self._share:
            return None
        self.left -= 1
        self.cuts.append((process_of(link.name), now_us()))
        self.counts[f"{label} {'answered' if answer else 'asked'}"] += 1
        return Cut(kept=self._kept(label, answer, size), answer=answer)

    def _kept(self, label: str, answer: bool, size: int) -> int:
        kept = self._next[label, answer] % (size + 1)
        self._next[label, answer] += 1
        return kept


class WiredPlace(PostgresPlace):
    """A database that the processes reach through our proxy; we go past it. See `Place`."""

    def __init__(self, server: PostgresServer, proxy: Proxy, knife: Knife) -> None:
        super().__init__(server, url=f"postgresql://{USER}@127.0.0.1:{proxy.port}/{DATABASE}?sslmode=disable")
        self.proxy = proxy
        self.knife = knife


@contextmanager
def wired_place(folder: Path, *, seed: int, share: float) -> Iterator[WiredPlace]:
    """A fresh database behind a proxy; `share` of the marked statements may be cut. Raises: NoPlace."""
    try:
        server = PostgresServer(durable=False)
    except NoPostgres as error:
        raise NoPlace(str(error)) from error
    knife = Knife(Random(seed), share)
    with server, Proxy(server.port, marked=marked(), decide=knife.decide) as proxy:
        place = WiredPlace(server, proxy, knife)
        make_tables(place.url)
        yield place
