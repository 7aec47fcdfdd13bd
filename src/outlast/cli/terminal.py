"""What the command line writes: tables, JSON and notes. Nothing foreign reaches a terminal unescaped."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from outlast._world import SystemWorld, instant

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS: Final = {
    "done": "green",
    "ok": "green",
    "running": "cyan",
    "failed": "red",
    "problem": "red",
    "quarantined": "magenta",
    "cancelled": "yellow",
    "warning": "yellow",
}


def clean(text: object) -> str:
    """Foreign text on one line: what a terminal would obey, or could not show, is spelled out as an escape."""
    return "".join(char if char.isprintable() else _escaped(char) for char in str(text))


def clean_lines(text: object) -> str:
    """As `clean`, keeping line breaks, for tracebacks."""
    return "\n".join(clean(line.expandtabs(4)) for line in str(text).splitlines())


def _escaped(char: str) -> str:
    if unicodedata.category(char) == "Zs":
        return " "
    return char.encode("unicode_escape").decode("ascii")


def json_text(value: object, *, indent: int | None = 2) -> str:
    """A value as JSON. Characters that a terminal would obey are written as JSON escapes."""
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, indent=indent)
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def say(text: str) -> None:
    """A line for standard output."""
    click.echo(text)


def say_json(value: object, *, indent: int | None = 2) -> None:
    """A JSON document for standard output."""
    click.echo(json_text(value, indent=indent))


def note(text: str) -> None:
    """A line for people, on standard error."""
    click.echo(text, err=True)


def now() -> datetime:
    """This machine's clock."""
    return instant(SystemWorld().wall_us())


def span(seconds: float) -> str:
    """A length of time for people: `3.2s`, `5m`, `2h`, `4d`."""
    for size_s, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size_s:
            return f"{seconds / size_s:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds >= 10 or seconds == 0 else f"{seconds:.1f}s"


def ago(moment: datetime | None, at: datetime) -> str:
    """How long before `at` a moment was; `in 5m` when it is to come."""
    if moment is None:
        return ""
    passed_s = (at - moment).total_seconds()
    return f"{span(passed_s)} ago" if passed_s >= 0 else f"in {span(-passed_s)}"


def stamp(moment: datetime | None) -> str:
    """An instant for people, in UTC."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def say_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """A table for standard output: coloured on a terminal where rich is installed, plain columns else.

    Args:
        right: Headers of the columns that are numbers.
    """
    cells = [["" if cell is None else clean(cell) for cell in row] for row in rows]
    made = _rich_table(headers, cells, right) if sys.stdout.isatty() else None
    if made is None:
        for line in _plain_table(headers, cells, right):
            click.echo(line)
    else:
        from rich.console import Console

        Console().print(made)


def say_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values for standard output, a line each."""
    known = [(name, clean(value)) for name, value in pairs]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        click.echo(f"{name:<{width}}  {value}")


def _rich_table(headers: Sequence[str], rows: list[list[str]], right: Sequence[str]) -> Table | None:
    try:
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return None
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, justify="right" if header in right else "left", no_wrap=header == "id")
    for row in rows:
        # Text, not str: square brackets of foreign text must not be read as markup.
        table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    return table


def _plain_table(headers: Sequence[str], rows: list[list[str]], right: Sequence[str]) -> Iterable[str]:
    lines = [list(headers), *rows]
    widths = [max(_width(line[place]) for line in lines) for place in range(len(headers))]
    for line in lines:
        padded = []
        for header, cell, width in zip(headers, line, widths, strict=True):
            blanks = " " * (width - _width(cell))
            padded.append(blanks + cell if header in right else cell + blanks)
        yield "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Columns that a terminal gives to a text."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def plain(value: Any) -> str:
    """A stored value on one line, for people: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json_text(value, indent=None)
