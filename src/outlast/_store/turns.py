"""Shared by both stores: how a claim is divided between rows with a fair key and the others."""

from __future__ import annotations

from random import Random

from outlast._model import Taken


def fair_share(limit: int, dice: Random) -> int:
    """How many of a claim go to rows with a fair key, where there are some: half, rounded by chance."""
    return limit // 2 + (limit % 2 and dice.getrandbits(1))


def turned(taken: Taken, limit: int, fair_after: str | None) -> Taken:
    """The claims with the fair key to go on behind ("": from the first; None: there are no such rows).

    Where there are such rows the claim counts as full: one look does not tell whether there are more.
    """
    taken.fair_after = fair_after
    if fair_after is not None and taken.seen:
        taken.seen = limit
    return taken
