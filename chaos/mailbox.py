"""Rules for signals: each that was accepted is used up once, or still listed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from chaos.evidence import Evidence
from chaos.place import Mail, Row

_ACCEPTED = ("delivered", "duplicate")


def mislaid(evidence: Evidence) -> Iterator[str]:
    """What a box has read is what it was sent, each number once; what it has not read is in its inbox, each once."""
    boxes = {str(json.loads(row.state)["n"]): row for row in evidence.rows.values() if row.program == "box"}
    inboxes: dict[str, list[Mail]] = {}
    for mail in evidence.mail:
        inboxes.setdefault(mail.instance, []).append(mail)
    accepted: dict[str, Counter[int]] = {}
    for story in evidence.stories.values():
        for (box, number), (_, answer) in story.sent.items():
            if answer in _ACCEPTED:
                accepted.setdefault(box, Counter())[number] += answer == "delivered"
    for box, row in boxes.items():
        yield from _compared(box, row, inboxes.get(row.id, ()), accepted.get(box, Counter()))
        yield from _asleep(box, row, inboxes.get(row.id, ()))


def _compared(box: str, row: Row, inbox: Sequence[Mail], accepted: Counter[int]) -> Iterator[str]:
    read: Counter[int] = Counter(json.loads(row.state)["got"])
    used = Counter(int(mail.payload) for mail in inbox if mail.is_used)
    unread = Counter(int(mail.payload) for mail in inbox if not mail.is_used)
    for number, count in accepted.items():
        if count > 1:
            yield f"doubled: box {box} accepted mail {number} {count} times"
        if not read[number] + unread[number]:
            yield f"lost: mail {number} to box {box} was accepted, and is neither read nor listed"
    for number in read.keys() | used.keys() | unread.keys():
        if read[number] + unread[number] > 1:
            yield f"doubled: box {box} has read mail {number} {read[number]} times, and lists it {unread[number]} times"
        if read[number] != used[number]:
            yield f"doubled: box {box} has read mail {number} {read[number]} times, used up {used[number]} times"


def _asleep(box: str, row: Row, inbox: Sequence[Mail]) -> Iterator[str]:
    """True at any moment: who waits for a signal that is there has been missed."""
    if row.status == "waiting" and row.awaits is not None:
        for mail in inbox:
            if not mail.is_used and mail.name in json.loads(row.awaits):
                yield f"asleep: box {box} waits for {mail.name}, and mail {mail.payload} lies in its inbox"
