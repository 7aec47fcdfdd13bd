"""`demo`: one durable job per file, while the workers are killed; then everything is checked."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import msgspec

from outlast._model import Node
from outlast._world import SystemWorld
from outlast.cli import terminal
from outlast.cli.bar import Bar
from outlast.cli.demo import work
from outlast.cli.demo.tally import Files, Tally, Verdict, files_under, judge
from outlast.cli.demo.work import Letter, make_job
from outlast.cli.options import Choice, shared
from outlast.cli.worker import lifeline
from outlast.cli.worker.supervisor import how_it_ended
from outlast.engine import PAGE_MAX, Engine
from outlast.errors import ConfigError, OutlastError

_WORKER: Final = f"from {work.__name__} import main; main()"
TICK_S: Final = 0.01
LOOK_S: Final = 0.1
"""How often the database is asked whether anything is left."""
AGAIN_S: Final = 4.0
"""After this long without a kill there is another one, while much is left to do."""
BIRTH_S: Final = 30.0
MORE_S: Final = 30.0
"""While it has not lasted this long and the kills are too few, the files are measured once more."""


@click.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--kills", type=click.IntRange(min=3), default=3, show_default=True, help="Kills at least.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes.")
@shared
def demo(choice: Choice, folder: Path | None, kills: int, workers: int) -> None:
    """Measure every file under FOLDER in durable jobs, while workers are killed with SIGKILL.

    Each file is one job: SHA-256, size and line count. At the end the totals are compared with a direct computation.
    Without FOLDER it is the standard library of this Python. The database is a temporary one, or tables of the demo's
    own in the database of --url, deleted at the end. Exit code 1 when a job was lost or committed twice.
    """
    files = files_under(folder)
    with _place(choice.url) as place:
        report = asyncio.run(Show(files, place, kills=kills, workers=workers, bar=not choice.json).run())
    if choice.json:
        terminal.say_json(report)
    else:
        _say(report)
    if not report.good:
        raise click.exceptions.Exit(1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the demo happens: its database, the tables' schema there, and the workers' record."""

    url: str
    schema: str
    record: Path


