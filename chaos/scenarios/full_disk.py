"""A disk without space under SQLite: work pauses, and goes on when there is space again."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.place import NoPlace, SqlitePlace, sqlite_place
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: jobs started, and times that the disk is filled."""

    jobs: int
    fills: int


SIZES: Final = {"full": Size(10_000, 10), "ci": Size(1_500, 2)}
WORKERS: Final = 3
DISK_MB: Final = 48
FULL_LEASES: Final = (0.5, 4.0)


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Fills the disk under work, waits, makes room again. No worker dies, so none may lose a claim."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        arena.crashes_may_count = False
        feeder = arena.feed(size.jobs, nap_s=(0.0, 0.05))
        for _ in range(WORKERS):
            arena.hire()
        for number in range(1, size.fills + 1):
            arena.allow(size.jobs * number // size.fills)
            arena.busy(WORKERS)
            arena.wait(0.1)
            with arena.fault("full"), no_space(arena.folder / "disk"):
                time.sleep(arena.lease_s * arena.dice.uniform(*FULL_LEASES))
            arena.await_commit()
        arena.finish(feeder, patience_s=60.0)

    return stage("full-disk", act, store=store, scale=scale, seed=seed, mutation=mutation, make_place=small_disk)


@contextmanager
def small_disk(folder: Path) -> Iterator[SqlitePlace]:
    """A fresh file on a small file system in memory. Raises: NoPlace: we may not mount one."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise NoPlace(f"a small file system cannot be mounted here: {said.strip()}") from error
    try:
        with sqlite_place(disk) as place:
            yield place
    finally:
        for path in disk.glob("outlast.db*"):
            shutil.copy(path, folder)
        subprocess.run(["umount", str(disk)], check=True)


@contextmanager
def no_space(disk: Path) -> Iterator[None]:
    """Fills what is left of a disk, and takes it back."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65_536))
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))
    try:
        yield
    finally:
        ballast.unlink()
