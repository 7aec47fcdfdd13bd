"""Workflows made at random: any construct within any other."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, Final

Workflow = Callable[[Any], Awaitable[None]]

_HEAD: Final = (
    "import asyncio\n"
    "from tests.graphs.shop import (\n"
    "    Rejected, call_child, charge, days, deliver, notify, parallel, reserve, ship, sleep, wait_for_signal\n"
    ")\n\n"
)
_SIMPLE: Final = (
    "await charge(order)",
    "await reserve(order)",
    "await notify(order, 'a long note that nobody needs')",
    "await wait_for_signal('bank.settled', timeout=days(3))",
    "await sleep(60)",
    "await call_child(deliver, order)",
    "await unknown(order)",
    "await parallel(ship(order), reserve(order), helper(order))",
    "[await ship(item) for item in order.items]",
    "total = await charge(order) if order.total else await reserve(order)",
    "await asyncio.gather(*[ship(item) for item in order.items], charge(order))",
    "await helper(order)",
    "order.count += 1",
)
_ENDS: Final = ("return", "raise Rejected(order.id)", "break", "continue")


def workflow(folder: Path, seed: int, size: int = 12) -> Workflow:
    """A workflow of about this many statements, in a module of its own."""
    dice = Random(seed)
    lines = ["async def helper(order):", "    if order.paid:", "        return", "    await ship(order)", ""]
    lines += ["async def flow(order, unknown):", *_block(dice, size, 4, in_loop=False)]
    return load(folder, f"flow_{seed}", _HEAD + "\n".join(lines) + "\n")


def load(folder: Path, name: str, text: str) -> Workflow:
    """The function `flow` of a module with this text."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    flow: Workflow = module.flow
    return flow


def _block(dice: Random, size: int, indent: int, *, in_loop: bool) -> list[str]:
    lines: list[str] = []
    while size > 0:
        inner = dice.randint(1, max(1, size // 2))
        lines += _statement(dice, inner, indent, in_loop=in_loop)
        size -= inner
    if dice.random() < 0.15:
        lines.append(" " * indent + dice.choice(_ENDS if in_loop else _ENDS[:2]))
    return lines


def _statement(dice: Random, size: int, indent: int, *, in_loop: bool) -> list[str]:
    pad = " " * indent

    def block(*, loops: bool = in_loop) -> list[str]:
        return _block(dice, size - 1, indent + 4, in_loop=loops) or [pad + "    pass"]

    if size < 2:
        return [pad + dice.choice(_SIMPLE)]
    kind = dice.randrange(7)
    if kind == 0:
        return [pad + "if order.total > 3:", *block(), pad + "elif order.gift:", *block()]
    if kind == 1:
        return [pad + "for item in order.items:", *block(loops=True)]
    if kind == 2:
        return [pad + "while await reserve(order):", *block(loops=True), pad + "else:", *block()]
    if kind == 3:
        return [pad + "try:", *block(), pad + "except ValueError:", *block(), pad + "finally:", *block(loops=False)]
    if kind == 4:
        return [pad + "match order.kind:", pad + "    case 'a':"] + [f"    {line}" for line in block()]
    if kind == 5:
        return [pad + "async with asyncio.TaskGroup() as tasks:", f"{pad}    tasks.create_task(ship(order))", *block()]
    return [pad + "try:", *block(), pad + "except (KeyError, OSError):", *block(), pad + "except Exception:", *block()]
