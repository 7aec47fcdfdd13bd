"""Rules for workflows: what a step came to is recorded once and never found out again, and what was done is undone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from chaos.evidence import Evidence
from chaos.history import Mark
from chaos.place import Note, Row
from chaos.trips import FAILURE, LAST, PLACES, TOLD, UNDO, Place, child_key, fails_at

Marks = Sequence[tuple[str, Mark]]
Notes = Mapping[str, Note]


def misremembered(evidence: Evidence) -> Iterator[str]:
    """Each step of a trip is recorded once and does not run after that; those before it had been recorded by then."""
    journal: dict[str, dict[str, Note]] = {}
    for note in evidence.journal:
        journal.setdefault(note.instance, {})[note.key] = note
    children: dict[str, list[str]] = {}
    for row in evidence.rows.values():
        if row.parent is not None:
            children.setdefault(row.parent, []).append(row.id)
    marks = evidence.marks()
    for row in evidence.rows.values():
        notes, told = journal.get(row.id, {}), marks.get(row.id, ())
        if row.program in ("trip", "parcel", "visit"):
            yield from _again(row.id, told)
            yield from _kept(row.id, told, notes)
            yield from _unrecorded(evidence, row, told)
        if row.program == "trip":
            yield from _in_order(row.id, told)
            if row.status in ("done", "compensated"):
                yield from _complete(row, notes, children.get(row.id, ()))
                yield from _undone(row.id, notes)


def _again(id: str, marks: Marks) -> Iterator[str]:
    """In one claim no attempt is made twice; in none is one made whose end was acknowledged to be recorded."""
    known: dict[tuple[str, int], Mark] = {}
    begun: set[tuple[int, str, int]] = set()
    for name, mark in marks:
        attempt = mark.attempt - (mark.status in ("failed", "retrying"))  # these count the attempt that has failed.
        if mark.word == "noted":
            known.setdefault((mark.key, attempt), mark)
        elif mark.word == "begin":
            before = known.get((mark.key, attempt))
            if before is not None:
                yield (
                    f"again: {name} began {mark.key} of {id} in claim {mark.epoch}, "
                    f"after it was recorded as {before.status} in claim {before.epoch}"
                )
            if (mark.epoch, mark.key, attempt) in begun:
                yield f"again: {name} began {mark.key} of {id} twice in claim {mark.epoch}"
            begun.add((mark.epoch, mark.key, attempt))


def _kept(id: str, marks: Marks, notes: Notes) -> Iterator[str]:
    """The journal holds what was acknowledged, and no younger claim ran what it holds, acknowledged or not."""
    for name, mark in marks:
        note = notes.get(mark.key)
        if mark.word == "noted" and (note is None or (mark.status == "done" and note.status != "done")):
            yield f"forgotten: {name} recorded {mark.key} of {id} as {mark.status}, and the journal does not say so"
        ran = None if note is None else _epoch(note)
        if ran is None:
            continue
        if mark.word == "noted" and mark.status == "done" and mark.epoch != ran:
            yield f"doubled: {mark.key} of {id} was recorded in claim {mark.epoch}, and the journal has claim {ran}'s"
        if mark.word == "begin" and mark.epoch > ran:
            yield f"again: {name} began {mark.key} of {id} in claim {mark.epoch}, and claim {ran} has recorded it"


def _epoch(note: Note) -> int | None:
    """The claim by which the recorded run of a step was made, as the step itself has returned it."""
    found = json.loads(note.value or "null")
    if note.status != "done" or not isinstance(found, list):
        return None
    return int(found[0][0] if note.key == LAST else found[0])


def _unrecorded(evidence: Evidence, row: Row, marks: Marks) -> Iterator[str]:
    """A run that came to nothing had a reason: a fault, or the other branch's failure."""
    if row.program == "trip" and fails_at(json.loads(row.state)["n"]) == "label":
        return  # its right branch may have been given up.
    noted = {(mark.epoch, mark.key) for _, mark in marks if mark.word == "noted"}
    for name, mark in marks:
        if mark.word == "begin" and (mark.epoch, mark.key) not in noted and not _parked(marks, mark):
            if not evidence.explains(name, mark.at_us):
                yield f"unrecorded: {name} ran {mark.key} of {row.id} in claim {mark.epoch}, and nothing came of it"


