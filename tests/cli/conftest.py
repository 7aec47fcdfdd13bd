"""The command line in this process and in others, with a module of jobs for it to find."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.waiting import eventually
from outlast._kernel.objects import OBJECTS
from outlast._kernel.program import DEFINED
from outlast.cli import main

SHOP = """
import asyncio
from outlast import Await, Done, Machine, Object, alarm, handler, job, step, wait_for_approval, workflow

@job(name="shop.add")
async def add(a: int, b: int = 2) -> int:
    return a + b

@job(name="shop.echo", queue="mail")
async def echo(value: object) -> object:
    return value

@job(name="shop.fail", max_attempts=1)
async def fail(why: str = "no stock") -> None:
    raise ValueError(why)

@job(name="shop.wait")
async def wait(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "waited"

@job(name="shop.block")
async def block() -> None:
    await asyncio.Event().wait()

class Checkout(Machine, name="shop.checkout"):
    order: int

    @step
    async def start(self, ctx):
        return Await("payment", then=self.ship)

    @step
    async def ship(self, ctx):
        return Done([self.order, ctx.awaited[0].payload])

class Stock(Object, name="shop.Stock"):
    left: int = 10

    @handler
    async def take(self, amount: int = 1) -> int:
        if amount > self.left:
            raise ValueError(f"only {self.left} left")
        self.left -= amount
        return self.left

    @alarm
    async def refill(self) -> None:
        self.left = 10

@step
async def charge(order: int) -> str:
    return f"charged {order}"

@workflow(name="shop.ask")
async def ask() -> str:
    return await wait_for_approval("boss", timeout=3600)

@workflow(name="shop.buy")
async def buy(order: int) -> list:
    receipt = await charge(order)
    return [receipt, await wait_for_approval("manager", prompt="Ship it?")]
"""


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The last line of standard error as JSON."""
        return json.loads(self.err.splitlines()[-1])


Outlast = Callable[..., Answer]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, with no setting of this machine's in sight; `shop.py` in it holds jobs."""
    for name in [name for name in os.environ if name.startswith("OUTLAST_")]:
        monkeypatch.delenv(name)
    place = tmp_path / "place"
    place.mkdir()
    (place / "shop.py").write_text(SHOP)
    # Nearer than any other on the way up.
    (place / "pyproject.toml").write_text("")
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(DEFINED, "_programs", {})
    monkeypatch.setattr(OBJECTS, "_types", {})
    monkeypatch.setattr(OBJECTS, "_names", [])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("app", "shop"):  # of somebody who did not clean up behind himself.
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield place
    forget(place)


def forget(place: Path) -> None:
    """Forgets the modules in this folder, as the end of a process would."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(place)):
            del sys.modules[name]


@pytest.fixture
def outlast(folder: Path) -> Outlast:
    """Runs the command in this process."""

    def run(*args: object, input: str | None = None) -> Answer:
        result = CliRunner().invoke(main, [str(arg) for arg in args], input=input, prog_name="outlast")
        forget(folder)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def url(store_url: str) -> str:
    """A fresh database with its tables: the test runs once on each kind."""
    return store_url


class Running:
    """A command in a process of its own, with what it has written so far.

    Attributes:
        process: The process.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        """What it wrote to standard error."""
        return self._log.read_text()

    def says(self, text: str, *, times: int = 1) -> None:
        """Waits until it has written this."""

        def said() -> bool:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log}"
            return self.log.count(text) >= times

        eventually(said, what=f"{text!r} x {times} in:\n{self.log}")

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self.process.send_signal(number)

    def ends(self) -> int:
        """Waits for its end; its exit code."""
        return self.process.wait(timeout=20)


Start = Callable[..., Running]


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts the command in a process of its own; what still runs at the end is killed."""
    with ExitStack() as stack:

        def run(*args: object) -> Running:
            log = tmp_path / f"log{len(list(tmp_path.glob('log*')))}"
            environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
            with log.open("wb") as file:
                process = subprocess.Popen(
                    [sys.executable, "-m", "outlast", *map(str, args)],
                    stdout=subprocess.DEVNULL,
                    stderr=file,
                    env=environment,
                )
            stack.callback(_end, process)
            return Running(process, log)

        yield run


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()
    process.wait(timeout=20)
