"""`outlast worker`: runs jobs, in one process or in several that a supervisor keeps alive."""

from outlast.cli.worker.command import worker

__all__ = ["worker"]
