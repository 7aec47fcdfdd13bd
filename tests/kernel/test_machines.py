"""Machines as they are defined: what is wrong is found when the class is made."""

import importlib
from typing import Any

import pytest

from outlast import Await, Child, Done, Machine, Next, Spawn, StepContext, job, step, upgrade
from outlast._kernel.program import DEFINED
from outlast.errors import ArgumentError, ConfigError, DefinitionError
from outlast.machines import ReceivedSignal


@job(name="kernel.machines.noop")
async def noop() -> None: ...


async def body(self: Any, ctx: Any) -> Any:
    return Done()


def made(name: str = "kernel.machines.made", /, *, options: dict[str, Any] | None = None, **members: Any) -> Any:
    """A machine class with these members."""
    return type("Made", (Machine,), members, name=name, **options or {})


def test_a_class_is_a_program() -> None:
    class Here(Machine, queue="q", version=2, timeout=5, retention=60):
        size: int = 3

        @step
        async def start(self, ctx: StepContext) -> Any:
            return Done(self.size)

    program = Here.outlast_program

    assert (program.name, program.version, program.queue, program.initial) == ("Here", 2, "q", "start")
    assert (program.timeout_s, program.retention_s(9.0)) == (5.0, 60.0)
    assert Here(size=4).start_request().state == '{"size":4}'
    assert repr(Here(size=4)).endswith("Here(size=4)")
    assert program not in list(DEFINED), "what is defined within a function is known where it is started"


@pytest.mark.parametrize(
    ("members", "options", "error"),
    [
        ({}, {}, "has no step"),
        ({"go": step(body)}, {}, "its initial step names step 'start'"),
        ({"start": step(body)}, {"initial": "begin"}, "its initial step names step 'begin'"),
        ({"start": step(lambda self: None)}, {}, r"step 'start' must take \(self, ctx\)"),
        ({"start": step(body)}, {"version": 0}, "version must be a whole number from 1"),
        ({"start": step(body)}, {"version": True}, "version must be a whole number from 1"),
        ({"start": step(body)}, {"run_ahead": "no"}, "run_ahead must be true or false"),
    ],
)
def test_wrong_definitions_are_refused(members: Any, options: Any, error: str) -> None:
    with pytest.raises(DefinitionError, match=error):
        made(options=options, **members)


def test_upgrades_follow_one_another() -> None:
    def up(state: Any) -> Any:
        return state

    members = {"start": step(body)}
    with pytest.raises(DefinitionError, match="leads nowhere"):
        made(options={"version": 2}, **members, up=upgrade(from_version=2)(up))
    with pytest.raises(DefinitionError, match="must follow one another"):
        made(options={"version": 4}, **members, up=upgrade(from_version=1)(up))
    with pytest.raises(DefinitionError, match="written twice"):
        made(options={"version": 2}, **members, up=upgrade(from_version=1)(up), also=upgrade(from_version=1)(up))
    with pytest.raises(DefinitionError, match="@upgrade goes on a function"):
        upgrade(from_version=1)(dict)
    for wrong in (0, "1", True):
        with pytest.raises(DefinitionError, match="from_version must be a whole number"):
            upgrade(from_version=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "outcome", ['Next("nope")', 'Await("s", then="nope")', 'Await("s", "nope")', 'Spawn([], "nope")']
)
def test_a_transition_to_a_step_that_does_not_exist_is_found_at_once(
    outcome: str, tmp_path: Any, monkeypatch: Any
) -> None:
    name = f"wrong_{abs(hash(outcome))}"
    (tmp_path / f"{name}.py").write_text(
        "from outlast import *\n"
        "class Wrong(Machine):\n"
        "    @step\n"
        "    async def start(self, ctx):\n"
        f"        return {outcome}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(DefinitionError, match="a transition names step 'nope', which does not exist"):
        importlib.import_module(name)


def test_steps_are_inherited() -> None:
    class Base(Machine):
        @step
        async def start(self, ctx: Any) -> Any:
            return Next("end")

        @step
        async def end(self, ctx: Any) -> Any:
            return Done("base")

    class Derived(Base):
        extra: int = 1

        @step
        async def end(self, ctx: Any) -> Any:
            return Done("derived")

    assert Derived.outlast_program.name == "Derived"
    assert Derived(extra=2).start_request().step == "start"


def test_outcomes_say_what_is_wrong_where_it_is_written() -> None:
    for names in ("", [], ["a", ""], 7, [7]):
        with pytest.raises(ConfigError):
            Await(names)  # type: ignore[arg-type]
    for timeout in (0, -1, "soon", float("nan")):
        with pytest.raises(ConfigError, match=r"Await\.timeout"):
            Await("s", timeout=timeout)  # type: ignore[arg-type]
    for need in (0, 3, True, "1"):
        with pytest.raises(ConfigError, match=r"Spawn\.need must be a whole number from 1 to the 2 children"):
            Spawn([noop.new(), noop.new()], then="end", need=need)  # type: ignore[arg-type]
    for child in (noop, "noop", 3):
        with pytest.raises(ConfigError, match="a child must be"):
            Spawn([child], then="end")  # type: ignore[list-item]
    with pytest.raises(ConfigError, match=r"Spawn\.children must be a list"):
        Spawn(3, then="end")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="no option 'prority'"):
        Child(noop.new(), prority=1)  # type: ignore[call-arg]
    for weight in (0, -1, "x", True):
        with pytest.raises(ConfigError, match=r"Next\.weight"):
            Next("end", weight=weight)  # type: ignore[arg-type]
    for key in ("", "a]", ("a",), ("a", None), ("a", "x]"), 7):
        with pytest.raises(ConfigError, match=r"Next\.concurrency_key|white space|printable"):
            Next("end", concurrency_key=key)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="is not a step"):
        Next(print).name  # noqa: B018


def test_limits_are_written_with_their_partition() -> None:
    assert Next("end", concurrency_key=("gpu", 7)).concurrency_key == "gpu[7]"
    assert Next("end", rate_limit=("api", "eu")).rate_limit == "api[eu]"
    assert Await(["a", "b", "a"]).names == ("a", "b")


async def test_a_step_can_be_called_by_hand() -> None:
    class Hand(Machine):
        @step
        async def start(self, ctx: StepContext) -> Any:
            return Done([signal.payload for signal in ctx.awaited])

    from datetime import UTC, datetime

    signals = [ReceivedSignal("1", "a", 1, datetime.now(UTC)), ReceivedSignal("2", "b", 2, datetime.now(UTC))]
    ctx = StepContext(signals=signals, awaits=["b"])

    assert await Hand().start(ctx) == Done([2])
    assert (ctx.signals, await ctx.children.all()) == (signals, [])
