"""`start`: a job or a machine from the shell."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Final

import click

from outlast.cli import terminal
from outlast.cli.options import DURATION, LIMIT, PAIR, TAG, Choice, Moment, ParamType, shared
from outlast.config import duration_s
from outlast.engine import Handle
from outlast.errors import ArgumentError, ConfigError, DuplicateKey, InstanceError, UnknownProgram, did_you_mean
from outlast.jobs import Job
from outlast.machines import MachineProgram
from outlast.workflows import Workflow

FOREVER: Final = "forever"


class _StartCommand(click.Command):
    """Lets `--wait` stand alone or take seconds, without swallowing the job's name behind it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As usual, with a lone `--wait` spelled out."""
        spelled: list[str] = []
        for place, arg in enumerate(args):
            follower = args[place + 1] if place + 1 < len(args) else ""
            spelled.append(f"--wait={FOREVER}" if arg == "--wait" and not _is_duration(follower) else arg)
        return super().parse_args(ctx, spelled)


def _is_duration(text: str) -> bool:
    try:
        duration_s(text, name="it")
    except ConfigError:
        return False
    return True


class _Wait(ParamType):
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; infinity for ever."""
        return float("inf") if value == FOREVER else DURATION.convert(value, param, ctx)


@click.command(cls=_StartCommand)
@click.argument("job", metavar="[APP:]JOB")
@click.option(
    "--args", "text", metavar="JSON", help="All arguments as one JSON object; - reads it from standard input."
)
@click.option("--arg", "pairs", type=PAIR, multiple=True, metavar="NAME=VALUE", help="One argument; JSON, else text.")
@click.option("--queue", metavar="NAME", help="Where it goes instead of the job's own queue.")
@click.option("--priority", type=int, default=0, help="A lower number goes first (default 0).")
@click.option("--in", "delay_s", type=DURATION, metavar="DURATION", help="Not before so long from now: 30, 5m, 2h.")
@click.option("--at", type=Moment(back=False), metavar="WHEN", help="Not before this instant, in ISO 8601.")
@click.option("--key", metavar="KEY", help="Correlation key: at most one live instance holds it.")
@click.option(
    "--scope",
    type=click.Choice(["live", "always", "none"]),
    help="How long it holds the key: until it ends (live, the default), until it is deleted (always), or not at all.",
)
@click.option("--on-conflict", type=click.Choice(["raise", "return"]), default="raise", help="When the key is held.")
@click.option("--concurrency-key", type=LIMIT, metavar="LIMIT", help="Steps with this key wait for each other.")
@click.option("--rate-limit", type=LIMIT, metavar="LIMIT", help="Its first step waits for this rate limit.")
@click.option("--weight", type=float, metavar="NUMBER", help="Tokens it takes from the rate limit (default 1).")
@click.option("--fair-key", metavar="KEY", help="Whose share of the queue it counts against: keys take turns.")
@click.option("--tag", "tags", type=TAG, multiple=True, metavar="NAME=VALUE", help="It is found by this; repeatable.")
@click.option("--wait", type=_Wait(), metavar="[SECONDS]", help="Wait for the end, at most so long; print the result.")
@shared
def start(
    choice: Choice,
    job: str,
    text: str | None,
    pairs: tuple[tuple[str, Any], ...],
    wait: float | None,
    **options: Any,
) -> None:
    """Start a job, a machine or a workflow and print the id of the instance.

    JOB is its name, or its function's, in APP, a module of yours: shop.jobs:send_email; where it holds several engines,
    shop.jobs:engine:send_email. Without APP, the module is that of --app or [tool.outlast].
    A LIMIT is NAME or NAME[PARTITION].
    """
    app, _, name = job.rpartition(":")
    choice.name_app(app or None)
    if choice.app is None:
        raise click.UsageError(f"Which module is {job!r} in? Write shop.jobs:{job}, or give --app.")
    if text is not None and pairs:
        raise click.UsageError("--args and --arg cannot be had together.")
    if options["delay_s"] is not None and options["at"] is not None:
        raise click.UsageError("--in and --at cannot be had together.")
    for option, needed in (("scope", "key"), ("weight", "rate_limit")):
        if options[option] is not None and options[needed] is None:
            raise click.UsageError(f"--{option} needs --{needed.replace('_', '-')}.")
    what = described(find_startable(choice, name), text, pairs)
    asyncio.run(_start(choice, what, wait, options))


Startable = Job[..., Any, Any, Any] | MachineProgram | Workflow[..., Any]

_SHAPES: Final = (Job, MachineProgram, Workflow)


def find_startable(choice: Choice, name: str) -> Startable:
    """The module's job, machine or workflow of this name, else the one that is known under it."""
    app = choice.loaded()
    found: object = None if app is None else getattr(app.module, name, None)
    found = getattr(found, "outlast_program", found)
    if isinstance(found, _SHAPES):
        return found
    engine = choice.engine()
    known = {program.name for program in engine.programs}
    if name in known and isinstance(found := engine.program(name), _SHAPES):
        return found
    raise UnknownProgram(f"no job, machine or workflow is called {name!r} in {choice.app}{did_you_mean(name, known)}")


def described(job: Startable, text: str | None, pairs: tuple[tuple[str, Any], ...]) -> Any:
    """A start with the arguments that the options give. Raises: ArgumentError, EncodingError."""
    if text is None:
        return job.new_from_json(json.dumps(dict(pairs)))
    given = sys.stdin.read() if text == "-" else text
    try:
        return job.new_from_json(given)
    except ArgumentError:
        raise
    except ValueError as error:
        raise ArgumentError(f'--args must be a JSON object, such as {{"to": "ann"}}: {error}') from None


async def _start(choice: Choice, what: Any, wait: float | None, options: dict[str, Any]) -> None:
    async with choice.opened(create=True, rings=True) as engine:
        try:
            handle = await engine.start(
                what,
                schedule_in=options["delay_s"],
                schedule_at=options["at"],
                priority=options["priority"],
                queue=options["queue"],
                correlation_key=options["key"],
                correlation_scope=options["scope"] or "live",
                on_conflict=options["on_conflict"],
                concurrency_key=options["concurrency_key"],
                rate_limit=options["rate_limit"],
                weight=1.0 if options["weight"] is None else options["weight"],
                fair_key=options["fair_key"],
                tags=dict(options["tags"]),
            )
        except DuplicateKey as error:
            error.args = (
                f"key {error.key!r} is held by {error.handle.id}; --on-conflict return answers with that one",
            )
            raise
        if not choice.json and not await engine.nodes():
            terminal.note(f"no worker is alive yet; to run one: outlast worker {choice.app}")
        if wait is not None:
            await _await(choice, engine.handle(handle.id), wait)  # plain data, whatever the job's types are.
        elif choice.json:
            terminal.say_json({"id": handle.id})
        else:
            terminal.say(handle.id)


async def _await(choice: Choice, handle: Handle[Any], wait: float) -> None:
    if not choice.json:
        terminal.note(f"waiting for {handle.id}")
    try:
        result = await handle.result(None if wait == float("inf") else wait)
    except InstanceError as error:
        if not choice.json:
            raise
        ended = await handle.get()
        terminal.say_json({"id": handle.id, "status": ended.status, "result": None, "error": error.error})
        raise click.exceptions.Exit(1) from None
    if choice.json:
        terminal.say_json({"id": handle.id, "status": "done", "result": result, "error": None})
    else:
        terminal.say(terminal.json_text(result))
