"""Log records of your steps that say which step they come from."""

from __future__ import annotations

import logging
from typing import Final

from outlast._runtime.run import CURRENT

_FIELDS: Final = ("id", "program", "version", "step", "attempt", "queue")


class StepLogFilter(logging.Filter):
    """Adds to every record `outlast_id`, `outlast_program`, `outlast_version`, `outlast_step`, `outlast_attempt` and
    `outlast_queue` of the step that logs; None outside of steps. It lets every record pass.

        handler.addFilter(StepLogFilter())
        handler.setFormatter(logging.Formatter("%(message)s [%(outlast_program)s %(outlast_id)s]"))

    Add it to a handler, not to a logger: a logger's filters do not see what other loggers hand up.
    Records that the engine itself logs carry the fields of their event, which are left as they are.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`. Always True."""
        run = CURRENT.get()
        facts = dict.fromkeys(_FIELDS) if run is None else run.facts()
        for name, value in facts.items():
            if not hasattr(record, f"outlast_{name}"):
                setattr(record, f"outlast_{name}", value)
        return True
