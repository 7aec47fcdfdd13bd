"""Migration files: shared by both stores."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

from outlast.errors import SchemaError


def migrations(package: str, schema: str) -> dict[int, str]:
    """The migration files of a package by their numbers.

    Args:
        package: Where the files are.
        schema: Replaces the word `{schema}`; must be a checked identifier.
    """
    return dict(_migrations(package, schema))


@lru_cache(maxsize=8)
def _migrations(package: str, schema: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for file in resources.files(package).iterdir():
        if match := re.fullmatch(r"(\d{4})_\w+\.sql", file.name):
            found[int(match[1])] = file.read_text(encoding="utf-8").replace("{schema}", schema)
    return found


def refuse_newer(version: int, latest: int) -> None:
    """Raises: SchemaError: the tables were made by a later release."""
    if version > latest:
        raise SchemaError(
            f"the tables are at version {version}, this release knows {latest}: upgrade outlast on this machine"
        )


def split(script: str) -> list[str]:
    """The statements of a script. Ours hold no semicolon inside text."""
    plain = re.sub(r"^\s*--.*$", "", script, flags=re.MULTILINE)
    return [part.strip() for part in plain.split(";") if part.strip()]
