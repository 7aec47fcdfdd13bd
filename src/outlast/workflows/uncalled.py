"""What the code no longer calls: recorded by an earlier run, and never asked for by this one.

Code changes under workflows that wait. A step that was taken away, renamed or moved into another branch leaves its
record behind. That is no error, and nothing is lost; but it is told, for what the step did is not undone any more.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from outlast._codec import decode_any, encode
from outlast._kernel.program import Activation
from outlast.workflows.book import Book

UNCALLED: Final = "~uncalled"
"""The key under which is recorded what has been told."""


class Uncalled:
    """What earlier runs of one workflow have recorded, less what this run asks for."""

    def __init__(self, activation: Activation, book: Book) -> None:
        self._activation = activation
        self._book = book
        self.left: set[str] = {key for key in book.notes if not key.startswith("~")}
        note = book.notes.get(UNCALLED)
        self._told = sorted(uncalled_keys(None if note is None else note.value))

    def move(self, activation: Activation) -> None:
        """Belongs to another activation from now on."""
        self._activation = activation

    def tell(self, status: str, *, again: bool = False) -> None:
        """The workflow is parked (`waiting`) or ends so: what it has not asked for is told, once, and recorded.

        Args:
            status: `waiting`, `done` or `failed`.
            again: What was told before, too: it matters more now that what was done is about to be undone.
        """
        notes, left = self._book.notes, sorted(self.left)
        if not notes:
            return
        known, self._told = self._told, left
        if left != known:
            text = encode({"keys": left}, what="what is no longer called")
            self._book.put(self._book.entry(UNCALLED, "uncalled", "waiting", value=text))
        keys = left if again else sorted(set(left) - set(known))
        if keys:
            kept = [key for key in keys if notes[key].kind == "step" and notes[key].status == "done"]
            fields: dict[str, Any] = {"keys": ", ".join(keys), "status": status}
            if status == "failed":
                fields["not_undone"] = ", ".join(kept) or None
            self._activation.emit("steps.uncalled", **fields)


def uncalled_keys(text: str | None) -> Collection[str]:
    """The keys that a record of this kind names."""
    return frozenset() if text is None else frozenset(decode_any(text)["keys"])
