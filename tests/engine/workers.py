"""Workers in processes of their own, so that they can be blocked, stopped and killed."""

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.engine.given import SOON_S

_HEAD = """
import asyncio, os, sys, time
from outlast import *
URL = sys.argv[1]

def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")  # one write: threads speak, too.
    sys.stdout.flush()
"""


class Process:
    """A Python process that speaks in lines."""

    def __init__(self, script: str, *args: str, env: Mapping[str, str] | None = None) -> None:
        text = textwrap.dedent(_HEAD) + textwrap.dedent(script)
        pipe = subprocess.PIPE
        self.popen = subprocess.Popen(
            [sys.executable, "-c", text, *args],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env={**os.environ, **(env or {})},
        )

    async def says(self, wanted: str) -> str:
        """Reads lines up to one that begins with `wanted`; the rest of that line."""
        async with asyncio.timeout(3 * SOON_S):  # a cold interpreter on a busy machine takes its time.
            while True:
                line = await asyncio.to_thread(self.popen.stdout.readline)  # type: ignore[union-attr]
                assert line, f"the process ended before it said {wanted!r}: {self.popen.stderr.read()}"  # type: ignore[union-attr]
                if line.startswith(wanted):
                    return line.removeprefix(wanted).strip()

    async def ends(self) -> tuple[int, str, str]:
        """Waits for its end: code, output, complaints."""
        out, complaints = await asyncio.to_thread(self.popen.communicate, timeout=3 * SOON_S)
        return self.popen.returncode, out, complaints


@contextmanager
def process(script: str, *args: Any, env: Mapping[str, str] | None = None) -> Iterator[Process]:
    """A process that is gone when the block ends. `script` finds URL, `say` and all of outlast; `env` comes on top."""
    one = Process(script, *map(str, args), env=env)
    try:
        yield one
    finally:
        one.popen.kill()
        one.popen.communicate()
