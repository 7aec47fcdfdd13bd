"""What a sender does: signals to boxes, two at a time to each, and no end before each has been answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from chaos import trips
from chaos.history import History, Posting, Reader
from chaos.machines import box_key
from outlast import Engine
from outlast.errors import StoreError

SIGNAL: Final = "mail"
AT_ONCE: Final = 4
"""Boxes that one sender writes to at the same time."""
_LOOK_S: Final = 0.02


async def deliver_all(
    engine: Engine,
    history: History,
    dice: Random,
    *,
    boxes: Sequence[int],
    mails: int,
    nap_s: tuple[float, float],
    forerunners: Sequence[Path],
) -> None:
    """Sends the numbers below `mails` to each box, but those whose answer a forerunner has received.

    The second of two numbers follows the first after a time within `nap_s`: some come while the box reads the first.
    """
    answered = {posting for path in forerunners for posting in _answered(path)}
    for first in range(0, mails, 2):
        round_ = list(boxes)
        dice.shuffle(round_)
        for start in range(0, len(round_), AT_ONCE):
            pairs = [
                _deliver_pair(engine, history, box, [n for n in (first, first + 1) if n < mails], answered, gap_s)
                for box in round_[start : start + AT_ONCE]
                for gap_s in [dice.uniform(*nap_s)]
            ]
            await asyncio.gather(*pairs)


async def _deliver_pair(
    engine: Engine, history: History, box: int, numbers: Sequence[int], answered: set[Posting], gap_s: float
) -> None:
    for number in numbers:
        if (str(box), number) not in answered:
            await _deliver(engine, history, box, number)
            await asyncio.sleep(gap_s)


async def _deliver(engine: Engine, history: History, box: int, number: int) -> None:
    """Sends one until there is an answer. Sent again, it has the same dedup key."""
    while True:
        history.write("send", box, number)
        try:
            answer = await engine.signal(box_key(box), SIGNAL, number, dedup_key=f"mail-{number}")
        except StoreError:
            answer = "no_target"
        if answer != "no_target":  # else the box has not been started yet.
            history.write("sent", box, number, answer)
            return
        await asyncio.sleep(_LOOK_S)


async def send_off(engine: Engine, started: Sequence[tuple[str, int]]) -> None:
    """Sends each of these trips the signal that it waits for, or will wait for: its number."""
    for id, n in started:
        while True:
            try:
                await engine.signal(id, trips.SIGNAL, n, dedup_key=trips.SIGNAL)
                break
            except StoreError:
                await asyncio.sleep(_LOOK_S)


def _answered(path: Path) -> list[Posting]:
    return [event.claim for event in Reader(path).news() if event.word == "sent"]
