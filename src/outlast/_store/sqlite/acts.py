"""What operators do with single instances: pause, resume, retry."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from outlast._kernel.states import MOVES, QUARANTINED
from outlast._model import Deed, DeedRow, Held, Redo, Retried, Stopped
from outlast._store.sqlite.desk import Desk, scalar
from outlast._world import instant


class Acts:
    """See `contract.Acts`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def pause(self, id: str, deed: Deed, *, tree: bool = False) -> Stopped | None:
        found: Stopped | None = await self._turn(id, deed, tree=tree, paused=False)
        return found

    async def resume(self, id: str, deed: Deed, *, tree: bool = False) -> Stopped | None:
        found: Stopped | None = await self._turn(id, deed, tree=tree, paused=True)
        return found

    async def _turn(self, id: str, deed: Deed, *, tree: bool, paused: bool) -> Stopped | None:
        """Pauses what is not `paused`, resumes what is."""
        desk, now_us = self._desk, self._desk.now_us()

        def turn(connection: sqlite3.Connection) -> Stopped | None:
            row = connection.execute(desk.text("stand"), {"id": id}).fetchone()
            if row is None:
                return None
            ids = scalar(
                connection, desk.text("tree"), {"id": id, "whole": tree}
            )  # errands are a workflow's own steps.
            text = scalar(connection, desk.text("find_paused"), {"ids": ids, "paused": paused})
            found = msgspec.json.decode(text)
            if found and paused:
                connection.execute(desk.text("unhold"), {"found": text})
                connection.execute(desk.text("resume_instances"), {"found": text})
            elif found:
                values = {"found": text, "reason": deed.reason, "now_us": now_us}
                connection.execute(desk.text("pause_instances"), values)
                connection.execute(desk.text("hold"), {"found": text})
            note_within(connection, desk, [each for each, _, _ in found], deed, now_us)
            nodes = sorted({node for _, node, _ in found if node is not None})
            return Stopped(row[0], nodes, [each for each, _, _ in found], sorted({queue for _, _, queue in found}))

        turned: Stopped | None = await desk.writer.write(turn)
        return turned

    async def retry(self, id: str, redo: Redo, deed: Deed | None = None) -> Retried | Held | None:
        desk, now_us = self._desk, self._desk.now_us()
        values = {"epoch": redo.epoch, "step": redo.step, "state": redo.state, "version": redo.version}
        values |= {"id": id, "fresh": redo.fresh, "now_us": now_us}

        def retry(connection: sqlite3.Connection) -> Retried | Held | None:
            row = connection.execute(desk.text("stand"), {"id": id}).fetchone()
            if row is None:
                return None
            status, _, queue, key, scope, epoch = row
            if status not in MOVES["retry"] or redo.epoch not in (None, epoch):
                return Retried(status, queue, epoch)
            if key is not None and scope is not None:
                holder = connection.execute(desk.text("find_by_key"), {"key": key}).fetchone()
                if holder is not None and holder[0] != id:
                    return Held(id, key, holder[0])
            if deed is not None and not note_within(connection, desk, [id], deed, now_us):
                return Retried(status, queue, epoch, again=True)
            connection.execute(desk.text("retry"), values)
            _rewrite(connection, desk, id, redo, now_us)
            if status != QUARANTINED:  # for which its parent waits still.
                connection.execute(desk.text("raise"), {"id": id})
            return Retried(status, queue, epoch)

        found: Retried | Held | None = await desk.writer.write(retry)
        return found

    async def list(self, instance: str) -> list[DeedRow]:
        rows = await self._desk.rows("acts", instance=instance)
        return [DeedRow(id, deed, instant(at_us), *rest) for id, deed, at_us, *rest in rows]


def _rewrite(connection: sqlite3.Connection, desk: Desk, id: str, redo: Redo, now_us: int) -> None:
    """What a retry changes of the journal and of the inbox."""
    if redo.forget:
        connection.execute(desk.text("unrecord"), {"id": id, "keys": _json(redo.forget)})
    if redo.results:
        connection.execute(desk.text("rerecord"), {"id": id, "results": _json(redo.results)})
    if redo.letters:
        letters = {"instance": id, "letters": _json(redo.letters), "now_us": now_us}
        connection.execute(desk.text("put_back"), letters)


def note_within(connection: sqlite3.Connection, desk: Desk, ids: Iterable[str], deed: Deed, now_us: int) -> bool:
    """Notes an act within a transaction. False: an earlier try has, or it touches nobody."""
    values = msgspec.structs.asdict(deed) | {"ids": _json(list(ids)), "now_us": now_us}
    return connection.execute(desk.text("note_act"), values).rowcount > 0


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
