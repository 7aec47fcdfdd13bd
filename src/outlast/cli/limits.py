"""`limits`: what holds work back in the whole cluster."""

from __future__ import annotations

import asyncio
from typing import Final

import click

from outlast._model import RateRow
from outlast.cli import terminal
from outlast.cli.options import Choice, shared

_UNITS_S: Final = (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0))


@click.command()
@shared
def limits(choice: Choice) -> None:
    """Show the concurrency limits and rate limits in effect.

    A concurrency limit is the lowest that a live worker says; a rate limit is that of the worker that started last.
    """
    asyncio.run(_show(choice))


async def _show(choice: Choice) -> None:
    async with choice.opened() as engine:
        found = await engine.limits()
    if choice.json:
        rates = {
            name: {"allowed": rate.allowed, "period_s": rate.period_s, "burst": rate.burst}
            for name, rate in found.rates.items()
        }
        terminal.say_json({"concurrency": found.concurrency, "rates": rates})
        return
    rows: list[tuple[str, str, object]] = [(name, "concurrency", slots) for name, slots in found.concurrency.items()]
    rows += [(name, "rate", rate_text(rate)) for name, rate in found.rates.items()]
    if rows:
        terminal.say_table(("limit", "kind", "allows"), rows)
    else:
        terminal.note("no limits are declared; of the steps with one concurrency key, one runs at a time")


def rate_text(rate: RateRow) -> str:
    """A rate limit as settings write it: `100/s`, `5/m burst 1`, `10/250ms`."""
    burst = "" if rate.burst == rate.allowed else f" burst {_number(rate.burst)}"
    return f"{_number(rate.allowed)}/{_period(rate.period_s)}{burst}"


def _period(period_s: float) -> str:
    if period_s < 1:
        return f"{_number(period_s * 1_000)}ms"
    unit, size_s = next((each for each in _UNITS_S if period_s % each[1] == 0), ("s", 1.0))
    return unit if period_s == size_s else f"{_number(period_s / size_s)}{unit}"


def _number(value: float) -> str:
    return f"{value:.10g}"
