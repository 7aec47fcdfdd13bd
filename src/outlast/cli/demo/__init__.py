"""`outlast demo`: durable work under fire, and a check of what came of it."""

from outlast.cli.demo.show import demo

__all__ = ["demo"]
