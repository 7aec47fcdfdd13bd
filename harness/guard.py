"""Ends a Postgres whose owner died without a word, and deletes its folder.

Run by `PostgresServer` as a process of its own, as `guard.py FOLDER`. Only the owner holds the other end of
our standard input, so reading its end means that the owner is gone, however it went. Standard library only.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


def main(folder: Path) -> None:
    sys.stdin.buffer.read()
    deadline = time.monotonic() + 10
    while (pid := _postmaster(folder)) is not None and time.monotonic() < deadline:
        try:
            os.kill(pid, signal.SIGQUIT)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def _postmaster(folder: Path) -> int | None:
    """The server's process, if it lives and is really ours: numbers of the dead are given out again."""
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
        shown = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
    except (OSError, ValueError):
        return None
    return pid if str(folder) in shown.stdout else None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
