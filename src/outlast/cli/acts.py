"""`pause`, `resume` and `retry`: what operators do with single instances, and the record of it."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click

from outlast._model import Act
from outlast.cli import terminal
from outlast.cli.options import PAIR, Choice, shared
from outlast.cli.steering import steer_each
from outlast.engine import Changes

F = TypeVar("F", bound=Callable[..., Any])
_BRIEF_CHARS: Final = 100


def _recorded(function: F) -> F:
    """The options that an act is recorded with."""
    who = click.option("--by", metavar="NAME", help="Who does this, for the record (default: the user of this shell).")
    return click.option("--reason", default="", help="Why, for the record.")(who(function))


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--tree", is_flag=True, help="Their live descendants, too.")
@_recorded
@shared
def pause(choice: Choice, ids: tuple[str, ...], reason: str, by: str | None, tree: bool) -> None:
    """Let instances begin no further step until they are resumed. Steps under way run to their end."""
    who = by or _user()
    steer_each(choice, ids, "paused", lambda engine, id: engine.pause(id, reason, tree=tree, by=who))


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--tree", is_flag=True, help="Their live descendants, too.")
@_recorded
@shared
def resume(choice: Choice, ids: tuple[str, ...], reason: str, by: str | None, tree: bool) -> None:
    """Take the pause of instances back. What came due meanwhile takes effect now."""
    who = by or _user()
    steer_each(choice, ids, "resumed", lambda engine, id: engine.resume(id, reason, tree=tree, by=who))


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--from",
    "from_step",
    metavar="STEP",
    help="Forget this step of a workflow, and all that was over after it: a key such as charge#2, or the name of one "
    "that was called once. Of a machine: the step to run next.",
)
@click.option("--input", "input_", metavar="JSON", help="Arguments to change, as a JSON object; the others stay.")
@click.option("--state", metavar="JSON", help="Fields of a machine to change, as a JSON object; the others stay.")
@click.option(
    "--result-of",
    "results",
    type=PAIR,
    multiple=True,
    metavar="STEP=JSON",
    help="The result that a step of a workflow has from now on; may be repeated.",
)
@_recorded
@shared
def retry(
    choice: Choice,
    ids: tuple[str, ...],
    from_step: str | None,
    input_: str | None,
    state: str | None,
    results: tuple[tuple[str, Any], ...],
    reason: str,
    by: str | None,
) -> None:
    """Run failed, cancelled or quarantined instances again, with all their attempts.

    What is given with --input, --state and --result-of is checked by the program: name your app with --app, or in
    pyproject.toml.
    """
    changes: Changes = {"from_step": from_step, "reason": reason, "by": by or _user()}
    if input_ is not None:
        changes["input"] = _object("--input", input_)
    if state is not None:
        changes["state"] = _object("--state", state)
    if results:
        changes["result_of"] = dict(results)
    if (input_, state, results) != (None, None, ()):
        choice.loaded()
    steer_each(choice, ids, "runs again", lambda engine, id: engine.retry(id, **changes))


def _object(option: str, text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise click.BadParameter(f'{text!r} is not a JSON object such as {{"order": 5}}', param_hint=option)
    return found


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name.
        return None


def say_acts(acts: Sequence[Act]) -> None:
    """What operators have done, as a timeline."""
    rows = [(terminal.stamp(act.at), act.act, act.by, act.reason, _brief(act.detail)) for act in acts]
    terminal.say_table(("at", "act", "by", "reason", "what"), rows)


def _brief(detail: Mapping[str, Any]) -> str:
    parts: list[str] = []
    if "from_step" in detail:
        parts.append(f"from {detail['from_step']}")
    if forgot := detail.get("forgot"):
        parts.append("forgot " + ", ".join(str(note["key"]) for note in forgot))
    for name in ("step", "input", "state"):
        if change := detail.get(name):
            parts.append(f"{name} was {terminal.json_text(change['before'], indent=None)}")
    for key, change in detail.get("results", {}).items():
        before = change["before"].get("value", change["before"].get("status"))
        parts.append(f"result of {key} was {terminal.json_text(before, indent=None)}")
    text = "; ".join(parts)
    return text if len(text) <= _BRIEF_CHARS else f"{text[: _BRIEF_CHARS - 3]}..."
