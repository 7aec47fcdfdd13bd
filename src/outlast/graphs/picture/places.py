"""Gives cells their places: straight lines where it can be, and never one over the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

from outlast.graphs.picture.layers import Cell

_ROUNDS: Final = 14
_STRAIGHTENED: Final = 3
_BOX_GAP: Final = 30.0
_BEND_GAP: Final = 16.0
_LAYER_GAP: Final = 30.0
_LABEL_GAP: Final = 12.0
_STEEP: Final = 0.07
"""Height that a layer's gap gains for each pixel that an edge moves sideways in it."""
_GAP_MAX: Final = 70.0
_STRAIGHT: Final = 6.0
"""How much more it matters that a long edge is straight than that a box stands in the middle of its neighbours."""


def place(layers: Sequence[Sequence[Cell]]) -> None:
    """Set x and y of all cells."""
    for layer in layers:
        right = 0.0
        for before, cell in zip([None, *layer], layer, strict=False):
            right += _distance(before, cell) if before else 0.0
            cell.x = right
    for round_ in range(_ROUNDS):
        down = round_ % 2 == 0
        for layer in layers if down else reversed(layers):
            _settle(layer, down=down, both=round_ >= _ROUNDS - 4)
    for _ in range(_STRAIGHTENED):
        _straighten(layers)
    left = min((cell.x - cell.width / 2 for layer in layers for cell in layer), default=0.0)
    for layer in layers:
        for cell in layer:
            cell.x = round(cell.x - left, 1)
    _stack(layers)


def _distance(left: Cell, right: Cell) -> float:
    gap = _BOX_GAP if left.box is not None and right.box is not None else _BEND_GAP
    return (left.width + right.width) / 2 + gap


def _settle(layer: Sequence[Cell], *, down: bool, both: bool) -> None:
    """Move a layer's cells as near to where they want to be as their order and sizes allow.

    That is a regression with growing values only: neighbours that would overlap become one block, which goes to the
    weighted mean of what its members want.
    """
    offset = 0.0
    blocks: list[tuple[float, float, int]] = []
    offsets: list[float] = []
    for before, cell in zip([None, *layer], layer, strict=False):
        offset += _distance(before, cell) if before else 0.0
        offsets.append(offset)
        wanted, weight = _wish(cell, down=down, both=both)
        mean, count = wanted - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, other_weight, other_count = blocks.pop()
            mean = (mean * weight + other * other_weight) / (weight + other_weight)
            weight, count = weight + other_weight, count + other_count
        blocks.append((mean, weight, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    for cell, mean, shift in zip(layer, means, offsets, strict=True):
        cell.x = mean + shift


def _wish(cell: Cell, *, down: bool, both: bool) -> tuple[float, float]:
    """Where a cell wants to be, and how much."""
    neighbours = [*cell.above, *cell.below] if both else cell.above if down else cell.below
    if cell.beside is not None and (cell.is_bound or not neighbours):
        return cell.beside.x + cell.side * _distance(cell.beside, cell), 0.5
    if not neighbours:
        return cell.x, 0.1
    weight = _STRAIGHT if cell.box is None else 1.0 + len(neighbours) / 4
    return sum(one.x for one in neighbours) / len(neighbours), weight


def _straighten(layers: Sequence[Sequence[Cell]]) -> None:
    """Put the cells that an edge passes one beneath the other, as far as their neighbours leave room."""
    room: dict[int, tuple[Cell | None, Cell | None]] = {}
    for layer in layers:
        for before, cell, behind in zip([None, *layer], layer, [*layer[1:], None], strict=False):
            room[id(cell)] = (before, behind)
    for layer in layers:
        for cell in layer:
            if cell.box is None and not any(one.box is None for one in cell.above):
                _straighten_chain(_chain(cell), room)


def _chain(cell: Cell) -> list[Cell]:
    chain = [cell]
    while (below := next((one for one in chain[-1].below if one.box is None), None)) is not None:
        chain.append(below)
    return chain


def _straighten_chain(chain: Sequence[Cell], room: Mapping[int, tuple[Cell | None, Cell | None]]) -> None:
    run: list[Cell] = []
    least, most = -inf, inf
    for cell in chain:
        before, behind = room[id(cell)]
        low = before.x + _distance(before, cell) if before else -inf
        high = behind.x - _distance(cell, behind) if behind else inf
        if max(least, low) > min(most, high):
            _align(run, least, most)
            run, least, most = [], -inf, inf
        run.append(cell)
        least, most = max(least, low), min(most, high)
    _align(run, least, most)


def _align(run: Sequence[Cell], least: float, most: float) -> None:
    if run:
        x = min(max(sum(cell.x for cell in run) / len(run), least), most)
        for cell in run:
            cell.x = x


def _stack(layers: Sequence[Sequence[Cell]]) -> None:
    y = 0.0
    for layer, below in zip(layers, [*layers[1:], []], strict=True):
        height = max((cell.height for cell in layer), default=0.0)
        for cell in layer:
            cell.y = round(y + height / 2, 1)
        y += height + _gap(layer, below)


def _gap(layer: Sequence[Cell], below: Sequence[Cell]) -> float:
    sideways = max((abs(cell.x - one.x) for cell in layer for one in cell.below), default=0.0)
    has_boxes = any(cell.box for cell in layer) and any(cell.box for cell in below)
    return min((_LAYER_GAP if has_boxes else _LABEL_GAP) + sideways * _STEEP, _GAP_MAX)
