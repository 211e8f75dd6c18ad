"""The time budget: shares, reserve, measured costs; nothing starts that cannot finish."""

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


def test_a_share_passes_on_what_it_leaves_unused_and_ends_with_its_budget():
    clock = Clock()
    budget = Budget(100, clock=clock)
    first = budget.share(0.5)
    assert first.remaining == 45
    clock.now += 10
    assert (first.remaining, budget.remaining) == (35, 80)
    second = budget.share(0.5)
    assert second.remaining == 40
    clock.now += 45  # the second stage took longer than its share
    assert (second.remaining, budget.remaining) == (0, 35)
    third = budget.share(1).share(1)
    assert third.remaining == 35
    clock.now += 100
    assert third.remaining == 0


def test_the_share_of_a_stage_is_bounded_by_its_budget_however_late_it_is_used():
    clock = Clock()
    budget = Budget(100, clock=clock)
    outer = budget.share(0.1)
    inner = outer.share(1)
    clock.now += 5
    assert inner.remaining == pytest.approx(4)


def test_costs_are_the_mean_of_all_measurements_and_known_to_shares():
    clock = Clock()
    budget = Budget(100, clock=clock)
    assert budget.estimate("embed", 10) is None
    stage = budget.share(0.5)
    for seconds, count in ((4, 20), (1, 5)):
        with stage.measure("embed", count):
            clock.now += seconds
    assert budget.estimate("embed", 100) == pytest.approx(20)
    assert budget.estimate("tune", 100) is None


def test_work_that_fails_is_not_measured():
    budget = Budget(100, clock=Clock())
    with pytest.raises(KeyError), budget.measure("embed", 3):
        raise KeyError
    assert budget.estimate("embed", 1) is None


def test_without_a_limit_everything_can_finish():
    budget = Budget(clock=Clock())
    assert budget.remaining == math.inf
    assert budget.can(1e12)
    assert budget.share(0.1).remaining == math.inf


@given(
    total=st.floats(1, 1e5),
    steps=st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 1e4)), max_size=6),
)
def test_stages_that_keep_to_their_shares_never_touch_the_reserve(total, steps):
    clock = Clock()
    clock.now = 0.0
    budget = Budget(total, clock=clock)
    for fraction, seconds in steps:
        stage = budget.share(fraction)
        if stage.can(seconds):
            clock.now += seconds
    assert clock.now <= budget.seconds - budget.reserve + 1e-6


@pytest.mark.parametrize("arguments", [{"seconds": 0}, {"seconds": math.inf}, {"seconds": 5, "reserve": 1}])
def test_impossible_budgets_are_refused(arguments):
    with pytest.raises(InputError, match="expected"):
        Budget(**arguments)
    with pytest.raises(InputError, match="`fraction`"):
        Budget(10).share(0)
