"""In which orders statements are run."""

import random
from collections.abc import Iterator, Sequence

from tests.lab.stepping import Choose, Play


def serial(first: Sequence[int]) -> Choose:
    """One after the other in this order, as far as locks let them."""
    return lambda enabled: min(enabled, key=first.index)


def alternating(start: int) -> Choose:
    """As much mixed as can be: whoever has waited longest for a turn."""
    last: list[int] = []

    def choose(enabled: Sequence[int]) -> int:
        if not last:
            chosen = enabled[start % len(enabled)]
        else:
            chosen = min(enabled, key=lambda place: last.index(place) if place in last else -1)
        if chosen in last:
            last.remove(chosen)
        last.append(chosen)
        return chosen

    return choose


def held(first: Sequence[int]) -> Choose:
    """As `serial`, while the last of these holds a lock: they come as far as they can, and only then it lets go."""
    *others, holder = first
    has_begun = False

    def choose(enabled: Sequence[int]) -> int:
        nonlocal has_begun
        if holder in enabled and not has_begun:
            has_begun = True
            return holder
        return min(enabled, key=[*others, holder].index)

    return choose


def shuffled(dice: random.Random) -> Choose:
    """By chance."""
    return dice.choice


class Exhaustive:
    """Every order, depth first: each play follows the one before as long as it can, then turns off.

    Attributes:
        strayed: Plays that did not repeat the part that they had in common with the one before.
    """

    def __init__(self) -> None:
        self.strayed = 0
        self._path: list[int] = []
        self._depth = 0

    def begin(self) -> Choose:
        """The next order."""
        self._depth = 0

        def choose(enabled: Sequence[int]) -> int:
            index = self._path[self._depth] if self._depth < len(self._path) else 0
            self._depth += 1
            if index >= len(enabled):
                self.strayed += 1
                index = len(enabled) - 1
            return enabled[index]

        return choose

    def ended(self, play: Play) -> bool:
        """Notes a play. Returns whether there are more orders."""
        choices = list(play.choices)
        while choices:
            index, count = choices.pop()
            if index + 1 < count:
                self._path = [each for each, _ in choices] + [index + 1]
                return True
        return False


def sample(names: Sequence[str], cap: int, dice: random.Random) -> Iterator[Choose]:
    """Up to `cap` orders of these operations: the serial ones, the most mixed ones, then others by chance.

    An operation that meets itself has one serial order.
    """
    places = list(range(len(names)))
    turns = [turn for turn in places if names[turn] not in names[:turn]]
    fixed = [serial(places[turn:] + places[:turn]) for turn in turns] + [alternating(turn) for turn in turns]
    yield from fixed[:cap]
    for _ in range(cap - len(fixed)):
        yield shuffled(dice)
