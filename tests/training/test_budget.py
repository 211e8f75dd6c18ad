"""The time budget: reserve, measured costs; nothing starts that cannot finish."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.exceptions import InputError
from counterpoise.training import Budget


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("seconds", "reserve", "work"), [(600, 0.1, 540), (30, 0.1, 25), (4, 0.1, 2), (100, 0, 95)]
)
def test_the_reserve_is_a_share_of_at_least_five_seconds_and_at_most_half(seconds, reserve, work):
    budget = Budget(seconds, reserve=reserve, clock=Clock())
    assert budget.remaining == pytest.approx(work)
    assert budget.reserve == pytest.approx(seconds - work)


def test_time_runs_from_the_start_and_ends_at_the_reserve():
    clock = Clock()
    budget = Budget(100, clock=clock)
    clock.now += 30
    assert (budget.elapsed, budget.remaining) == (30, 60)
    assert budget.can(60)
    assert not budget.can(60.1)
    clock.now += 65
    assert budget.remaining == 0
    assert not budget.can(0)
    assert not budget.can(None)


def test_costs_are_the_mean_of_all_measurements():
    budget = Budget(100, clock=Clock())
    assert budget.estimate("embed", 10) is None
    for seconds, count in ((4, 20), (1, 5)):
        budget.record("embed", count, seconds)
    assert budget.estimate("embed", 100) == pytest.approx(20)
    assert budget.estimate("tune", 100) is None


def test_without_a_limit_everything_can_finish():
    budget = Budget(clock=Clock())
    assert budget.remaining == math.inf
    assert budget.can(1e12)


@given(
    total=st.floats(1, 1e5),
    steps=st.lists(st.floats(0, 1e4), max_size=6),
)
def test_stages_that_can_finish_never_touch_the_reserve(total, steps):
    clock = Clock()
    clock.now = 0.0
    budget = Budget(total, clock=clock)
    for seconds in steps:
        if budget.can(seconds):
            clock.now += seconds
    assert clock.now <= budget.seconds - budget.reserve + 1e-6


@pytest.mark.parametrize("arguments", [{"seconds": 0}, {"seconds": math.inf}, {"seconds": 5, "reserve": 1}])
def test_impossible_budgets_are_refused(arguments):
    with pytest.raises(InputError, match="expected"):
        Budget(**arguments)
