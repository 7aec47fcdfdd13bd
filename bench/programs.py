"""The programs that are measured. They do nothing: what is left is the engine."""

from __future__ import annotations

from outlast import job


@job
async def noop() -> None:
    """A job without arguments or result."""


@job
async def echo(word: str) -> str:
    """A job with both."""
    return word
