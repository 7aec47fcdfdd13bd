"""`objects`: what objects there are, what they hold, and calling, stopping and deleting them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final

import click

from outlast._kernel.objects import OBJECTS
from outlast.cli import terminal
from outlast.cli.options import DURATION, PAIR, Choice, shared
from outlast.engine import Engine, ObjectCounts, kind_of
from outlast.errors import ArgumentError, ConfigError, DefinitionError, NotFound, UsageError, did_you_mean
from outlast.objects import ObjectKind, PendingAlarm

_HEADERS: Final = ("id", "node", "version", "commits", "updated", "state")
_STATE_SHOWN: Final = 60


@click.group(invoke_without_command=True)
@shared
def objects(choice: Choice) -> None:
    """Show objects by class: how many there are, and how many a worker owns."""
    if click.get_current_context().invoked_subcommand is None:
        asyncio.run(_count(choice))


async def _count(choice: Choice) -> None:
    async with choice.opened() as engine:
        found = await engine.count_objects()
    if choice.json:
        terminal.say_json(found)
    elif found:
        say_counts(found)
    else:
        terminal.note("no objects; the first call of one makes it")


def say_counts(found: Sequence[ObjectCounts]) -> None:
    """The table of classes."""
    rows = [(each.type, each.objects, each.owned) for each in found]
    terminal.say_table(("object", "stored", "owned"), rows, right=("stored", "owned"))


@objects.command("list")
@click.argument("name", metavar="CLASS")
@click.option("--owned/--free", default=None, help="Only those that a worker owns, or that nobody does.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@click.option("--after", metavar="ID", default="", help="Go on after this id, the last one of the page before.")
@shared
def list_command(choice: Choice, name: str, owned: bool | None, limit: int, after: str) -> None:
    """List the objects of a class, by id. CLASS is the name that is stored: Counter."""
    asyncio.run(_list(choice, name, owned, limit, after))


async def _list(choice: Choice, name: str, owned: bool | None, limit: int, after: str) -> None:
    async with choice.opened() as engine:
        found = await engine.list_objects(name, after=after, limit=limit, owned=owned)
        known = [] if found else [each.type for each in await engine.count_objects()]
    if choice.json:
        terminal.say_json(found)
    elif found:
        at = terminal.now()
        rows = [
            (
                each.id,
                (each.node or "")[:12],
                each.version,
                each.commits,
                terminal.ago(each.updated_at, at),
                _brief(each.state),
            )
            for each in found
        ]
        terminal.say_table(_HEADERS, rows, right=("version", "commits"))
    else:
        terminal.note(f"no {terminal.clean(name)} fits" + ("" if name in known else did_you_mean(name, known)))


def _brief(state: Any) -> str:
    text = terminal.json_text(state, indent=None)
    return text if len(text) <= _STATE_SHOWN else f"{text[:_STATE_SHOWN]}…"


@objects.command()
@click.argument("name", metavar="CLASS")
@click.argument("id", metavar="ID")
@shared
def show(choice: Choice, name: str, id: str) -> None:
    """Show an object: its state, who owns it, and its alarms. Needs none of your code."""
    asyncio.run(_show(choice, name, id))


async def _show(choice: Choice, name: str, id: str) -> None:
    async with choice.opened() as engine:
        found = await engine.get_object(name, id)
        alarms = await engine.list_alarms(found)
    if choice.json:
        terminal.say_json({"object": found, "alarms": alarms})
        return
    at = terminal.now()
    terminal.say_pairs(
        [
            ("object", f"{found.type} {found.id}"),
            ("state", terminal.json_text(found.state, indent=None)),
            ("version", found.version),
            ("owner", found.node or "nobody"),
            ("commits", found.commits),
            ("created", f"{terminal.stamp(found.created_at)} ({terminal.ago(found.created_at, at)})"),
            ("updated", f"{terminal.stamp(found.updated_at)} ({terminal.ago(found.updated_at, at)})"),
        ]
    )
    if alarms:
        terminal.say("")
        terminal.say_table(("alarm", "rings", "again", "failures", "note"), [_alarm(each, at) for each in alarms])


def _alarm(alarm: PendingAlarm, at: datetime) -> tuple[object, ...]:
    again = alarm.cron or ("" if alarm.every is None else f"every {terminal.span(alarm.every)}")
    error = "" if alarm.error is None else f"{alarm.error.get('type')}: {alarm.error.get('message')}"
    rings = "has failed for good" if alarm.failed else terminal.ago(alarm.due_at, at)
    return alarm.name, rings, again, alarm.attempt or "", error


@objects.command()
@click.argument("cls", metavar="[APP:]CLASS")
@click.argument("id", metavar="ID")
@click.argument("handler", metavar="HANDLER")
@click.option(
    "--args", "text", metavar="JSON", help="Arguments as a JSON object, or an array; - reads it from standard input."
)
@click.option("--arg", "pairs", type=PAIR, multiple=True, metavar="NAME=VALUE", help="One argument; JSON, else text.")
@click.option("--key", metavar="KEY", help="Idempotency key: calls with the same one happen once.")
@click.option("--timeout", type=DURATION, metavar="DURATION", help="How long to wait for the answer.")
@click.option("--send", is_flag=True, help="Store the call and do not wait for its answer.")
@shared
def call(
    choice: Choice,
    cls: str,
    id: str,
    handler: str,
    text: str | None,
    pairs: tuple[tuple[str, Any], ...],
    key: str | None,
    timeout: float | None,
    send: bool,
) -> None:
    """Call a handler of an object and print its answer as JSON. A worker that knows CLASS must be alive.

    CLASS is the class, or the name that is stored, in APP, a module of yours: shop.objects:Counter.
    """
    if text is not None and pairs:
        raise click.UsageError("--args and --arg cannot be had together.")
    kind = _find(choice, cls)
    if handler not in kind.handlers:
        raise NotFound(f"{kind.name} has no handler {handler!r}{did_you_mean(handler, kind.handlers)}")
    args, kwargs = _arguments(text, pairs)
    asyncio.run(_call(choice, kind, id, handler, args, kwargs, key, timeout, send))


def _arguments(text: str | None, pairs: tuple[tuple[str, Any], ...]) -> tuple[list[Any], dict[str, Any]]:
    if text is None:
        return [], dict(pairs)
    try:
        given = json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f'--args must be JSON, such as {{"amount": 5}} or [5]: {error}') from None
    if isinstance(given, list):
        return given, {}
    if isinstance(given, dict):
        return [], given
    raise ArgumentError(f'--args must be a JSON object or array, such as {{"amount": 5}} or [5], not {given!r}')


async def _call(
    choice: Choice,
    kind: ObjectKind,
    id: str,
    handler: str,
    args: list[Any],
    kwargs: dict[str, Any],
    key: str | None,
    timeout: float | None,
    send: bool,
) -> None:
    async with choice.opened(create=send, rings=True) as engine:
        bound = getattr(engine.object(kind.cls, id), handler).with_options(timeout=timeout, idempotency_key=key)
        if send:
            await bound.send(*args, **kwargs)
            terminal.note("stored; a worker serves it")
            return
        await _require_worker(engine, kind)
        answer = await bound(*args, **kwargs)
    terminal.say_json(answer)


@objects.command()
@click.argument("cls", metavar="[APP:]CLASS")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@shared
def stop(choice: Choice, cls: str, ids: tuple[str, ...]) -> None:
    """Let objects finish the calls that wait for them, and be nobody's; the next call may start them elsewhere."""
    asyncio.run(_each(choice, _find(choice, cls), ids, "stopped", lambda engine, ref: engine.stop_object(ref)))


