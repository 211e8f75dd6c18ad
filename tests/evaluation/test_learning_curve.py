"""Power laws through recalls, and what recall to expect of twice as many images."""

import numpy as np
import pytest

from counterpoise.evaluation import fit_power_law, forecast_recalls
from counterpoise.exceptions import InputError

SIZES = np.array([5.0, 10.0, 20.0, 40.0])


@pytest.mark.parametrize(
    ("a", "b", "c"), [(0.9, 0.5, 0.1), (1.2, 1.0, 0.0), (0.6, 0.23, 0.05), (2.0, 1.32, 0.2)]
)
def test_a_power_law_is_found_again(a, b, c):
    law = fit_power_law(SIZES, a * SIZES**-b + c)
    assert law.b == pytest.approx(b, abs=0.026)  # half a step of the grid
    assert law.at([80, 160])[0] == pytest.approx(a * 80**-b + c, abs=0.004)
    assert law.at([160])[0] == pytest.approx(a * 160**-b + c, abs=0.008)


def test_an_error_never_grows_with_images_nor_falls_below_zero():
    rising = fit_power_law(SIZES, np.array([0.1, 0.2, 0.3, 0.4]))
    assert rising.a == 0
    assert rising.at([80])[0] == pytest.approx((SIZES * [0.1, 0.2, 0.3, 0.4]).sum() / SIZES.sum())
    steep = fit_power_law(SIZES, np.array([0.9, 0.5, 0.2, 0.0]))
    assert steep.c == 0
    assert 0 <= steep.at([1e6])[0] < 0.01


def test_many_curves_are_fitted_as_one_by_one():
    errors = np.random.default_rng(0).uniform(0, 1, (7, 3, 4))
    together = fit_power_law(SIZES, errors).at([80.0])
    for index in np.ndindex(7, 3):
        np.testing.assert_allclose(fit_power_law(SIZES, errors[index]).at([80.0]), together[index])


def simulated(generator, count, *, a=1.0, b=0.5, c=0.1, repeats=3):
    """Hits of a class of `count` images, each hard by a value of its own, and the mean recall for twice as many."""
    sizes = count * 0.8 * np.array([0.125, 0.25, 0.5, 1])
    recall = 1 - np.minimum(a * sizes**-b + c, 1)
    hard = generator.random(count)
    shaken = hard + generator.normal(0, 0.05, (len(sizes), repeats, count))
    return (shaken < recall[:, None, None]).astype(float), sizes, 1 - (a * (2 * count) ** -b + c)


@pytest.mark.parametrize("count", [12, 40, 200])
def test_nine_of_ten_intervals_hold_the_recall_of_twice_as_many(count):
    generator, inside = np.random.default_rng(count), []
    for _ in range(60):
        hits, sizes, truth = simulated(generator, count)
        (found,) = forecast_recalls(hits, np.zeros(count, dtype=int), sizes[:, None])
        _, recall, low, high = found["more"]
        assert low <= recall <= high
        inside.append(low <= truth <= high)
    assert np.mean(inside) >= 0.85


def test_copies_in_one_group_add_no_certainty():
    hits, sizes, _ = simulated(np.random.default_rng(0), 30)
    copies = np.repeat(hits, 5, axis=2)

    def width(hits, groups=None):
        count = hits.shape[2]
        (found,) = forecast_recalls(hits, np.zeros(count, dtype=int), sizes[:, None], groups)
        return found["more"][3] - found["more"][2]

    assert width(copies, np.repeat(np.arange(30), 5)) == pytest.approx(width(hits), rel=0.15)
    assert width(copies) < 0.75 * width(hits)


def test_few_images_have_a_reason_and_no_number():
    labels = np.repeat([0, 1, 2], [7, 20, 8])
    groups = np.concatenate([np.arange(7), 100 + np.arange(20) // 4, 200 + np.arange(8)])
    sizes = np.outer([0.1, 0.2, 0.4, 0.8], np.bincount(labels))
    few, grouped, enough = forecast_recalls(np.ones((4, 2, 35)), labels, sizes, groups)
    assert few["now"] is few["more"] is grouped["more"] is None
    assert few["reason"] == "7 images are too few for a forecast; it takes 8"
    assert grouped["reason"] == "5 independent images are too few for a forecast; it takes 8"
    _, recall, low, high = enough["more"]
    assert low < 0.9 < recall < high <= 1  # eight hits of eight are no proof


def test_images_that_were_always_trained_on_do_not_count():
    hits, labels = np.ones((4, 2, 30)), np.zeros(30, dtype=int)
    hits[..., 20:] = 0
    sizes = np.array([[3.0], [6], [12], [24]])
    hits[..., 20:] = np.nan
    (found,) = forecast_recalls(hits, labels, sizes)
    assert [recall for _, recall in found["measured"]] == [1, 1, 1, 1]
    assert found["images"] == 30


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"`hits` \(4, 30\)"):
        forecast_recalls(np.ones((4, 30)), np.zeros(30, dtype=int), np.ones((4, 1)))
    with pytest.raises(InputError, match="expected one for each size above 0"):
        fit_power_law([0, 1], [0.5, 0.4])
