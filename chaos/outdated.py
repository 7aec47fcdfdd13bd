"""Rules for a rolling deployment: an old process never runs what only newer ones know."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.evidence import Evidence


def too_new(evidence: Evidence) -> Iterator[str]:
    """The first edition runs nothing that the second has started, nor what it has taken over and written anew."""
    begun_by = {id: story.edition for story in evidence.stories.values() for id in story.starts}
    for id, legs in evidence.legs().items():
        editions = [(leg, name, evidence.stories[name].edition) for name, leg in legs]
        row = evidence.rows.get(id)
        is_upgraded = row is not None and row.program == "tour" and begun_by.get(id) == 1
        written = [leg.epoch for leg, _, edition in editions if edition == 2 and leg.committed_us is not None]
        for leg, name, edition in editions:
            if edition != 1:
                continue
            if begun_by.get(id) == 2:
                yield f"too new: {name} of edition 1 ran {leg.step} of {id}, which edition 2 has started"
            elif is_upgraded and any(leg.epoch > epoch for epoch in written):
                yield f"too new: {name} of edition 1 ran {leg.step} of {id}, which edition 2 has upgraded"
