"""Workflows: an `async def` whose steps are recorded, and which waits for days holding nothing but a row.

@step(max_attempts=3, compensate=refund)
async def charge(order: Order) -> Receipt: ...

@workflow(timeout=hours(2))
async def process_order(order: Order) -> Receipt:
    stock, credit = await parallel(reserve(order), check_credit(order))
    receipt = await charge(order)
    paid = await wait_for_signal("bank.settled", timeout=days(7))
    return receipt
"""

from outlast.workflows.branches import each, parallel
from outlast.workflows.children import call_child, start_child
from outlast.workflows.current import StepInfo, current_step
from outlast.workflows.facts import report_progress, set_tags
from outlast.workflows.loop import current_flow
from outlast.workflows.people import (
    wait_for_approval,
    wait_for_choice,
    wait_for_form,
    wait_for_input,
    wait_for_text,
)
from outlast.workflows.program import Workflow, WorkflowStart, workflow
from outlast.workflows.steps import Step, make_step, step
from outlast.workflows.waiting import (
    TIMEOUT,
    Timeout,
    sleep,
    sleep_until,
    wait_for_all,
    wait_for_any,
    wait_for_signal,
)

__all__ = [
    "TIMEOUT",
    "Step",
    "StepInfo",
    "Timeout",
    "Workflow",
    "WorkflowStart",
    "call_child",
    "current_flow",
    "current_step",
    "each",
    "make_step",
    "parallel",
    "report_progress",
    "set_tags",
    "sleep",
    "sleep_until",
    "start_child",
    "step",
    "wait_for_all",
    "wait_for_any",
    "wait_for_approval",
    "wait_for_choice",
    "wait_for_form",
    "wait_for_input",
    "wait_for_signal",
    "wait_for_text",
    "workflow",
]
