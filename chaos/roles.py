"""What the processes of a crash run do: work, feed, or get in the way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from chaos import programs, repertoire
from chaos.callers import Callers
from chaos.cells import Cell
from chaos.cells import watch as watch_rings
from chaos.editions import EDITIONS
from chaos.editions import new as new_of
from chaos.gauges import deafen, gauge
from chaos.history import History, now_us
from chaos.machines import box_key, new_box
from chaos.mutations import MUTATIONS
from chaos.postman import deliver_all, send_off
from outlast import Engine
from outlast._model import Settlement
from outlast.errors import StoreError, StoreUnavailable

CHUNK = 50
CHUNK_LIMITED = 10
"""Instances that the feeder starts together; those share their limits, too."""
_LOOK_S = 0.01
_SNATCH_S = 0.001
"""How soon an ill-behaved neighbour tries again to get a lock."""


class Order(msgspec.Struct):
    """What a new process is to do.

    Attributes:
        role: One of `ROLES`.
        name: What its history is called.
        folder: Where its history and its log go.
        url: The database.
        seed: Of its own dice.
        options: The engine's.
        engines: Of a worker: how many it opens.
        mutation: Of a worker: the bug to plant into it.
        jobs: Of a feeder: how many to start.
        program: Of a feeder: the one program to start; None: an ordinary mixture.
        nap_s: Of a feeder: the shortest and longest time that a job takes.
        budget: Of a feeder: the file that says how many it may have started by now.
        size: Of a feeder: how many children a family has, or how many signals a box is sent.
        shares: Of a feeder: programs, and how often each is chosen, where that is not the ordinary mixture.
        later: Of a feeder: the share of starts that become due a little later.
        deaf: No hint from another process reaches it, and none leaves it.
        gauged: Of a worker: it writes down how long its claims take, how often it connects, how many tasks it has.
        keys: Of a feeder: concurrency keys and how often each is chosen, as `name` or `name/partition`.
        rates: Of a feeder: rate limits, likewise.
        boxes: Of a sender: whom it sends signals to.
        mails: Of a sender: how many to each.
        forerunners: Of a sender: histories of those that were killed at its work.
        cells: Of a worker or a caller: how many objects there are to call.
        calls: How many it makes at the same time, until there is the file `budget`; 0: none.
        place: Its place among all processes.
        edition: Of a worker or a feeder: which edition of the application it is; 0: one that knows of none.
        clock: The file that its wall clock follows; empty: the machine's clock.
    """

    role: str
    name: str
    folder: str
    url: str
    seed: int = 0
    options: dict[str, Any] = {}
    engines: int = 1
    mutation: str | None = None
    jobs: int = 0
    program: str | None = None
    nap_s: tuple[float, float] = (0.0, 0.0)
    budget: str = ""
    size: int = 0
    shares: dict[str, float] = {}
    later: float = 0.05
    deaf: bool = False
    gauged: bool = False
    keys: dict[str, float] = {}
    rates: dict[str, float] = {}
    boxes: list[int] = []
    mails: int = 0
    forerunners: list[str] = []
    cells: int = 0
    calls: int = 0
    place: int = 0
    edition: int = 0
    clock: str = ""

    @property
    def history(self) -> Path:
        """Its history."""
        return Path(self.folder, f"{self.name}.history")


async def work(order: Order) -> None:
    """Runs jobs until SIGTERM."""
    history = History(order.history)
    history.write("edition", order.edition)
    for program in (*repertoire.PROGRAMS.values(), *EDITIONS[order.edition]):
        programs.watch(program, history)
    if order.cells:
        await _keep(order, history, _watched_engine(order, history))
        return
    if order.engines == 1:
        await _run_one(order, history)
        return
    engines = [_watched_engine(order, history) for _ in range(order.engines)]
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        for engine in engines:
            await stack.enter_async_context(engine)
        await stop.wait()


async def call(order: Order) -> None:
    """Calls objects that others own, until there is the file."""
    history = History(order.history)
    await _keep(order, history, Engine(order.url, programs=(), queues={}, **order.options))


async def _keep(order: Order, history: History, engine: Engine) -> None:
    """Calls objects, and owns them where the engine has queues, until SIGTERM."""
    watch_rings(history)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with engine:
        engine.object(Cell, "c0")  # it knows what it may own.
        callers = Callers(
            engine,
            history,
            Random(order.seed),
            place=order.place,
            cells=order.cells,
            stop=Path(order.budget),
        )
        calling = asyncio.create_task(callers.run(order.calls))
        await stop.wait()
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)


async def _run_one(order: Order, history: History) -> None:
    """Runs an engine until SIGTERM. One that the database does not let in is tried again, as a supervisor would."""
    opened = False

    def note(name: str, fields: dict[str, Any]) -> None:
        nonlocal opened
        opened |= name == "engine.started"

    while True:
        engine = _watched_engine(order, history)
        engine.events.listen(note)
        try:
            await engine.run_forever()
            return
        except StoreUnavailable:
            if opened:
                raise
            await asyncio.sleep(_LOOK_S * 5)


def _watched_engine(order: Order, history: History) -> Engine:
    known = (*repertoire.PROGRAMS.values(), *EDITIONS[order.edition])
    engine = Engine(order.url, programs=known, **order.options)
    engine.events.listen(_Listener(history))
    if order.mutation is not None:
        MUTATIONS[order.mutation](engine)
    _watch_leases(engine, history)
    _watch_tokens(engine, history)
    _watch_refusals(engine, history)
    if order.gauged:
        gauge(engine, history)
    if order.deaf:
        deafen(engine)
    _stop_when_asked(engine, history)
    return engine


class _Listener:
    """Writes what the engine reports into the history."""

    def __init__(self, history: History) -> None:
        self._history = history

    def __call__(self, name: str, fields: dict[str, Any]) -> None:
        write = self._history.write
        match name:
            case "commit.stop":
                self._history.write_all([("commit", *item) for item in fields["settled"]])
            case "claim.stale":
                write("stale", fields["id"], fields["epoch"])
            case "claim.withheld":
                write("withheld", fields["id"], fields["epoch"])
            case "node.died":
                write("bury", fields["node"])
            case "node.fenced":
                write("fenced")
            case "node.buried":
                write("buried")
            case "engine.started":
                write("up")
            case "loop.failed":
                write("trouble", fields["loop"], fields["error"])
            case "outcome.refused" | "instance.quarantined" if fields["program"] not in repertoire.ENDS:
                write("trouble", name, fields["error"])


def _watch_leases(engine: Engine, history: History) -> None:
    """Writes down each sign of life that was given: when it began, once it is known to have succeeded."""
    leases: Any = engine._store.leases
    register, make_renewer = leases.register, leases.renewer

    async def registered(node: str, *values: Any) -> None:
        began_us = now_us()
        await register(node, *values)
        history.write("beat", node, at_us=began_us)

    def renewer() -> Any:
        made = make_renewer()
        renew = made.renew

        def renewed(node: str) -> bool:
            began_us = now_us()
            alive: bool = renew(node)
            if alive:
                history.write("beat", node, at_us=began_us)
            return alive

        made.renew = renewed
        return made

    leases.register, leases.renewer = registered, renewer


def _watch_tokens(engine: Engine, history: History) -> None:
    """Writes down what each claim has taken of a rate limit, and between which moments."""
    claims: Any = engine._store.claims
    take = claims.take

    async def taken(*values: Any) -> Any:
        since_us = now_us()
        found = await take(*values)
        history.write_all(
            ("paid", claim.id, claim.epoch, claim.rate_limit, claim.rate_weight, since_us)
            for claim in found
            if claim.rate_limit is not None
        )
        return found

    claims.take = taken


def _watch_refusals(engine: Engine, history: History) -> None:
    """Writes down each outcome that the database should refuse, when it has, and how many were in its batch."""
    claims: Any = engine._store.claims
    commit = claims.commit

    async def watched(batch: Sequence[Settlement]) -> Any:
        try:
            return await commit(batch)
        except StoreError:
            bad = [item for item in batch if item.result is not None and programs.REFUSED in str(item.result)]
            history.write_all(("refused", item.id, item.epoch, len(batch)) for item in bad)
            raise

    claims.commit = watched


def _stop_when_asked(engine: Engine, history: History) -> None:
    """After SIGUSR1 the process stops itself with outcomes in hand, just before they are sent; SIGUSR2 undoes it."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, asked.set)
    loop.add_signal_handler(signal.SIGUSR2, asked.clear)
    claims: Any = engine._store.claims
    commit = claims.commit

    async def stopped(batch: Sequence[Settlement]) -> Any:
        if asked.is_set():
            asked.clear()
            history.write("pause")
            os.kill(os.getpid(), signal.SIGSTOP)
        return await commit(batch)

    claims.commit = stopped


