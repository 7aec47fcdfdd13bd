"""A folder in memory for what need not outlive a run: there, `fsync` costs nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")
_PREFIX: Final = "outlast-tests-"
_LOCK: Final = "in-use"
GIB: Final = 1024**3


def roomy_memory(free_bytes_min: int = 2 * GIB) -> Path | None:
    """Where files live in memory, with so much room and the right to load libraries from there; None: nowhere."""
    if not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK):
        return None
    memory = os.statvfs(_MEMORY)  # containers often have 64 MB here, which a journal of Postgres alone would fill.
    roomy = memory.f_bavail * memory.f_frsize >= free_bytes_min
    return _MEMORY if roomy and not memory.f_flag & os.ST_NOEXEC else None


@contextlib.contextmanager
def temporary_files_in_memory() -> Iterator[None]:
    """Temporary files of this process and its children lie in memory, unless TMPDIR is set or there is little room."""
    memory = None if "TMPDIR" in os.environ else roomy_memory(4 * GIB)
    if memory is None:
        yield
        return
    for former in memory.glob(f"{_PREFIX}*"):
        _remove_if_nobodys(former)
    folder = tempfile.mkdtemp(prefix=_PREFIX, dir=memory)
    os.chmod(folder, 0o711)  # a server that runs as another user has its own folder in it.
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    with open(Path(folder, _LOCK), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            del os.environ["TMPDIR"]
            tempfile.tempdir = None
            shutil.rmtree(folder, ignore_errors=True)  # what a killed process holds open goes when it does.


def _remove_if_nobodys(folder: Path) -> None:
    """Of a run that was killed, what is left would take the machine's memory until its next start."""
    with contextlib.suppress(OSError), open(folder / _LOCK, "r+", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
