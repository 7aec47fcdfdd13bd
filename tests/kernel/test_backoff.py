"""Waits between attempts."""

import math
from collections.abc import Callable
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast import backoff
from outlast._kernel.backoff import Backoff, check_policy, checked_delay_s
from outlast.errors import ConfigError, DefinitionError

DICE = Random(1)
TEN_YEARS_S = 10 * 365 * 86_400.0

durations = st.floats(0, TEN_YEARS_S, allow_nan=False)
shares = st.floats(0, 1, allow_nan=False)
attempts = st.integers(1, 10**9)
policies = st.one_of(
    st.builds(
        backoff.exponential, base=durations, cap=durations, factor=st.floats(1, 1000, allow_nan=False), jitter=shares
    ),
    st.builds(backoff.linear, base=durations, cap=durations, jitter=shares),
    st.builds(backoff.constant, durations, jitter=shares),
)


def waits(policy: Backoff, count: int = 6) -> list[float]:
    return [policy(attempt, DICE) for attempt in range(1, count + 1)]


def test_the_default_doubles_up_to_five_minutes() -> None:
    assert waits(backoff.exponential(), 11) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_shapes() -> None:
    assert waits(backoff.exponential(base=10, cap=1_000, factor=3), 5) == [10, 30, 90, 270, 810]
    assert waits(backoff.linear(base=timedelta(seconds=2), cap=7), 5) == [2, 4, 6, 7, 7]
    assert waits(backoff.constant(0.5), 3) == [0.5, 0.5, 0.5]
    assert waits(backoff.exponential(base=0), 3) == [0, 0, 0]
    assert waits(backoff.exponential(factor=1), 3) == [1, 1, 1]


@given(policy=policies, attempt=attempts)
def test_every_wait_is_within_its_bounds(policy: Backoff, attempt: int) -> None:
    wait_s = checked_delay_s(policy, attempt, DICE)

    assert math.isfinite(wait_s)
    assert 0 <= wait_s <= min(TEN_YEARS_S, policy.cap_s * (1 + policy.jitter) * (1 + 1e-9))


@given(policy=policies, attempt=st.integers(1, 10_000))
def test_waits_never_shrink_but_for_jitter(policy: Backoff, attempt: int) -> None:
    steady = Backoff(policy.kind, policy.base_s, policy.cap_s, policy.factor)

    assert steady(attempt, DICE) <= steady(attempt + 1, DICE) * (1 + 1e-9)


@given(policy=policies, attempt=attempts, seed=st.integers())
def test_the_same_dice_give_the_same_wait(policy: Backoff, attempt: int, seed: int) -> None:
    assert policy(attempt, Random(seed)) == policy(attempt, Random(seed))


def test_jitter_spreads_evenly_around_the_wait() -> None:
    policy, dice = backoff.constant(8, jitter=0.25), Random(7)

    found = [policy(1, dice) for _ in range(2_000)]

    assert 6 <= min(found) < 6.1
    assert 9.9 < max(found) <= 10
    assert 7.9 < sum(found) / len(found) < 8.1


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: backoff.exponential(base=-1), "backoff base"),
        (lambda: backoff.exponential(cap=float("inf")), "backoff cap"),
        (lambda: backoff.linear(cap="soon"), "backoff cap"),  # type: ignore[arg-type]
        (lambda: backoff.constant(float("nan")), "backoff delay"),
        (lambda: backoff.constant(timedelta(days=4_000)), "backoff delay"),
    ],
)
def test_a_bad_duration_is_refused_by_name(make: Callable[[], Backoff], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        make()


@pytest.mark.parametrize("factor", [0.5, 1_001, float("nan"), True, "2"])
def test_a_bad_factor_is_refused(factor: float) -> None:
    with pytest.raises(DefinitionError, match="factor"):
        backoff.exponential(factor=factor)


@pytest.mark.parametrize("jitter", [-0.1, 1.1, float("nan"), True, "1"])
def test_a_bad_jitter_is_refused(jitter: float) -> None:
    with pytest.raises(DefinitionError, match="jitter"):
        backoff.constant(1, jitter=jitter)


async def _later(attempt: int) -> float:
    return 1.0


@pytest.mark.parametrize("policy", [5, "soon", None, lambda: 1, lambda a, b: 1, _later])
def test_what_cannot_be_a_backoff_is_refused(policy: object) -> None:
    with pytest.raises(DefinitionError, match="backoff"):
        check_policy(policy)


@pytest.mark.parametrize("policy", [backoff.linear(), lambda attempt: 1, lambda attempt, more=2: 1, math.sqrt])
def test_functions_of_the_attempt_are_backoffs(policy: object) -> None:
    check_policy(policy)


@pytest.mark.parametrize(("answer", "wait_s"), [(3, 3.0), (0.25, 0.25), (timedelta(seconds=2), 2.0), ("1m", 60.0)])
def test_a_function_may_answer_any_duration(answer: object, wait_s: float) -> None:
    assert checked_delay_s(lambda attempt: answer, 1, DICE) == wait_s


@pytest.mark.parametrize("answer", [None, -1, float("nan"), float("inf"), TEN_YEARS_S * 2, "soon", [], True, 10**400])
def test_a_function_that_answers_no_duration_is_told_so(answer: object) -> None:
    with pytest.raises(ConfigError, match="the backoff's answer"):
        checked_delay_s(lambda attempt: answer, 1, DICE)