async def feed(order: Order) -> None:
    """Starts instances as the budget allows, and writes down those that were acknowledged."""
    history, dice = History(order.history), Random(order.seed)
    chunk = CHUNK_LIMITED if order.keys or order.rates else CHUNK
    made = 0
    held: list[tuple[str, int]] = []  # trips that wait for their signal until others have been started.
    engine = Engine(order.url, programs=(), queues={}, **order.options)
    if order.deaf:
        deafen(engine)
    async with engine:
        history.write("up")
        history.write("edition", order.edition)
        while made < order.jobs:
            allowed, is_all = _allowed(order)
            count = min(chunk, allowed - made)
            if count < 1:
                if is_all:
                    break
                await asyncio.sleep(_LOOK_S)
                continue
            try:
                started = await _start(engine, order, dice, range(made, made + count))
            except StoreError:
                await asyncio.sleep(_LOOK_S * 5)
                continue
            history.write_all(("start", id, name, n) for id, name, n in started)
            made += count
            if order.program == "trip":
                trips = [(id, n) for id, _, n in started]
                await send_off(engine, held + trips[::2])
                held = trips[1::2]
        await send_off(engine, held)


async def _start(engine: Engine, order: Order, dice: Random, numbers: Sequence[int]) -> list[tuple[str, str, int]]:
    """Starts instances with these numbers. Returns id, program and number of each."""
    names = [order.program or programs.draw(dice, order.shares) for _ in numbers]
    naps_s = [round(dice.uniform(*order.nap_s), 4) for _ in numbers]
    # Some become due later, so that the timekeeper is at work, too.
    options: dict[str, Any] = {"schedule_in": 0.2 if dice.random() < order.later else None}
    if order.program == "box":  # each has a business key: signals reach it by that.
        boxes = [
            engine.start(
                new_box(n, nap_s, order.size),
                correlation_key=box_key(n),
                correlation_scope="live",
                on_conflict="return",
            )
            for n, nap_s in zip(numbers, naps_s, strict=True)
        ]
        handles = await asyncio.gather(*boxes)
    else:
        if order.program == "family":  # woken, it goes before its own children that are still to run.
            options["priority"] = -1
        if order.keys:
            options["concurrency_key"] = _limit(dice, order.keys)
        if order.rates:
            options |= {"rate_limit": _limit(dice, order.rates), "weight": dice.choice((1, 1, 2))}
        starts = [
            new_of(order.edition, name, n=n, nap_s=nap_s)
            if order.edition
            else repertoire.new(name, n=n, nap_s=nap_s, size=order.size)
            for name, n, nap_s in zip(names, numbers, naps_s, strict=True)
        ]
        handles = await engine.start_many(starts, **options)
    return [(handle.id, name, n) for handle, name, n in zip(handles, names, numbers, strict=True)]