@objects.command()
@click.argument("cls", metavar="[APP:]CLASS")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@shared
def delete(choice: Choice, cls: str, ids: tuple[str, ...]) -> None:
    """Delete objects with their state and alarms, for good; a later call makes a new one."""
    asyncio.run(_each(choice, _find(choice, cls), ids, "deleted", _delete))


async def _delete(engine: Engine, ref: Any) -> None:
    if not await engine.delete_object(ref):
        raise NotFound(f"no {ref.outlast_kind.name} has the id {ref.id!r}")


async def _each(
    choice: Choice,
    kind: ObjectKind,
    ids: tuple[str, ...],
    done: str,
    act: Callable[[Engine, Any], Awaitable[None]],
) -> None:
    async with choice.opened(rings=True) as engine:
        for id in ids:
            ref: Any = engine.object(kind.cls, id)
            if await engine.whereis(ref) is None and done == "deleted":
                await _require_worker(engine, kind)
            await act(engine, ref)
            if not choice.json:
                terminal.say(f"{terminal.clean(kind.name)} {terminal.clean(id)} is {done}")
    if choice.json:
        terminal.say_json([{"type": kind.name, "id": id, "done": done} for id in ids])


async def _require_worker(engine: Engine, kind: ObjectKind) -> None:
    if not await engine.nodes():
        raise UsageError(f"no worker is alive that could run {kind.name}: start one with `outlast worker`")


def _find(choice: Choice, spec: str) -> ObjectKind:
    """The module's class of this name, else the one whose objects are stored under it."""
    app, _, name = spec.rpartition(":")
    choice.name_app(app or None)
    if choice.app is None:
        raise click.UsageError(f"Which module is {spec!r} in? Write shop.objects:{spec}, or give --app.")
    loaded = choice.loaded()
    found = getattr(loaded.module, name, None) if loaded is not None else None
    if isinstance(found, type):
        try:
            return kind_of(found)
        except (ConfigError, DefinitionError) as error:
            raise NotFound(f"{name!r} in {choice.app} is no object: {error}") from None
    kinds = {kind.name: kind for kind in OBJECTS if isinstance(kind, ObjectKind)}
    if name in kinds:
        return kinds[name]
    raise NotFound(f"no object is called {name!r} in {choice.app}{did_you_mean(name, kinds)}")
