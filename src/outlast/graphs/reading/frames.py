"""What lies around the code being read: where `return`, `raise`, `break` and `continue` lead from there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from outlast.graphs.reading.sketch import Loose, Sketch

Route = Literal["return", "raise", "break", "continue"]


@dataclass(slots=True, eq=False)
class LoopFrame:
    """A loop: `back` is the box it begins with."""

    back: str
    breaks: list[Loose] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class TryFrame:
    """The body of a `try` that catches: errors lead to what follows `except`."""

    errors: list[Loose] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class FinallyFrame:
    """All of a `try` that has a `finally`: whatever leaves goes through it first."""

    held: list[tuple[Route, Loose, str]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class HelperFrame:
    """The body of a helper: `return` leads to behind its call."""

    returns: list[Loose] = field(default_factory=list)


Frame = LoopFrame | TryFrame | FinallyFrame | HelperFrame


class Frames:
    """The stack of what lies around, and the ends that leave the workflow."""

    def __init__(self, sketch: Sketch) -> None:
        self.stack: list[Frame] = []
        self.ends: list[Loose] = []
        self.fails: list[Loose] = []
        self._sketch = sketch

    def leave(self, route: Route, loose: Iterable[Loose], word: str = "") -> None:
        """Send ends on their way out, as far as the innermost frame that stops them; there the word is put on them."""
        ends = list(loose)
        for frame in reversed(self.stack):
            if self._stopped(frame, route, ends, word):
                return
        if route == "return":
            self.ends += [one.saying(word) for one in ends]
        elif route == "raise":
            self.fails += [one.saying(word, "error") for one in ends]

    def _stopped(self, frame: Frame, route: Route, ends: list[Loose], word: str) -> bool:
        if isinstance(frame, FinallyFrame):
            frame.held += [(route, one, word) for one in ends]
        elif isinstance(frame, TryFrame) and route == "raise":
            frame.errors += [one.saying(word, "error") for one in ends]
        elif isinstance(frame, HelperFrame) and route == "return":
            # Where a helper ends is nothing special for who called it.
            frame.returns += ends
        elif isinstance(frame, LoopFrame) and route == "break":
            frame.breaks += [one.saying(word) for one in ends]
        elif isinstance(frame, LoopFrame) and route == "continue":
            self._sketch.lead_back([one.saying(word) for one in ends], frame.back)
        else:
            return False
        return True

    def may_fail(self, node: str) -> None:
        """A box that can raise: within a `try`, an arrow leads from it to what handles that."""
        for frame in reversed(self.stack):
            if isinstance(frame, TryFrame | FinallyFrame):
                self._stopped(frame, "raise", [Loose(node, "error")], "")
                return
