"""The `outlast` command."""

from outlast.cli.main import main

__all__ = ["main"]
