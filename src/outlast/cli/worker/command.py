"""`worker`: runs jobs until it is told to stop, in one process or several."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any, Final

import click

from outlast.cli import terminal
from outlast.cli.options import Choice, shared
from outlast.cli.worker import lifeline
from outlast.cli.worker.supervisor import Supervisor
from outlast.config import parse_queues
from outlast.engine import Engine
from outlast.errors import ConfigError

log = logging.getLogger("outlast.worker")

LEVELS: Final = ("debug", "info", "warning", "error")


@click.command()
@click.argument("module", metavar="[APP]", required=False)
@click.option("--queues", metavar="NAME:N,...", help="Queues to serve, each with its concurrency: default:10,email:5.")
@click.option(
    "--processes", type=click.IntRange(1, 1_000), default=1, show_default=True, help="How many worker processes."
)
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="What to log.")
@click.option("--lifeline", "is_child", is_flag=True, hidden=True)
@shared
def worker(
    choice: Choice, module: str | None, queues: str | None, processes: int, log_level: str, is_child: bool
) -> None:
    """Run the jobs of APP, a module of yours: shop.jobs, or shop.jobs:engine where it has several engines.

    Without APP it is what [tool.outlast] app names. The engine in APP, if it has one, says which database and which
    queues, unless --url and --queues do. Logs go to standard error; with --json each line is an object.

    The first Ctrl-C or SIGTERM lets running steps end and gives back the rest; a second one ends at once. With
    --processes, a worker that dies is replaced.
    """
    choice.name_app(module)
    if is_child:
        lifeline.end_with_parent()
    engine = _prepared(choice, queues)
    log_to_stderr(log_level, as_json=choice.json)
    if choice.url is not None and choice.url != engine.shown_url and not is_child:
        log.warning("the password in --url can be seen by others on this machine; OUTLAST_DATABASE_URL cannot")
    if processes == 1:
        asyncio.run(engine.run_forever())
        return
    if engine.sharing_warning is not None:
        log.warning("%d processes on one file: %s", processes, engine.sharing_warning)
    if engine.database_file is None and engine.config.url.startswith("sqlite"):
        raise ConfigError("a database in memory belongs to one process: leave --processes out, or name a file")
    code = asyncio.run(_supervise(_arguments(choice, queues, log_level), processes))
    if code:
        raise click.exceptions.Exit(code)


def _prepared(choice: Choice, queues: str | None) -> Engine:
    """The engine to run. Raises: AppError, ConfigError."""
    if choice.app is None:
        raise click.UsageError("Which jobs? Name the module that holds them: outlast worker shop.jobs")
    choice.loaded()
    engine = choice.engine()
    if not engine.programs:
        raise ConfigError(f"no job is defined in {choice.app}: a worker of it would have nothing to run")
    if queues is not None:
        engine.configure(queues=parse_queues(queues, name="--queues"))
    if not engine.config.queues:
        raise ConfigError("this worker would serve no queue: give --queues default:10")
    return engine


def _arguments(choice: Choice, queues: str | None, log_level: str) -> list[str]:
    """The command of one child."""
    arguments = ["-m", "outlast", "worker", str(choice.app), "--lifeline", "--log-level", log_level]
    if choice.url is not None:
        arguments += ["--url", choice.url]
    if queues is not None:
        arguments += ["--queues", queues]
    return [*arguments, "--json"] if choice.json else arguments


async def _supervise(arguments: list[str], processes: int) -> int:
    return await Supervisor(arguments, processes).run()


def log_to_stderr(level: str, *, as_json: bool) -> None:
    """Sends logs to standard error, unless the user's own code has set up logging."""
    logging.getLogger("outlast").setLevel(level.upper())
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonLines() if as_json else _CleanLines("%(asctime)s %(levelname)-7s [%(process)d] %(message)s")
    )
    logging.basicConfig(handlers=[handler], level=max(logging.INFO, logging.getLogger("outlast").level))


class _CleanLines(logging.Formatter):
    """Names and errors of others are in here: nothing may steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return terminal.clean_lines(super().format(record))


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "process": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = {
            key.removeprefix("outlast_"): value for key, value in vars(record).items() if key.startswith("outlast_")
        }
        if fields:
            told["fields"] = fields
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)
