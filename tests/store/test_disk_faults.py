"""Syncs that fail: nothing is acknowledged that is not on the disk, nothing runs twice, and the work goes on."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.engine.given import SOON_S
from tests.engine.workers import process

SOURCE = Path(__file__).with_name("failing_sync.c")

FAULTY = """
import collections, ctypes

runs = collections.Counter()

@step
async def count(number: int) -> int:
    runs[number] += 1
    return number

@workflow
async def tour(number: int) -> int:
    return await count(number) + await count(-number - 1)

async def main():
    disk = ctypes.CDLL(None)
    async with Engine(URL, log_level="CRITICAL") as engine:
        disk.fail_syncs(4)
        handles = [await engine.start(tour.new(number=number)) for number in range(30)]
        results = [await handle.result(60) for handle in handles]
        disk.fail_syncs(0)
        say("results", set(results), "runs", len(runs), set(runs.values()), "totals", await engine.totals())
        say("failed", disk.failed_syncs())

asyncio.run(main())
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("making syncs fail needs Linux and a C compiler, cc")
    made = tmp_path / "failing_sync.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", made, SOURCE, "-ldl"], check=True)
    return made


def test_syncs_that_fail_lose_nothing_and_double_nothing(empty_sqlite_url: str, path: Path, library: Path) -> None:
    with process(FAULTY, empty_sqlite_url, env={"LD_PRELOAD": str(library)}) as one:
        out, complaints = one.popen.communicate(timeout=6 * SOON_S)

    assert one.popen.returncode == 0, complaints
    told, failed = out.splitlines()
    assert told == "results {-1} runs 60 {1} totals {'done': 30}", complaints
    assert int(failed.split()[1]) >= 10
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
