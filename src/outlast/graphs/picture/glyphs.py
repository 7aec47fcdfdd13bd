"""How wide text is, without a font: a table of Helvetica's widths, and some air for other fonts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final

_AIR: Final = 1.12
"""Fonts that stand in for Helvetica are wider, DejaVu Sans by this much for the usual letters."""
_WIDE, _OTHER = 1000, 700
_WIDTHS: Final[dict[str, int]] = {
    letter: width
    for width, letters in {
        191: "'",
        222: "ijl",
        260: "|",
        278: " !,./:;I[]\\ft",
        333: "()-`r{}",
        355: '"',
        389: "*",
        469: "^",
        500: "Jckvxyzs",
        556: "#$0123456789?L_abdeghnopqu",
        584: "+<=>~",
        611: "FTZ",
        667: "&ABEKPSVXY",
        722: "CDHNRUw",
        778: "GOQ",
        833: "Mm",
        889: "%",
        944: "W",
        1000: "…",
        1015: "@",
    }.items()
    for letter in letters
}


def width(text: str, size: float) -> float:
    """Width of a text in a font of this size, in the same unit."""
    return sum(_letter(letter) for letter in text) * size * _AIR / 1000


def _letter(letter: str) -> int:
    known = _WIDTHS.get(letter)
    if known is not None:
        return known
    if unicodedata.combining(letter):
        return 0
    return _WIDE if unicodedata.east_asian_width(letter) in "WF" else _OTHER


def wrapped(text: str, size: float, width_max: float, rows_max: int) -> list[str]:
    """The text in rows of at most this width, broken at spaces; the last one is cut off where there are too many."""
    rows = list(_rows(text, size, width_max))
    if len(rows) > rows_max:
        rows = [*rows[: rows_max - 1], _cut(" ".join(rows[rows_max - 1 :]), size, width_max)]
    return rows


def _rows(text: str, size: float, width_max: float) -> Iterator[str]:
    row = ""
    for word in text.split():
        longer = f"{row} {word}" if row else word
        if width(longer, size) <= width_max:
            row = longer
            continue
        if row:
            yield row
        while width(word, size) > width_max:
            head = _head(word, size, width_max)
            yield head
            word = word[len(head) :]
        row = word
    if row:
        yield row


def _head(word: str, size: float, width_max: float) -> str:
    """As much of a word as fits; one letter at least."""
    taken, used = 0, 0.0
    for letter in word:
        used += width(letter, size)
        if used > width_max:
            break
        taken += 1
    return word[: max(1, taken)]


def _cut(text: str, size: float, width_max: float) -> str:
    if width(text, size) <= width_max:
        return text
    return _head(text, size, width_max - width("…", size)).rstrip() + "…"
