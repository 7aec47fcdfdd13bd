"""Orders the cells of each layer so that few edges cross: by the middle of their neighbours, down and up again."""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from outlast.graphs.picture.layers import Cell

_SWEEPS_MAX: Final = 12
_PATIENCE: Final = 4
"""Sweeps without a gain, after which no more are tried."""
_NEIGHBOUR: Final = 1e-3


def ordered(layers: list[list[Cell]], backs: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """The layers with their cells from left to right.

    Args:
        layers: Cells by layer, in any order.
        backs: The cells that each edge back passes, from below. They keep to the side where their box stands.
    """
    forward = _untangled([[cell for cell in layer if not cell.is_back] for layer in layers])
    for back in backs:
        side = _side(back[0].beside, forward)
        for cell in back:
            cell.side = side
    places = {id(cell): place for layer in forward for place, cell in enumerate(layer)}
    # Those that lead back begin outside of all others, on their side.
    return _untangled(
        [sorted(layer, key=lambda cell: places.get(id(cell), cell.side * len(places))) for layer in layers]
    )


def _side(box: Cell | None, layers: Sequence[Sequence[Cell]]) -> int:
    if box is None:
        return 1
    layer = layers[box.rank]
    return -1 if layer.index(box) < (len(layer) - 1) / 2 else 1


def _untangled(layers: list[list[Cell]]) -> list[list[Cell]]:
    best = _sweep(layers, down=True)
    fewest, current, idle = crossings(best), best, 0
    for sweep in range(_SWEEPS_MAX):
        if fewest == 0 or idle == _PATIENCE:
            break
        current = _sweep(current, down=sweep % 2 == 1)
        count = crossings(current)
        idle += 1
        if count < fewest:
            best, fewest, idle = current, count, 0
    return best


def crossings(layers: Sequence[Sequence[Cell]]) -> int:
    """How many pairs of edges cross between neighbouring layers."""
    count = 0
    for upper, lower in pairwise(layers):
        places = {id(cell): place for place, cell in enumerate(lower)}
        seen: list[int] = []
        for cell in upper:
            targets = sorted(places[id(one)] for one in cell.below)
            count += sum(len(seen) - bisect(seen, target) for target in targets)
            for target in targets:
                insort(seen, target)
    return count


def _sweep(layers: list[list[Cell]], *, down: bool) -> list[list[Cell]]:
    places: dict[int, float] = {}
    for layer in layers:
        places.update((id(cell), _middle(place, layer)) for place, cell in enumerate(layer))
    result: dict[int, list[Cell]] = {}
    ranks = range(len(layers)) if down else range(len(layers) - 1, -1, -1)
    for rank in ranks:
        layer = _sorted(layers[rank], _keys(layers[rank], places, down=down))
        places.update((id(cell), _middle(place, layer)) for place, cell in enumerate(layer))
        result[rank] = layer
    return [result[rank] for rank in range(len(layers))]


def _middle(place: int, layer: Sequence[Cell]) -> float:
    # Layers of different lengths are compared from their middles.
    return place - (len(layer) - 1) / 2


def _keys(layer: Sequence[Cell], places: dict[int, float], *, down: bool) -> Callable[[Cell], float]:
    keys: dict[int, float] = {}
    for cell in layer:
        neighbours = cell.above if down else cell.below
        if neighbours:
            keys[id(cell)] = sum(places[id(one)] for one in neighbours) / len(neighbours)
        else:
            keys[id(cell)] = places[id(cell)]
    for cell in layer:
        # An edge back begins and ends beside the box it leaves or comes to.
        if cell.beside is not None and not (cell.above if down else cell.below):
            keys[id(cell)] = keys[id(cell.beside)] + cell.side * _NEIGHBOUR
    return lambda cell: keys[id(cell)]


def _sorted(layer: Sequence[Cell], key: Callable[[Cell], float]) -> list[Cell]:
    bound = {id(cell.beside): cell for cell in layer if cell.is_bound}
    free = sorted((cell for cell in layer if not cell.is_bound), key=key)
    result: list[Cell] = []
    for cell in free:
        result.append(cell)
        if id(cell) in bound:
            result.append(bound[id(cell)])
    return result
