"""SQL files as named statements.

A file holds statements, each under `-- name: word` and comment lines that say what it takes, gives, and which
index serves it. Parameters are written `:name`. SQLite takes them as they are; for Postgres they become `$1`...
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

_HEAD = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement.

    Attributes:
        name: As in the file.
        text: SQL with `:name` parameters.
        numbered: The same with `$1`, `$2`...
        parameters: The names in the order of their numbers.
    """

    name: str
    text: str
    numbered: str
    parameters: tuple[str, ...]


def load(package: str, *, schema: str | None = None) -> Mapping[str, Statement]:
    """All statements of the `.sql` files in `package`.

    Args:
        package: Where the files are.
        schema: Replaces the word `{schema}`; must be a checked identifier.

    Raises: ValueError: a name occurs twice.
    """
    return dict(_load(package, schema))


@lru_cache(maxsize=8)  # read and taken apart once: a thousand statements take milliseconds.
def _load(package: str, schema: str | None) -> Mapping[str, Statement]:
    found: dict[str, Statement] = {}
    for file in sorted(resources.files(package).iterdir(), key=lambda item: item.name):
        if not file.name.endswith(".sql"):
            continue
        for statement in parse(file.read_text(encoding="utf-8"), schema=schema):
            if statement.name in found:
                raise ValueError(f"statement {statement.name!r} is written twice")
            found[statement.name] = statement
    return found


def parse(text: str, *, schema: str | None = None) -> list[Statement]:
    """The statements of one file."""
    parts = _HEAD.split(text)
    return [_statement(name, body, schema) for name, body in zip(parts[1::2], parts[2::2], strict=True)]


def _statement(name: str, body: str, schema: str | None) -> Statement:
    plain = _COMMENT.sub("", body).strip().rstrip(";")
    if schema is not None:
        plain = plain.replace("{schema}", schema)
    order: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in order:
            order.append(match[1])
        return f"${order.index(match[1]) + 1}"

    numbered = _PARAMETER.sub(number, plain)
    return Statement(name, plain, numbered, tuple(order))
