"""A statement's text in the placeholders of drivers that know neither `:name` nor `$1`."""

from __future__ import annotations

import re
from functools import cache

from outlast._store.statements import Statement

_NUMBER = re.compile(r"\$(\d+)")


@cache
def pyformat(statement: Statement) -> str:
    """With `%(name)s`."""
    return _NUMBER.sub(lambda match: f"%({_parameter(statement, match)})s", _escaped(statement))


@cache
def positional(statement: Statement) -> tuple[str, tuple[str, ...]]:
    """With `%s`, and the parameter that each of them stands for, in order."""
    order = tuple(_parameter(statement, match) for match in _NUMBER.finditer(statement.numbered))
    return _NUMBER.sub("%s", _escaped(statement)), order


def _escaped(statement: Statement) -> str:
    return statement.numbered.replace("%", "%%")


def _parameter(statement: Statement, match: re.Match[str]) -> str:
    return statement.parameters[int(match[1]) - 1]
