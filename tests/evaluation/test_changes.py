"""What turns right and wrong, counted one by one; McNemar's test from its definition and from scipy."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from counterpoise.evaluation import count_changes
from counterpoise.exceptions import InputError

answers = st.lists(st.tuples(*(st.integers(0, 2) for _ in range(3))), max_size=60)


def mcnemar(gained, lost):
    """Twice the chance of at most the smaller count among that many fair coins, at most 1."""
    n = gained + lost
    return min(1.0, 2 * sum(comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n)


@given(answers)
def test_every_image_is_counted_once(rows):
    true, before, after = np.array(rows, dtype=int).reshape(-1, 3).T
    found = count_changes(true, before, after)
    assert found.both_right == sum(t == b == a for t, b, a in rows)
    assert found.wrong_to_right == sum(b != t == a for t, b, a in rows)
    assert found.right_to_wrong == sum(b == t != a for t, b, a in rows)
    assert found.both_wrong == sum(b != t != a for t, b, a in rows)
    assert found.p_value == pytest.approx(mcnemar(found.wrong_to_right, found.right_to_wrong))


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (30, 12), (700, 401)])
def test_the_test_is_that_of_scipy_and_of_the_definition(gained, lost):
    true = np.zeros(gained + lost + 5, dtype=int)
    before, after = np.zeros_like(true), np.zeros_like(true)
    before[:gained], after[gained : gained + lost] = 1, 1
    p = count_changes(true, before, after).p_value
    assert p == pytest.approx(mcnemar(gained, lost))
    if gained + lost:
        assert p == pytest.approx(binomtest(gained, gained + lost, 0.5).pvalue)


def test_a_published_example():
    # Agresti 2002, Table 10.1: 86 against 150 that changed their mind; z^2 = 17.36, so that p is about 3e-5.
    true = np.zeros(236, dtype=int)
    before = np.r_[np.ones(86, int), np.zeros(150, int)]
    assert 1e-5 < count_changes(true, before, 1 - before).p_value < 1e-4


def test_predictions_of_other_images_are_refused():
    with pytest.raises(InputError, match="found 3 classes and 3 and 2 predictions"):
        count_changes(np.zeros(3, int), np.zeros(3, int), np.zeros(2, int))