def _parked(marks: Marks, mark: Mark) -> bool:
    """Whether it was a failed attempt, which is recorded as the trip is put to wait: a later claim made the next."""
    return any(other.word == "begin" and other.key == mark.key and other.attempt > mark.attempt for _, other in marks)


def _in_order(id: str, marks: Marks) -> Iterator[str]:
    """No step begins after a later one of its branch has begun, or, in one claim, before the last one is recorded."""
    begun: list[tuple[str, Place]] = []
    undoing: str | None = None
    pending: dict[tuple[int, str], Place] = {}
    for name, mark in marks:
        place = PLACES.get(mark.key)
        if mark.word == "begin" and mark.key.startswith(UNDO):
            undoing = mark.key
        elif mark.word == "noted" and mark.status in ("done", "failed"):
            pending.pop((mark.epoch, mark.key), None)
        elif mark.word == "begin" and place is not None:
            if undoing is not None:
                yield f"forward: {name} began {mark.key} of {id} after {undoing} had begun"
            late = [key for key, other in begun if _follows(other, place)]
            yield from (f"backward: {name} began {mark.key} of {id} after {key} had begun" for key in late[:1])
            for (epoch, key), other in pending.items():
                if epoch == mark.epoch and _follows(place, other):
                    yield f"unsaved: {name} began {mark.key} of {id} before {key} was recorded"
            begun.append((mark.key, place))
            pending[mark.epoch, mark.key] = place


def _follows(later: Place, earlier: Place) -> bool:
    one_way = later.branch == earlier.branch or "" in (later.branch, earlier.branch)
    return one_way and later.stage > earlier.stage


def _complete(row: Row, notes: Notes, children: Sequence[str]) -> Iterator[str]:
    """What has ended well has recorded all that belongs to it and nothing else; it was told what the journal holds."""
    n = json.loads(row.state)["n"]
    wanted = (PLACES.keys() - {"child"}) | {child_key(n)}
    forward = {key for key in notes if not key.startswith(UNDO) and key != FAILURE}
    if forward - wanted:
        yield f"unheard of: {row.id} has recorded {sorted(forward - wanted)}"
    if fails_at(n) == "label":
        wanted = {key for key in PLACES if PLACES[key].stage < PLACES["left#1/label#1"].stage} - {"right#1/inform#1"}
    missing = sorted(key for key in wanted if key not in notes or (notes[key].status != "done" and key != LAST))
    if missing:
        yield f"skipped: {row.id} ended as {row.status} without a result of {missing}"
    elif row.status == "done":
        told = json.loads(notes[LAST].value or "[]")[1:]
        if told != [json.loads(notes[key].value or "null") for key in TOLD]:
            yield f"doubled: {row.id} was told {told} of its steps, which is not what its journal says"
    begun = [note for key, note in notes.items() if key == child_key(n)]
    known = [json.loads(note.value or "{}").get("id") for note in begun]
    if sorted(children) != sorted(known):
        yield f"doubled: {row.id} has {len(children)} children, and its journal knows {known}"


def _undone(id: str, notes: Notes) -> Iterator[str]:
    """If it has failed, what could be undone was, once each, the newest first, and knew what it undid; else nothing."""
    undos = {key: note for key, note in notes.items() if key.startswith(UNDO)}
    wanted: list[str] = []
    if FAILURE in notes:
        done = [note for key, note in notes.items() if key in PLACES and PLACES[key].undo and note.status == "done"]
        for note in sorted(done, key=lambda note: note.number, reverse=True):
            key = f"{UNDO}{note.key}/{PLACES[note.key].undo}#1"
            wanted.append(key)
            if key in undos and json.loads(undos[key].value or "[]")[1:] != json.loads(note.value or "[]"):
                yield f"wrong: {key} of {id} undid {undos[key].value}, and the journal has {note.value}"
    found = [key for key, note in sorted(undos.items(), key=lambda item: item[1].number) if note.status == "done"]
    if sorted(found) != sorted(wanted) or len(found) != len(undos):
        yield f"not undone: {id} has undone {found}, of {wanted}"
    elif found != wanted:
        before, after = next(pair for pair in pairwise(found) if wanted.index(pair[0]) > wanted.index(pair[1]))
        yield f"not undone: {id} has undone {before} before {after}, which is newer"
