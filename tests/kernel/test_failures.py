"""Errors as data."""

import json
from typing import Any

import pytest

from outlast._kernel.failures import brief, failure_text, read_error, reason_text

CHARS_MAX = 30_000


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")

    __repr__ = __str__


class Leaving(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Endless(Exception):
    def __str__(self) -> str:
        return str(self)


class NotText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


def recorded(error: BaseException) -> dict[str, Any]:
    """What is kept of an error that was raised."""
    try:
        raise error
    except BaseException as caught:
        text = failure_text(caught)
    assert len(text) <= CHARS_MAX * 2
    found: dict[str, Any] = json.loads(text)
    assert found.keys() == {"type", "message", "traceback"}
    return found


def test_an_error_is_kept_with_type_message_and_traceback() -> None:
    found = recorded(ValueError("no such customer"))

    assert (found["type"], found["message"]) == ("ValueError", "no such customer")
    assert "test_failures.py" in found["traceback"]
    assert found["traceback"].endswith("ValueError: no such customer\n")


def test_a_users_own_error_is_named_with_its_module() -> None:
    assert recorded(NotText())["type"] == f"{__name__}.NotText"


@pytest.mark.parametrize("kind", [Hostile, Leaving, Endless, NotText])
def test_an_error_that_cannot_be_shown_is_recorded_all_the_same(kind: type[Exception]) -> None:
    found = recorded(kind())

    assert found["message"] == f"<{kind.__name__} that cannot be shown>"
    assert brief(kind()) == f"{kind.__name__}: <{kind.__name__} that cannot be shown>"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
def test_errors_that_are_no_exceptions_are_recorded(error: BaseException) -> None:
    assert recorded(error)["type"] == type(error).__name__


def test_a_message_of_100_mb_is_cut() -> None:
    found = recorded(ValueError("x" * 100_000_000))

    assert len(found["message"]) < 5_000
    assert found["message"].endswith("... [truncated]")
    # Where it began is worth more than what it said.
    assert "test_failures.py" in found["traceback"]


def test_what_databases_refuse_is_replaced() -> None:
    found = recorded(ValueError("zero \x00, half \ud800, whole 🙂"))

    assert found["message"] == "zero \\0, half ?, whole 🙂"
    assert "\x00" not in found["traceback"]


def test_a_recursion_is_recorded() -> None:
    def again(depth: int) -> int:
        return again(depth + 1)

    with pytest.raises(RecursionError) as caught:
        again(0)

    assert json.loads(failure_text(caught.value))["type"] == "RecursionError"


def test_chains_and_groups_are_bounded() -> None:
    chain: Exception | None = None
    for number in range(500):
        error = ValueError(f"error {number}")
        error.__cause__, chain = chain, error
    assert chain is not None
    chain.__notes__ = ["n" * 1_000_000]

    found = recorded(ExceptionGroup("many", [chain, ValueError("other")]))

    assert found["message"] == "many (2 sub-exceptions)"
    assert "[cut]" in found["traceback"]


def test_an_error_that_causes_itself_is_recorded() -> None:
    error = ValueError("circle")
    error.__cause__ = error

    assert recorded(error)["message"] == "circle"


def test_an_error_whose_traceback_cannot_be_made_has_none() -> None:
    error = ValueError("odd")
    error.__notes__ = Hostile()  # type: ignore[assignment]

    assert recorded(error)["message"] == "odd"


def test_a_reason_has_the_shape_of_an_error() -> None:
    assert json.loads(reason_text("mailbox closed", kind="Cancel")) == {
        "type": "Cancel",
        "message": "mailbox closed",
        "traceback": "",
    }
    assert json.loads(reason_text(Hostile(), kind="Cancel"))["message"] == "<Hostile that cannot be shown>"


def test_what_was_recorded_reads_back() -> None:
    assert read_error(reason_text("why", kind="Retry")) == {"type": "Retry", "message": "why", "traceback": ""}
    assert read_error(None) is None


@pytest.mark.parametrize("text", ["no JSON", '"a text"', "[1]", ""])
def test_an_error_that_cannot_be_read_is_shown_as_it_is(text: str) -> None:
    assert read_error(text) == {"type": "unknown", "message": text, "traceback": ""}
