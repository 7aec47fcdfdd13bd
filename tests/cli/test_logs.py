"""`outlast logs`: once, filtered, as JSON, and until the end."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.waiting import eventually
from outlast import Engine
from tests.cli.conftest import SHOP, Outlast
from tests.cli.test_instances import work

TALK = """
import logging
from outlast import backoff, step, workflow, wait_for_signal

log = logging.getLogger("shop")

@step
async def charge(order):
    log.info("charging %s", order)
    print("paid")

@step(max_attempts=2, backoff=backoff.constant(0))
async def pack(order):
    try:
        raise ValueError(order)
    except ValueError:
        log.exception("no box\\nfor it")
        raise

@workflow(name="shop.order")
async def order(number):
    await charge(number)
    await pack("\x1b[2J")

@workflow(name="shop.slow")
async def slow():
    await charge(1)
    await wait_for_signal("go")
    await charge(2)
"""


@pytest.fixture(autouse=True)
def _talks(folder: Path) -> Iterator[None]:
    (folder / "shop.py").write_text(SHOP + TALK)
    logging.getLogger("shop").setLevel(logging.INFO)
    yield
    logging.getLogger("shop").setLevel(logging.NOTSET)


def started(outlast: Outlast, url: str, what: str, *args: str) -> str:
    answer = outlast("start", f"shop:{what}", "--url", url, *args)
    assert answer.code == 0, answer.err
    return answer.out.strip()


def ordered(outlast: Outlast, url: str) -> str:
    id = started(outlast, url, "order", "--arg", "number=7")
    work(url, id)
    return id


def test_lines_are_shown_with_their_step_and_attempt(outlast: Outlast, url: str) -> None:
    id = ordered(outlast, url)

    shown = outlast("logs", id[:20], "--url", url)

    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert [line.split(" ", 2)[2] for line in lines[:3]] == [
        "INFO     charge#1: charging 7",
        "INFO     charge#1: paid",
        "ERROR    pack#1: no box",
    ]
    assert lines[3:5] == ["    for it", "    Traceback (most recent call last):"]
    assert "ERROR    pack#1 (attempt 2): no box" in shown.out
    assert "    ValueError: \\x1b[2J" in lines
    assert "\x1b" not in shown.out


def test_lines_are_chosen_by_level_and_step(outlast: Outlast, url: str) -> None:
    id = ordered(outlast, url)

    def messages(*args: str) -> list[str]:
        return [line["message"] for line in outlast("logs", id, "--url", url, "--json", *args).json]

    assert messages("--step", "charge") == messages("--step", "charge#1") == ["charging 7", "paid"]
    assert messages("--level", "warning") == ["no box\nfor it"] * 2
    assert messages("--level", "error", "--step", "charge") == []
    assert "no lines fit" in outlast("logs", id, "--url", url, "--step", "nope").err
    assert outlast("logs", id, "--url", url, "--level", "loud").code == 2


def test_json_tells_all_of_a_line(outlast: Outlast, url: str) -> None:
    id = ordered(outlast, url)

    first = outlast("logs", id, "--url", url, "--json").json[0]

    assert first.pop("at").startswith("20")
    assert first == {
        "number": 1_000_000_001,
        "level": "INFO",
        "message": "charging 7",
        "source": "logging",
        "step": "charge#1",
        "attempt": 0,
        "fields": {"logger": "shop"},
    }


def test_an_instance_without_lines_and_one_that_is_not_there(outlast: Outlast, url: str) -> None:
    id = started(outlast, url, "add", "--arg", "a=1")

    assert "no lines are kept" in outlast("logs", id, "--url", url).err
    assert outlast("logs", id, "--url", url, "--json").json == []
    assert outlast("logs", "0000aaaa", "--url", url).code == 4
    assert outlast("logs", "no-such-key", "--url", url).code == 4
    assert outlast("logs", "no-such-key", "-f", "--url", url).code == 4


def test_following_what_has_ended_shows_it_and_ends(outlast: Outlast, url: str) -> None:
    id = ordered(outlast, url)

    plain = outlast("logs", id, "--url", url).out
    followed = outlast("logs", id, "-f", "--url", url)

    assert (followed.code, followed.out) == (0, plain)


def test_following_shows_what_comes_until_the_end(outlast: Outlast, url: str, folder: Path, tmp_path: Path) -> None:
    id = started(outlast, url, "slow", "--key", "k")
    said = tmp_path / "said"
    command = [sys.executable, "-m", "outlast", "logs", "k", "-f", "--json", "--url", url]
    with (
        said.open("wb") as out,
        subprocess.Popen(command, stdout=out, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as it,
    ):

        async def until(count: int, engine: Engine) -> None:
            await asyncio.to_thread(eventually, lambda: said.read_bytes().count(b"\n") >= count)

        async def play() -> None:
            async with Engine(url, poll_interval=0.02) as engine:
                await until(2, engine)
                assert await engine.signal(id, "go") == "delivered"
                await engine.handle(id).result(10)

        try:
            asyncio.run(play())
            assert it.wait(timeout=20) == 0
        finally:
            it.kill()

    messages = [json.loads(line)["message"] for line in said.read_text().splitlines()]
    assert messages == ["charging 1", "paid", "charging 2", "paid"]
