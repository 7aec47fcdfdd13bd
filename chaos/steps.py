"""Rules for machines: every step is committed once, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from chaos.evidence import Evidence
from chaos.history import Leg
from chaos.machines import CHAIN

ORDERS: Final = {"chain": {name: place for place, name in enumerate(CHAIN)}}
"""Programs whose steps have one order: their places."""


def out_of_order(evidence: Evidence) -> Iterator[str]:
    """Steps are committed in order, none is begun again after its commit was acknowledged, and none is left out."""
    legs = evidence.legs()
    for row in evidence.rows.values():
        places = ORDERS.get(row.program)
        if places is not None:
            yield from _committed(row.id, [leg for _, leg in legs.get(row.id, ())], places)
            yield from _begun(row.id, legs.get(row.id, ()), places)
            if row.status == "done":
                left_out = places.keys() - {leg.step for _, leg in legs.get(row.id, ())}
                yield from (f"skipped: nobody ran {step} of {row.id}" for step in sorted(left_out))


def _committed(id: str, legs: Sequence[Leg], places: dict[str, int]) -> Iterator[str]:
    found = sorted((leg.epoch, leg.committed_us, leg.step) for leg in legs if leg.committed_us is not None)
    for (_, _, before), (epoch, _, after) in pairwise(found):
        if places[after] <= places[before]:
            yield f"again: {id} committed {after} in claim {epoch}, after {before}"


def _begun(id: str, legs: Sequence[tuple[str, Leg]], places: dict[str, int]) -> Iterator[str]:
    """In the order of time: how far the instance is known to be when a step begins whose outcome is written."""
    legs = [(name, leg) for name, leg in legs if leg.committed_us is not None]
    moments = [(leg.began_us, 1, name, leg) for name, leg in legs]
    moments += [(leg.committed_us or 0, 0, name, leg) for name, leg in legs]
    furthest = -1
    for _, is_begin, name, leg in sorted(moments, key=lambda moment: moment[:2]):
        if not is_begin:
            furthest = max(furthest, places[leg.step])
        elif places[leg.step] <= furthest:
            yield f"again: {name} began {leg.step} of {id} in claim {leg.epoch}, after step_{furthest} was committed"
