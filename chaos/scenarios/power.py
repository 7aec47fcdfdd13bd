"""Power loss on SQLite: what may be on the disk at each sync of a run, opened and held against what was acknowledged.

Nothing is cut while the run lasts. All that its processes write and sync is written down (`power/writes.c`), and the
disks that a power loss may have left are laid out afterwards, three for each moment.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

from chaos import repertoire
from chaos.arena import Arena, stage
from chaos.checker import wrong
from chaos.evidence import Evidence
from chaos.faults import Fault
from chaos.place import NoPlace, SqlitePlace, sqlite_place
from chaos.power import disk
from chaos.power.disk import Act, Disk, Loss
from chaos.power.verdict import Promises, broken
from chaos.report import Report
from outlast import Engine

SOURCE: Final = Path(disk.__file__).with_name("writes.c")
_COMPILE: Final = ("cc", "-std=gnu11", "-O2", "-shared", "-fPIC")
_MEMORY: Final = Path("/dev/shm")
_REVIVE_S: Final = 30.0


class Size(NamedTuple):
    """How much of it: jobs and chains started, syncs at which the power fails, and images on which work goes on."""

    jobs: int
    chains: int
    cuts: int
    revived: int


SIZES: Final = {"full": Size(1_500, 60, 500, 3), "ci": Size(120, 4, 50, 1)}
WORKERS: Final = 2
CONCURRENCY: Final = 4
"""Few steps at once make small commits, and so many syncs."""
NAP_S: Final = (0.0, 0.01)
LOSSES: Final[tuple[Loss, ...]] = get_args(Loss)


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """At each moment all that was acknowledged is on the disk, which is sound, whatever became of the rest."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        arena.crashes_may_count = False
        chains = arena.feed(size.chains, nap_s=NAP_S, program="chain")
        for _ in range(WORKERS):
            arena.hire(concurrency=CONCURRENCY)
        arena.allow(size.chains)
        arena.await_exit(chains, timeout_s=60.0)
        jobs = arena.feed(size.jobs, nap_s=NAP_S)
        arena.allow(size.jobs)
        arena.finish(jobs, patience_s=60.0)
        with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as images:
            fail(arena, size, Path(images))

    return stage("power", act, store=store, scale=scale, seed=seed, mutation=mutation, make_place=watched_disk)


@contextmanager
def watched_disk(folder: Path) -> Iterator[SqlitePlace]:
    """A fresh file, and processes that tell what they do to it. Raises: NoPlace: there is no C compiler."""
    library = folder / "writes.so"
    try:
        subprocess.run([*_COMPILE, "-o", library, SOURCE, "-ldl"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise NoPlace(f"what watches writes cannot be compiled here: {said.strip()}") from error
    with sqlite_place(folder) as place:
        shutil.copy(folder / "outlast.db", folder / "before.db")
        told = {
            "LD_PRELOAD": str(library),
            "OUTLAST_CHAOS_DATABASE": str(folder / "outlast.db"),
            "OUTLAST_CHAOS_WRITES": str(folder / "writes"),
        }
        before = {name: os.environ.get(name) for name in told}
        os.environ.update(told)  # processes that are made from here on have it.
        try:
            yield place
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def fail(arena: Arena, size: Size, images: Path) -> None:
    """Lets the power fail at some of the syncs, and looks at what is left."""
    acts = list(disk.read_log(arena.folder / "writes"))
    syncs = [place for place, act in enumerate(acts) if act.kind == disk.SYNC_ENDS]
    folds = set(in_folds(acts))
    others = [place for place in syncs if place not in folds]
    cuts = sorted(folds.union(arena.dice.sample(others, min(max(0, size.cuts - len(folds)), len(others)))))
    revived = set(arena.dice.sample(cuts, min(size.revived, len(cuts))))
    promises = Promises.of(watch.path for watch in arena.watches.values())
    found: list[str] = []
    for place, state in at(cuts, acts, arena.folder / "before.db"):
        at_us = acts[place].at_ns // 1_000
        arena.faults.append(Fault("power", None, at_us))
        promises.go_on(at_us)
        for loss in LOSSES:
            path = images / "image.db"
            disk.lay_out(state.after(loss, arena.dice), path)
            found += [f"{sentence} (sync {place}, {loss})" for sentence in broken(path, promises)]
            if place in revived and loss == "some":
                found += [f"{sentence} (sync {place}, gone on from)" for sentence in revive(path)]
            for left in images.iterdir():
                left.unlink()
    arena.said += found
    arena.more |= {"syncs": len(syncs), "cut at": len(cuts), "disks looked at": len(cuts) * len(LOSSES)}
    arena.more |= {"writes": sum(act.kind == disk.WRITE for act in acts), "gone on from": len(revived)}
    arena.more["of them in folds"] = len(folds)


def in_folds(acts: list[Act]) -> Iterator[int]:
    """The syncs while the log was folded into the file or cut short, and those right after: few, and the riskiest."""
    is_near = False
    for place, act in enumerate(acts):
        is_near |= act.kind in (disk.TRUNCATE, disk.UNLINK) or (act.kind == disk.WRITE and act.file == 1)
        if act.kind == disk.SYNC_ENDS and is_near:
            yield place
            is_near = False


def at(cuts: list[int], acts: list[Act], before: Path) -> Iterator[tuple[int, Disk]]:
    """The disk just before each of these syncs has ended: what that sync is to save is not yet certain."""
    state = Disk({1: bytearray(before.read_bytes())})
    wanted = set(cuts)
    for place, act in enumerate(acts):
        if place in wanted:
            yield place, state
        state.do(act)


def revive(path: Path) -> list[str]:
    """Lets an engine go on from an image; what is there must come to its one right end."""
    place = SqlitePlace(path)
    asyncio.run(_go_on(place))
    rows = {row.id: row for row in place.rows()}
    return list(wrong(Evidence(stories={}, faults=[], rows=rows, lease_s=1.0, crashes_may_count=True)))


async def _go_on(place: SqlitePlace) -> None:
    options: dict[str, Any] = {
        "queues": {"default": 50},
        "lease": 0.5,
        "reap_interval": 0.1,
        "retention": None,
        "poll_interval": 0.05,
    }
    async with Engine(place.url, programs=repertoire.PROGRAMS.values(), **options):
        deadline = time.monotonic() + _REVIVE_S
        await asyncio.to_thread(_await_done, place, deadline)


def _await_done(place: SqlitePlace, deadline: float) -> None:
    while place.live() and time.monotonic() < deadline:
        time.sleep(0.05)