@contextlib.contextmanager
def _place(url: str | None) -> Iterator[Place]:
    """A temporary folder, and in it the database unless a URL names another. Nothing is left at the end."""
    with tempfile.TemporaryDirectory(prefix="outlast-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        schema = f"outlast_demo_{SystemWorld().new_node_id()[:8]}"
        place = Place(f"sqlite:///{folder / 'demo.db'}" if url is None else url, schema, folder / "record")
        file = Engine(place.url).database_file
        is_new = file is not None and not file.exists()
        try:
            yield place
        finally:
            if file is not None and is_new:
                for made in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
                    made.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Report:
    """What the demo found. Bytes and lines are those of all jobs.

    `good`: nothing was lost or doubled, and there were as many kills as wanted.
    """

    store: str
    files: int
    rounds: int
    jobs: int
    bytes: int
    lines: int
    kills: int
    run_again: int
    lost: int
    committed_twice: int
    matches: bool
    changed: int
    unnamed: int
    seconds: float
    jobs_per_s: float
    good: bool


class Show:
    """One run of the demo.

    Args:
        files: What to measure.
        kills: Workers to kill at least, each while it holds jobs.
        workers: Worker processes.
        bar: Whether to show how far it is.
    """

    def __init__(self, files: Files, place: Place, *, kills: int, workers: int, bar: bool) -> None:
        self._files = files
        self._place = place
        self._kills_wanted = kills
        self._workers = workers
        self._world = SystemWorld()
        self._job = make_job()
        self._engine = Engine(
            place.url, programs=[self._job], schema=place.schema, queues={}, maintenance=False, retention=None
        )
        self._tally = Tally(place.record)
        self._started: dict[str, str] = {}
        self._children: list[asyncio.subprocess.Process] = []
        self._kills = 0
        self._killed_at = 0.0
        self._rounds = 0
        self._bar = Bar("files", len(files.found), shown=bar)

    async def run(self) -> Report:
        """Makes the tables, runs everything, checks it, and leaves nothing behind."""
        engine = self._engine
        if engine.database_file is None and engine.config.url.startswith("sqlite"):
            raise ConfigError("the demo's workers are processes: they cannot share a database in memory")
        _end_on_sigterm()
        await engine.migrate()
        try:
            async with engine:
                try:
                    await self._begin()
                    with self._bar:
                        seconds = await self._work()
                finally:
                    await self._end_children()
                return await self._check(seconds)
        finally:
            await engine.drop_tables()

    async def _begin(self) -> None:
        """Starts the workers and waits until they are there, so that their birth is not measured."""
        for _ in range(self._workers):
            await self._spawn()
        give_up_at = self._world.monotonic() + BIRTH_S
        while len(await self._engine.nodes()) < self._workers:
            for child in self._children:
                if child.returncode is not None:
                    raise OutlastError(f"a worker of the demo {how_it_ended(child.returncode)} as it started")
            if self._world.monotonic() > give_up_at:
                raise OutlastError(f"the demo's workers had not started after {BIRTH_S:.0f} s")
            await asyncio.sleep(LOOK_S)

    async def _spawn(self) -> None:
        letter = Letter(self._place.url, self._place.schema, str(self._place.record))
        child = await lifeline.spawn(["-c", _WORKER], letter=msgspec.json.encode(letter) + b"\n")
        self._children.append(child)

    async def _work(self) -> float:
        """Until all is done and killed as often as wanted. Returns the seconds it took."""
        began = self._killed_at = self._world.monotonic()
        await self._feed()
        looked_at = began
        while True:
            await asyncio.sleep(TICK_S)
            self._tally.read()
            now = self._world.monotonic()
            self._bar.show(len(self._tally.acks), total=len(self._started))
            if self._is_kill_due(now):
                await self._try_to_kill()
            if now - looked_at < LOOK_S:
                continue
            looked_at = now
            if await self._is_all_done():
                self._bar.show(len(self._started))
                if self._kills >= self._kills_wanted or now - began > MORE_S:
                    return now - began
                await self._feed()

    async def _feed(self) -> None:
        """Starts one job for each file."""
        self._rounds += 1
        paths = list(self._files.found)
        handles = await self._engine.start_many(self._job.new(path=path) for path in paths)
        self._started |= {handle.id: path for handle, path in zip(handles, paths, strict=True)}

    async def _is_all_done(self) -> bool:
        return not any(queue.ready or queue.running or queue.scheduled for queue in await self._engine.queues())

    def _is_kill_due(self, now: float) -> bool:
        """At even distances on the way; and now and then when the way is long."""
        done, total = len(self._tally.acks), len(self._started)
        if self._kills < self._kills_wanted:
            return done >= total * (self._kills + 1) / (self._kills_wanted + 1)
        return now - self._killed_at > AGAIN_S and done < total * 0.9

    async def _try_to_kill(self) -> None:
        """Kills one worker, if it holds jobs at this very moment: frozen first, so that they cannot slip away."""
        child = self._world.dice.choice(self._children)
        child.send_signal(signal.SIGSTOP)
        node = await self._node_of(child)
        if node is None or node.running == 0:
            child.send_signal(signal.SIGCONT)
            return
        child.kill()
        await child.wait()
        self._children.remove(child)
        self._kills += 1
        self._killed_at = self._world.monotonic()
        self._bar.say(f"killed worker process {child.pid}, which held {node.running} jobs; another one takes its place")
        await self._spawn()

    async def _node_of(self, child: asyncio.subprocess.Process) -> Node | None:
        return next((node for node in await self._engine.nodes() if node.pid == child.pid), None)

    async def _end_children(self) -> None:
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
        for child in self._children:
            await child.wait()

    async def _check(self, seconds: float) -> Report:
        self._tally.read()
        direct = await asyncio.to_thread(self._files.unchanged)
        rows = {row.id: row async for row in self._engine.list_all(page=PAGE_MAX)}
        verdict = judge(self._started, rows, direct, self._tally)
        return self._report(verdict, seconds)

    def _report(self, verdict: Verdict, seconds: float) -> Report:
        jobs = len(self._started)
        sound = not verdict.lost and not verdict.committed_twice and verdict.matches
        return Report(
            store=self._engine.describe(),
            files=len(self._files.found),
            rounds=self._rounds,
            jobs=jobs,
            bytes=verdict.size,
            lines=verdict.lines,
            kills=self._kills,
            run_again=self._tally.run_again,
            lost=verdict.lost,
            committed_twice=verdict.committed_twice,
            matches=verdict.matches,
            changed=verdict.changed,
            unnamed=self._files.unnamed,
            seconds=round(seconds, 3),
            jobs_per_s=round(jobs / seconds, 1),
            good=sound and self._kills >= self._kills_wanted,
        )


def _end_on_sigterm() -> None:
    """Lets SIGTERM do what Ctrl-C does: the work is given up, and nothing is left behind."""
    task = asyncio.current_task()
    if task is not None:
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _say(report: Report) -> None:
    """The report for people."""
    rows = [
        ("database", report.store),
        ("files", f"{report.files:,}"),
        ("bytes", f"{report.bytes:,}"),
        ("lines", f"{report.lines:,}"),
        ("workers killed", f"{report.kills:,}"),
        ("jobs", f"{report.jobs:,}"),
        ("jobs run again", f"{report.run_again:,}"),
        ("lost", f"{report.lost:,}"),
        ("committed twice", f"{report.committed_twice:,}"),
        ("jobs per second", f"{report.jobs_per_s:,.0f} (kills included)"),
        ("seconds", f"{report.seconds:.1f}"),
    ]
    terminal.say_pairs(rows)
    terminal.say("")
    terminal.say(_verdict(report))


def _verdict(report: Report) -> str:
    if report.lost or report.committed_twice or not report.matches:
        return "NOT GOOD: the results are not those of a direct computation. This is a fault of outlast's own."
    said = "Every result is that of a direct computation; nothing was lost, and nothing was committed twice."
    if report.changed:
        said += f" {report.changed:,} files changed meanwhile and were not compared."
    if report.unnamed:
        said += f" {report.unnamed:,} files were left out, because their names are not text."
    if not report.good:
        said += f" But only {report.kills} kills hit a worker that held jobs: name a folder with more files."
    return said
