"""The command `outlast`: its families of commands, and what becomes of an error."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from typing import Any, Final

import click

from outlast import __version__
from outlast.cli import (
    acts,
    deletion,
    health,
    instances,
    journal,
    limits,
    logs,
    objects,
    queues,
    schedules,
    setup,
    signals,
    start,
    terminal,
)
from outlast.cli.demo import demo
from outlast.cli.options import JSON_KEY, show_traceback
from outlast.cli.worker import worker
from outlast.errors import (
    DuplicateKey,
    IllegalMove,
    NotFound,
    OutlastError,
    StoreError,
    UnknownProgram,
    UnknownQueue,
    UsageError,
)

FAILED: Final = 1
WRONG_USAGE: Final = 2
NO_DATABASE: Final = 3
NOT_FOUND: Final = 4
INTERRUPTED: Final = 130

# The first kind that fits counts.
_EXIT_CODES: Final[tuple[tuple[type[OutlastError], int], ...]] = (
    (NotFound, NOT_FOUND),
    (UnknownProgram, NOT_FOUND),
    (UnknownQueue, NOT_FOUND),
    (DuplicateKey, FAILED),
    (IllegalMove, FAILED),
    (UsageError, WRONG_USAGE),
    (StoreError, NO_DATABASE),
)


class Failure(click.ClickException):
    """An error on its way to the user: one sentence, or one JSON object, and an exit code."""

    def __init__(self, kind: str, message: str, exit_code: int, *, as_json: bool) -> None:
        super().__init__(message)
        self.kind = kind
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it on the class, and sets it like this.
        self.as_json = as_json

    def show(self, file: Any = None) -> None:
        """Writes it to standard error."""
        if self.as_json:
            told = {"error": self.kind, "message": self.message, "exit_code": self.exit_code}
            terminal.note(terminal.json_text(told, indent=None))
        else:
            terminal.note(f"outlast: {terminal.clean_lines(self.message)}")


class Commands(click.Group):
    """Turns every error of a command into a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of this file, not of the alphabet."""
        return list(self.commands)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Reads the options of all commands."""
        with _cleaned():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError):  # whatever a test or a host put in its place.
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        try:
            with _cleaned():
                return super().invoke(ctx)
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise _failure(ctx, "Interrupted", "interrupted", INTERRUPTED) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except OutlastError as error:
            show_traceback(ctx)
            raise _failure(ctx, type(error).__name__, _sentence(error), exit_code_of(error)) from error
        except UnicodeError as error:
            show_traceback(ctx)
            raise _failure(
                ctx, type(error).__name__, f"what was given is not UTF-8 text: {error}", WRONG_USAGE
            ) from error
        except OSError as error:
            show_traceback(ctx)
            raise _failure(ctx, type(error).__name__, f"the system refused: {error}", FAILED) from error
        except Exception as error:
            show_traceback(ctx)
            kind = type(error).__name__
            message = f"unexpected {kind}: {error}. This is a fault of outlast's own; --debug shows where it came from"
            raise _failure(ctx, kind, message, FAILED) from error


@contextlib.contextmanager
def _cleaned() -> Iterator[None]:
    """Lets click's own errors, which quote what was typed, pass without what a terminal would obey."""
    try:
        yield
    except click.ClickException as error:
        error.message = terminal.clean_lines(error.message)  # type: ignore[misc]  # its own, until it is shown.
        raise


def exit_code_of(error: OutlastError) -> int:
    """What a command that ended with this error answers to its caller."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), FAILED)


def _failure(ctx: click.Context, kind: str, message: str, code: int) -> Failure:
    return Failure(kind, message, code, as_json=bool(ctx.meta.get(JSON_KEY)))


def _sentence(error: OutlastError) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


EPILOG: Final = """\b
Exit codes:
  0    done
  1    what was asked for failed: a job failed, doctor found a problem
  2    wrong usage, or a wrong setting
  3    the database cannot be used
  4    there is no such instance, job or object
  130  interrupted by Ctrl-C

\b
Settings come from options, then OUTLAST_* variables (OUTLAST_DATABASE_URL for the database), then
[tool.outlast] in pyproject.toml, then defaults; `outlast config` shows each with its source.
"""


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="outlast", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Durable jobs, machines, workflows and objects on SQLite or Postgres.

    Run workers, start work, see and steer what becomes of it.
    """


for command in (
    demo,
    worker,
    setup.migrate,
    setup.config,
    start.start,
    instances.list_command,
    instances.show,
    logs.logs,
    instances.cancel,
    signals.signal,
    signals.signals,
    journal.pending,
    journal.input_,
    journal.graph,
    acts.pause,
    acts.resume,
    acts.retry,
    deletion.delete,
    queues.queues,
    limits.limits,
    schedules.schedules,
    objects.objects,
    health.stats,
    health.doctor,
):
    main.add_command(command)
