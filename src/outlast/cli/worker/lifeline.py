"""Child processes that do not outlive their parent.

The parent holds the writing end of each child's standard input. However the parent ends, that end is closed with it,
and the child reads the end of its input. This works on every system, and for a parent killed with SIGKILL.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

_GRACE_S: Final = 30.0
"""Seconds that an orphan has to drain before it ends itself."""


async def spawn(arguments: Sequence[str], *, letter: bytes = b"") -> asyncio.subprocess.Process:
    """Starts `python ARGUMENTS`, tied to this process.

    Args:
        letter: What the child may read first of its input: for what must not be seen in the list of processes.

    In a session of its own, so that a Ctrl-C at the terminal reaches only the parent, which then decides.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    if process.stdin is not None and letter:
        process.stdin.write(letter)
    return process


def read_letter() -> bytes:
    """In a child: the first line of its input."""
    letter = bytearray()
    while (char := os.read(0, 1)) not in (b"", b"\n"):
        letter += char
    return bytes(letter)


def end_with_parent(grace_s: float = _GRACE_S) -> None:
    """In a child: from now on, ends when the parent does; politely at first, by force after `grace_s` seconds.

    Standard input is handed to nobody else: what the user's jobs start reads an empty one.
    """
    line = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_watch, args=(line, grace_s, os._exit), name="lifeline", daemon=True).start()


def _watch(line: int, grace_s: float, end: Callable[[int], None]) -> None:
    while os.read(line, 1_024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(grace_s)
    end(1)
