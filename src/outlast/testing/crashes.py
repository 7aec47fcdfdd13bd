"""Crashes where they hurt, for your own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from outlast.engine import Engine, Runnable
from outlast.errors import ConfigError
from outlast.testing.faults import Fault, Kind, program_name, step_name
from outlast.testing.hand import hand_of


def crash_before_commit(
    engine: Engine,
    program: str | Runnable | None = None,
    step: str | Callable[..., Any] | None = None,
    *,
    times: int = 1,
) -> AbstractContextManager[Fault]:
    """Within it, a step that is drained runs to its end, and its process dies before the outcome is committed.

        with crash_before_commit(engine, step=Checkout.charge):
            await drain(engine)                     # `charge` runs twice: what did it do to the outside?

    The drain goes on as the process that takes over: the crash is counted, and the step runs again. Leaving the block
    without a hit is an AssertionError.

    Args:
        engine: One that is run `by_hand`.
        program: Its name, the job or the machine's class; any by default.
        step: Its name or the method; any by default.
        times: How many times in all.

    Raises: ConfigError, EngineStateError.
    """
    return _armed(engine, "crash_before_commit", program, step, times)


def crash_after_commit(
    engine: Engine,
    program: str | Runnable | None = None,
    step: str | Callable[..., Any] | None = None,
    *,
    times: int = 1,
) -> AbstractContextManager[Fault]:
    """Like `crash_before_commit`, but the process dies right after the commit: the step must not run again."""
    return _armed(engine, "crash_after_commit", program, step, times)


def run_step_twice(
    engine: Engine,
    program: str | Runnable | None = None,
    step: str | Callable[..., Any] | None = None,
    *,
    times: int = 1,
) -> AbstractContextManager[Fault]:
    """Like `crash_before_commit`, but the process only froze: another takes over and runs the step again, and then the
    first one wakes up and tries to commit what it has. That must be refused, and the drain fails when it is not."""
    return _armed(engine, "run_step_twice", program, step, times)


@contextmanager
def _armed(engine: Engine, kind: Kind, program: Any, step: Any, times: int) -> Iterator[Fault]:
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise ConfigError(f"times must be a whole number from 1, not {times!r}")
    fault = Fault(kind, program_name(program), step_name(step), times)
    faults = hand_of(engine).faults
    faults.append(fault)
    try:
        yield fault
    finally:
        faults.remove(fault)
    if not fault.hits:
        raise AssertionError(
            f"{kind} hit nothing: no step of program {fault.program or '(any)'!r} "
            f"called {fault.step or '(any)'!r} was drained within the block"
        )
