"""Wall clocks of other processes, set while they run. The monotonic clock stays true.

A process is started with `Clocks.environment`, or, forked from such a one, calls `follow`. Needs a C compiler.
"""

import ctypes
import mmap
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock_shift.c")
_FORMAT = "=qqq"


class NoClocks(Exception):
    """Clocks cannot be set here; the text is one sentence saying why."""


class Clock:
    """The wall clock of whoever follows this file. It is true at first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(struct.pack(_FORMAT, 0, 0, 0))
        path.chmod(0o644)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def set(self, *, ahead_s: float, rate: float = 1.0) -> None:
        """From now on it is ahead of the true one by so much, and runs `rate` times as fast."""
        ppm = round((rate - 1.0) * 1e6)
        self._map[:] = struct.pack(_FORMAT, round(ahead_s * 1e9), ppm, time.monotonic_ns())


class Clocks:
    """Makes clocks, in a folder that every user may read."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._folder = folder
        self._library = library

    def clock(self, name: str) -> Clock:
        """A new clock."""
        return Clock(self._folder / name)

    def environment(self, clock: Clock | None = None) -> dict[str, str]:
        """Variables for a process that follows this clock; None: one that can `follow` any, later."""
        made = {"LD_PRELOAD": str(self._library)}
        return made if clock is None else {**made, "CLOCK_SHIFT": str(clock.path)}


def follow(path: str) -> None:
    """Lets this very process follow a clock. Raises: NoClocks: it was not started for that."""
    try:
        failed = ctypes.CDLL(None).clock_shift_follow(path.encode())
    except AttributeError as error:
        raise NoClocks("this process was started without a clock that can be set") from error
    if failed:
        raise NoClocks(f"the clock {path} cannot be read")


@contextmanager
def clocks() -> Iterator[Clocks]:
    """Compiles what it needs. Raises: NoClocks."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        raise NoClocks("setting the clocks of processes needs Linux and a C compiler, cc or gcc")
    folder = Path(tempfile.mkdtemp(prefix="outlast-clocks-"))
    try:
        folder.chmod(0o755)
        library = folder / "clock_shift.so"
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise NoClocks(f"the C compiler cannot compile {_SOURCE.name}: {made.stderr.strip()[:300]}")
        yield Clocks(folder, library)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
