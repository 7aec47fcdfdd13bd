"""What a workflow says of itself to whoever looks for it: how far it is, and the tags by which it is found."""

from __future__ import annotations

from collections.abc import Mapping

from outlast._kernel.program import RUNNING
from outlast._kernel.progress import checked_report
from outlast._kernel.tags import checked_changes
from outlast.workflows.loop import current_flow
from outlast.workflows.waiting import flow_for


def report_progress(fraction: float, note: str = "") -> None:
    """Shows how far a workflow is, to whoever reads the instance: its `progress` is the last that was said.

    For the workflow's own code, for its steps and for their threads; in jobs and machines, too. Cheap and best effort:
    written a few times a second at most, and lost in a crash. It stays while the workflow waits.
    Code that runs nowhere in an engine, such as a step in a test, may call it too: nothing happens.

    Args:
        fraction: Share done, from 0 to 1.
        note: A short text; what is longer than 500 characters is cut.

    Raises: ConfigError: the fraction is out of range.
    """
    report = checked_report(fraction, note)
    flow = current_flow()
    whose = RUNNING.get() if flow is None else flow
    if whose is not None:
        whose.report(*report)


async def set_tags(tags: Mapping[str, str | None]) -> None:
    """Gives the workflow other tags, by which `engine.list(tags=...)` finds it: recorded, once, with its steps.

    Args:
        tags: Those that change, by name; None takes one away, others stay.

    Raises: ConfigError: one is wrong, or it would set more than 20 names. WorkflowError: not in a workflow's own code;
        elsewhere use `engine.set_tags(id, tags)`.
    """
    await flow_for("set_tags").set_tags(checked_changes(tags))
