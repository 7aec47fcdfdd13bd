"""What a step may answer."""

from datetime import timedelta

import pytest

from outlast import Cancel, Retry
from outlast.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "kept"), [(0, 0.0), (1.5, 1.5), (timedelta(minutes=2), 120.0), ("5m", 300.0), (None, None)]
)
def test_a_delay_becomes_seconds(given: object, kept: float | None) -> None:
    assert Retry(given).delay == kept  # type: ignore[arg-type]


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), "soon", True, [], timedelta(seconds=-1)])
def test_a_delay_that_is_none_is_refused_where_it_is_written(delay: object) -> None:
    with pytest.raises(ConfigError, match=r"Retry\.delay"):
        Retry(delay)  # type: ignore[arg-type]


def test_answers_say_nothing_unless_asked_to() -> None:
    assert (Cancel().reason, Retry().reason, Retry().delay) == ("", "", 0.0)


def test_answers_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Cancel().reason = "other"  # type: ignore[misc]
