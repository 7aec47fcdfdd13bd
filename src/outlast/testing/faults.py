"""What is to go wrong, and with which step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from outlast._kernel.program import Program
from outlast.errors import ConfigError

Kind = Literal["crash_before_commit", "crash_after_commit", "run_step_twice"]


@dataclass
class Fault:
    """What is to go wrong.

    Attributes:
        kind: Which of the three.
        program: Only with steps of the program of this name; None: of any.
        step: Only with the step of this name; None: with any.
        times: How often.
        hits: How often it has happened.
    """

    kind: Kind
    program: str | None
    step: str | None
    times: int
    hits: int = 0

    def strikes(self, program: str, step: str) -> bool:
        """Whether it happens to this step; then it counts."""
        if self.hits >= self.times or self.program not in (None, program) or self.step not in (None, step):
            return False
        self.hits += 1
        return True


def program_name(program: Any) -> str | None:
    """A program's name, given as text, job or machine class. Raises: ConfigError."""
    if program is None or isinstance(program, str):
        return program
    found: Program = getattr(program, "outlast_program", program)
    if not isinstance(getattr(found, "name", None), str):
        raise ConfigError(f"program takes a name, a job or a machine's class, not {program!r}")
    return found.name


def step_name(step: Any) -> str | None:
    """A step's name, given as text or as the method. Raises: ConfigError."""
    if step is None or isinstance(step, str):
        return step
    name = getattr(step, "outlast_step_name", None) or getattr(step, "__name__", None)
    if not isinstance(name, str):
        raise ConfigError(f"step takes a name or a method, not {step!r}")
    return name
