"""From a described start to the row to insert."""

from __future__ import annotations

from typing import Any

from outlast._kernel.program import Catalogue
from outlast._kernel.requests import StartOptions, StartRequest
from outlast._model import NewInstance
from outlast._runtime.rates import Rates
from outlast._runtime.tracing import Tracing
from outlast._world import World
from outlast.errors import ValueTooLarge


class Starts:
    """Makes rows; what is started here is known here.

    Args:
        rates: The rate limits that there are.
        bytes_max: Largest encoded size of the arguments, in bytes.
        tracing: Gives the trace context that a row carries, or None.
    """

    def __init__(
        self, catalogue: Catalogue, rates: Rates, *, bytes_max: int, world: World, tracing: Tracing | None = None
    ) -> None:
        self._catalogue = catalogue
        self.rates = rates
        self._bytes_max = bytes_max
        self._world = world
        self._tracing = tracing

    def row(self, request: StartRequest[Any], options: StartOptions, *, anywhere: bool = False) -> NewInstance:
        """The row. `anywhere`: a rate limit that is not known here may be one that others declare.

        Raises: ValueTooLarge. ConfigError: of a rate limit. DefinitionError: another has its name.
        """
        program = request.program
        if options.rate_limit is not None and not (anywhere and not self.rates.knows(options.rate_limit)):
            self.rates.check(options.rate_limit, options.rate_weight)
        if len(request.state) > self._bytes_max // 4:  # a character takes four bytes at most.
            size = len(request.state.encode())
            if size > self._bytes_max:
                raise ValueTooLarge(f"the arguments of {program.name!r}", size, self._bytes_max)
        if self._catalogue.find(program.name, program.version) is not program:
            self._catalogue.add(program)
        return NewInstance(
            self._world.new_id(),
            program.name,
            program.version,
            program.queue if options.queue is None else options.queue,
            options.priority,
            request.step,
            request.state,
            options.correlation_key,
            options.correlation_scope,
            options.delay_s,
            options.due_us,
            program.timeout_s,
            concurrency_key=options.concurrency_key,
            rate_limit=options.rate_limit,
            rate_weight=options.rate_weight,
            fair_key=options.fair_key,
            fair_weight=options.fair_weight,
            trace=None if self._tracing is None else self._tracing.context(),
            tags=options.tags,
        )
