"""Class weights against the thesis's worked example, and their limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.balance.class_weights import class_weights
from counterpoise.exceptions import InputError


def test_example_4_2():
    np.testing.assert_allclose(class_weights([2000, 100]), [1 / 21, 20 / 21])
    np.testing.assert_allclose(class_weights([2000, 500]), [1 / 5, 4 / 5])


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=20), st.floats(0, 1))
def test_against_the_formula(counts, power):
    n = sum(counts)
    raw = [(c / n) ** -power for c in counts]
    np.testing.assert_allclose(class_weights(counts, power=power), [r / sum(raw) for r in raw])
    np.testing.assert_allclose(class_weights(counts, power=power, normalize="mean").mean(), 1)


def test_power_zero_makes_all_equal():
    np.testing.assert_allclose(class_weights([5, 10, 100], power=0), 1 / 3)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([3, 0, 2],), {"empty": "raise"}, r"classes \[1\] have no samples"),
        (([],), {}, r"class counts are \[\]; expected a count for each class"),
        (([[1, 2]],), {}, r"class counts are \[\[1.0, 2.0\]\]"),
        (([1, 2],), {"power": 1.5}, r"power is 1.5; expected a number in \[0, 1\]"),
        (([1, 2],), {"normalize": "max"}, "normalize is 'max'; expected 'l1' or 'mean'"),
    ],
)
def test_refusals(arguments, options, message):
    with pytest.raises(InputError, match=message):
        class_weights(*arguments, **options)