def _limit(dice: Random, shares: dict[str, float]) -> str | tuple[str, str]:
    (text,) = dice.choices(list(shares), weights=list(shares.values()))
    name, _, partition = text.partition("/")
    return (name, partition) if partition else name


async def send(order: Order) -> None:
    """Sends signals to boxes, and writes down what came of each."""
    history = History(order.history)
    async with Engine(order.url, programs=(), queues={}, **order.options) as engine:
        history.write("up")
        await deliver_all(
            engine,
            history,
            Random(order.seed),
            boxes=order.boxes,
            mails=order.mails,
            nap_s=order.nap_s,
            forerunners=[Path(order.folder, f"{name}.history") for name in order.forerunners],
        )


def _allowed(order: Order) -> tuple[int, bool]:
    """How many may have been started by now, and whether that is all."""
    try:
        count, _, end = Path(order.budget).read_text().partition(" ")
    except FileNotFoundError:
        return 0, False
    return int(count or 0), bool(end)


async def hold_locks(order: Order) -> None:
    """Takes SQLite's write lock again and again, as an ill-behaved neighbour would."""
    history, dice = History(order.history), Random(order.seed)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connection = sqlite3.connect(order.url.removeprefix("sqlite:///"), timeout=0.0, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    history.write("up")
    with contextlib.closing(connection):
        while not stop.is_set():
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:  # SQLite's own waiting is longer each time: among many it hardly gets it.
                await asyncio.sleep(_SNATCH_S)
                continue
            began_us = now_us()
            time.sleep(dice.uniform(*order.nap_s))  # noqa: ASYNC251 - there is nothing else on this loop.
            connection.execute("COMMIT")
            history.write("held", now_us(), at_us=began_us)
            await asyncio.sleep(dice.uniform(*order.nap_s))


ROLES: dict[str, Callable[[Order], Coroutine[Any, Any, None]]] = {
    "worker": work,
    "feeder": feed,
    "sender": send,
    "locker": hold_locks,
    "caller": call,
}
