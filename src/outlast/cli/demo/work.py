"""What the demo's worker processes run: one job per file, and a record of every execution and commit.

The record is a file beside the database that is only ever appended to, so that what happened can be checked without
trusting the database: `run ID PID` when an execution begins, `ack ID EPOCH` when its claim's commit was acknowledged.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from pathlib import Path
from typing import Any, Final, TypedDict

import msgspec

from outlast._kernel.states import FINAL
from outlast.cli.worker import lifeline
from outlast.config import Options, Queue
from outlast.engine import Engine
from outlast.jobs import Context, Job, job

QUEUE: Final = "demo"
CONCURRENCY: Final = 4
"""Few at once in each worker, and none in advance, so that the work lasts long enough to be disturbed."""
QUICK: Final[Options] = {
    "lease": 1.0,
    "renew_interval": None,
    "reap_interval": 0.2,
    "poll_interval": 0.1,
    "max_poll_interval": 0.2,
    "max_crashes": 1_000_000,
    "retention": None,
    "maintenance": True,
    "queues": {QUEUE: Queue(concurrency=CONCURRENCY, prefetch=0)},
}
"""Dead workers are noticed within a second or two; no number of kills is held against a job."""
_CHUNK_BYTES: Final = 1 << 20


class Letter(msgspec.Struct):
    """What the demo tells a worker at its birth."""

    url: str
    schema: str
    record: str


class Measure(TypedDict):
    """What is computed of one file; `trouble` is the error when it could not be read."""

    sha256: str
    size: int
    lines: int
    trouble: str | None


def measure(path: str) -> Measure:
    """SHA-256, size in bytes and number of line ends of a file."""
    digest, size, lines = hashlib.sha256(), 0, 0
    try:
        with Path(path).open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                lines += chunk.count(b"\n")
    except OSError as error:
        return Measure(sha256="", size=0, lines=0, trouble=type(error).__name__)
    return Measure(sha256=digest.hexdigest(), size=size, lines=lines, trouble=None)


class Record:
    """The append-only file, as a worker writes it. Each line is part of one write, which a kill cannot split."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def began(self, id: str) -> None:
        """An execution begins."""
        self._write(f"run {id} {os.getpid()}\n")

    def heard(self, name: str, fields: dict[str, Any]) -> None:
        """Listens to the engine."""
        self._write("".join(f"ack {id} {epoch}\n" for id, epoch, status in fields["settled"] if status in FINAL))

    def _write(self, text: str) -> None:
        os.write(self._file, text.encode())


def make_job(record: Record | None = None) -> Job[..., Any, Any, Any]:
    """The demo's job; made on demand, so that no worker of the user's ever knows it.

    Args:
        record: Where executions are recorded; not needed to start jobs.
    """

    @job(name="demo.measure_file", queue=QUEUE, retention=None)
    def measure_file(path: str, ctx: Context) -> Measure:
        if record is not None:
            record.began(ctx.id)
        return measure(path)

    return measure_file


async def serve(letter: Letter) -> None:
    """A worker's life, until SIGTERM or the end of its parent."""
    record = Record(letter.record)
    engine = Engine(letter.url, programs=[make_job(record)], **QUICK)
    engine.configure(schema=letter.schema)
    async with engine:
        engine.on("commit.stop", record.heard)
        await asyncio.Event().wait()


def main() -> None:
    """A worker process of the demo."""
    logging.getLogger("outlast").setLevel(logging.ERROR)  # dead neighbours are no news here.
    text = lifeline.read_letter()
    if text:  # else the parent has given up before it wrote.
        lifeline.end_with_parent(grace_s=1.0)
        asyncio.run(serve(msgspec.json.decode(text, type=Letter)))
