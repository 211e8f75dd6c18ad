"""ADOS against a slow loop written straight from its description, for every option."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone

from counterpoise.balance.features import ADOS, _ados_kernel
from counterpoise.balance.features._ados_grow import grow_class
from counterpoise.balance.features.ados import max_neighbors
from counterpoise.exceptions import InputError, ResamplingWarning

KINDS = {
    "exp": lambda d: np.exp(-d / d[-1]) if d[-1] > 0 else np.ones_like(d),
    "uniform": np.ones_like,
    "rbf": lambda d: np.exp(-((d / d[-1]) ** 2)) if d[-1] > 0 else np.ones_like(d),
    "wedge": lambda d: 1 - 0.5 * d / d[-1] if d[-1] > 0 else np.ones_like(d),
}


def stream(seed, class_number):
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(class_number,)))


ROUNDING = 1e-12
"""Relative difference up to which two distances, or the number of neighbours from them, are decided by rounding."""


def rounding_of(points):
    """Error of a point of the class made from exact neighbours: a few units in its last place."""
    return 8 * np.finfo(points.dtype).eps * max(1.0, float(np.abs(points).max()))


def tied_choices(distances, order, numbers):
    """Yield the k nearest, for each k, with every choice among the points as far away as the farthest of them."""
    for k in numbers:
        edge = distances[order[min(k, len(order)) - 1]]
        tied = order[np.abs(distances[order] - edge) <= ROUNDING * edge]
        nearer = order[distances[order] < edge - ROUNDING * edge]
        for rest in itertools.combinations(tied, min(k, len(order)) - len(nearer)):
            yield np.concatenate([nearer, rest]).astype(np.int64)


def literal_class(
    points,
    n_gen,
    rng,
    *,
    n_max,
    n_min,
    nu_max=20,
    nu_min=10,
    k_min=2,
    k_rule="linear",
    seed_order="cycle",
    weights="exp",
    seeds=None,
    made=None,
):
    """One class grown by the four numbered steps of the description, everything computed anew for every point.

    Returns the new points and, for each, what it was made from: seed, neighbours' mean, delta and k. With ``made``
    every step starts from these points instead of the loop's own, and where rounding decides a tie, the step takes
    the choice that gives the made point, if there is one.
    """
    n = len(points)
    if n == 1:
        return np.repeat(points, n_gen, axis=0), []
    seeds = list(range(n)) if seeds is None else list(seeds)
    if n_max == n_min:
        k_max = nu_max
    else:
        b = math.log(nu_max / nu_min) / math.log(n_max / n_min)
        k_max = math.floor(nu_max * (n / n_max) ** b + 1e-9)
    drawn = rng.integers(len(seeds), size=n_gen) if seed_order == "random" else None
    S = [row.copy() for row in points]
    found, history = [], []
    for i in range(n_gen):
        if seed_order == "cycle":
            x = seeds[i % len(seeds)]
        elif seed_order == "random":
            x = seeds[drawn[i]]
        else:
            x = seeds[i] if i < len(seeds) else n + i - len(seeds)
        stack = np.array(S, dtype=np.float64)
        D = np.sqrt(((stack[:, None] - stack[None]) ** 2).sum(axis=2))
        positive = D[D > 0]
        d_min, d_max = (positive.min(), positive.max()) if positive.size else (np.inf, 0.0)
        others = np.array([j for j in range(len(S)) if j != x])
        order = others[np.argsort(D[x, others], kind="stable")]
        d_x = D[x, order[0]]

        def how_many(d_x, d_min=d_min, d_max=d_max):
            if d_x <= d_min:
                return k_max if k_rule == "linear" else k_min
            if d_x >= d_max:
                return k_min if k_rule == "linear" else k_max
            return math.ceil(k_max - (k_max - k_min) * (d_x - d_min) / (d_max - d_min))

        delta = rng.random()
        choices = [order[: how_many(d_x)]]
        if made is not None:
            choices += tied_choices(
                D[x], order, range(how_many(d_x + ROUNDING * d_x), how_many(d_x - ROUNDING * d_x) + 1)
            )
        for near in (*choices, choices[0]):
            w = (weights if callable(weights) else KINDS[weights])(D[x, near])
            neighbour = (w[:, None] / w.sum() * stack[near]).sum(axis=0)
            new = delta * stack[x] + (1 - delta) * neighbour
            if made is None or np.allclose(new, made[i], rtol=0, atol=rounding_of(points)):
                break
        k = len(near)
        found.append(new.astype(points.dtype))
        S.append(found[-1] if made is None else made[i])
        history.append((stack[x], neighbour, delta, k, k_max))
    return np.array(found, dtype=points.dtype).reshape(n_gen, points.shape[1]), history


def literal_ados(X, y, seed, *, desired_ratio=1.0, targets=None, seeds_of=None, **options):
    classes, counts = np.unique(y, return_counts=True)
    made, labels = [X], [y]
    for number, (c, n_c) in enumerate(zip(classes, counts, strict=True)):
        target = math.ceil(counts.max() / desired_ratio) if targets is None else targets.get(c, n_c)
        if target <= n_c:
            continue
        new, _ = literal_class(
            X[y == c],
            target - n_c,
            stream(seed, number),
            n_max=counts.max(),
            n_min=counts.min(),
            seeds=None if seeds_of is None else seeds_of(c),
            **options,
        )
        made.append(new)
        labels.append(np.full(target - n_c, c))
    return np.concatenate(made), np.concatenate(labels)


def problem(dtype=np.float64, sizes=(60, 13, 22), d=5, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return (rng.normal(size=(y.size, d)) + 0.9 * y[:, None]).astype(dtype), y


OPTIONS = [
    {},
    {"seed_order": "random"},
    {"seed_order": "extend"},
    {"k_rule": "printed"},
    {"desired_ratio": 1.7},
    {"nu_max": 33},
    {"nu_min": 4},
    {"k_min": 7},
    {"k_min": 1, "nu_min": 1, "nu_max": 1},
    {"weights": "uniform"},
    {"weights": "rbf"},
    {"weights": "wedge"},
    {"weights": "wedge", "k_rule": "printed", "seed_order": "extend", "nu_min": 3},
]


def tolerance(dtype):
    return 2e-5 if dtype == np.float32 else 1e-10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_the_literal_loop(options, dtype):
    X, y = problem(dtype)
    got_X, got_y = ADOS(random_state=5, **options).fit_resample(X, y)
    want_X, want_y = literal_ados(X, y, 5, **options)
    assert got_X.dtype == dtype
    np.testing.assert_array_equal(got_y, want_y)
    np.testing.assert_allclose(got_X, want_X, rtol=0, atol=tolerance(dtype))


@pytest.mark.parametrize("options", OPTIONS[1:], ids=str)
def test_every_option_changes_the_result(options):
    X, y = problem()
    plain = ADOS(random_state=5).fit_resample(X, y)[0]
    other = ADOS(random_state=5, **options).fit_resample(X, y)[0]
    assert plain.shape != other.shape or not np.allclose(plain, other)


def test_a_callable_gives_the_weights():
    X, y = problem()

    def inverse(d):
        return 1 / (1 + d)

    got, _ = ADOS(random_state=1, weights=inverse).fit_resample(X, y)
    want, _ = literal_ados(X, y, 1, weights=inverse)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)
    same, _ = ADOS(random_state=1, weights=np.ones_like).fit_resample(X, y)
    np.testing.assert_allclose(
        same, ADOS(random_state=1, weights="uniform").fit_resample(X, y)[0], atol=1e-12
    )


@pytest.mark.parametrize("bad", [lambda d: d[:1], lambda d: -d, lambda d: d * 0, lambda d: d * np.nan])
def test_a_callable_with_unusable_weights_is_refused(bad):
    X, y = problem()
    with pytest.raises(InputError, match="the weights callable must return"):
        ADOS(random_state=1, weights=bad).fit_resample(X, y)


def danger(X, y, c, m=10):
    """The danger points of Borderline-SMOTE, one at a time."""
    rows = np.flatnonzero(y == c)
    found = []
    for position, row in enumerate(rows):
        distance = np.linalg.norm(X - X[row], axis=1)
        distance[row] = np.inf
        foreign = np.sum(y[np.argsort(distance, kind="stable")[:m]] != c)
        if m / 2 <= foreign < m:
            found.append(position)
    return found


@pytest.mark.parametrize("seed_order", ["cycle", "random", "extend"])
def test_border_seeds_only_danger_points(seed_order):
    X, y = problem()
    for c in (1, 2):
        assert 0 < len(danger(X, y, c)) < np.sum(y == c)
    got, _ = ADOS(random_state=3, border=True, seed_order=seed_order).fit_resample(X, y)
    want, _ = literal_ados(X, y, 3, seeds_of=lambda c: danger(X, y, c), seed_order=seed_order)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)


def test_border_without_danger_points_takes_all():
    X = np.concatenate([np.random.default_rng(0).normal(size=(40, 2)), 100 + np.arange(24.0).reshape(12, 2)])
    y = np.repeat([0, 1], [40, 12])
    with pytest.warns(ResamplingWarning, match="no point near its boundary"):
        got, _ = ADOS(random_state=0, border=True).fit_resample(X, y)
    np.testing.assert_array_equal(got, ADOS(random_state=0).fit_resample(X, y)[0])


def test_a_dict_overrides_the_targets():
    X, y = problem()
    targets = {1: 20, 2: 95}
    got_X, got_y = ADOS(random_state=2, sampling_strategy=targets).fit_resample(X, y)
    want_X, want_y = literal_ados(X, y, 2, targets=targets)
    np.testing.assert_array_equal(np.bincount(got_y), [60, 20, 95])
    np.testing.assert_array_equal(got_y, want_y)
    np.testing.assert_allclose(got_X, want_X, rtol=0, atol=1e-10)


def test_equal_classes_grow_with_nu_max():
    X, y = problem(sizes=(25, 25))
    got, _ = ADOS(random_state=2, sampling_strategy={0: 40}).fit_resample(X, y)
    want, _ = literal_ados(X, y, 2, targets={0: 40})
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)


def test_a_name_chooses_the_classes_and_desired_ratio_how_far():
    X, y = problem()
    ados = ADOS(random_state=0, sampling_strategy="minority", desired_ratio=2)
    _, labels = ados.fit_resample(X, y)
    np.testing.assert_array_equal(np.bincount(labels), [60, 30, 22])
    assert ados.sampling_strategy_ == {1: 17}


def test_desired_ratio_with_fixed_counts_is_refused():
    X, y = problem()
    with pytest.raises(InputError, match="use one of the two"):
        ADOS(sampling_strategy={1: 50}, desired_ratio=2).fit_resample(X, y)


def test_the_numbers_of_neighbours_must_rise():
    X, y = problem()
    with pytest.raises(InputError, match="rise from k_min over nu_min to nu_max"):
        ADOS(nu_min=30).fit_resample(X, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "minority",
    [
        [[0, 0], [0, 0], [0, 0]],
        [[0, 0], [0, 0], [3, 4]],
        [[1, 2], [1, 2], [4, 6], [4, 6], [0, 0]],
        [[1, 2], [5, 5]],
        [[0, 0], [1, 0], [0, 1], [1, 1]],
    ],
)
@pytest.mark.parametrize("k_rule", ["linear", "printed"])
def test_duplicates_and_tiny_classes(minority, k_rule, dtype):
    minority = np.array(minority, dtype=dtype)
    X = np.concatenate([np.random.default_rng(0).normal(size=(30, 2)).astype(dtype), minority])
    y = np.repeat([0, 1], [30, len(minority)])
    got, _ = ADOS(random_state=4, k_rule=k_rule).fit_resample(X, y)
    want, _ = literal_ados(X, y, 4, k_rule=k_rule)
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance(dtype))


def test_one_point_is_copied_with_a_warning():
    X = np.random.default_rng(0).normal(size=(9, 3))
    y = np.repeat([0, 1], [8, 1])
    with pytest.warns(ResamplingWarning, match="single point"):
        got, labels = ADOS(random_state=0).fit_resample(X, y)
    np.testing.assert_array_equal(got[9:], np.repeat(X[8:], 7, axis=0))
    np.testing.assert_array_equal(np.bincount(labels), [8, 8])


points_of_a_class = arrays(
    np.float64, st.tuples(st.integers(2, 9), st.integers(1, 4)), elements=st.integers(-4, 4).map(float)
) | arrays(
    np.float32,
    st.tuples(st.integers(2, 9), st.integers(1, 4)),
    elements=st.floats(-10, 10, width=32, allow_subnormal=False),
)


@settings(max_examples=60, deadline=None)
@given(points_of_a_class, st.integers(0, 2**32 - 1), st.sampled_from(["cycle", "random", "extend"]))
def test_each_point_lies_between_its_seed_and_its_weighted_neighbour(minority, seed, seed_order):
    """History and result step by step: the loop is fed with the points that ADOS itself made before."""
    n, d = minority.shape
    X = np.concatenate([np.zeros((25, d), minority.dtype), minority])
    y = np.repeat([0, 1], [25, n])
    new = ADOS(random_state=seed, nu_min=5, seed_order=seed_order).fit_resample(X, y)[0][25 + n :]
    want, history = literal_class(
        minority, 25 - n, stream(seed, 1), n_max=25, n_min=n, nu_min=5, seed_order=seed_order, made=new
    )
    scale = max(1.0, float(np.abs(minority).max()))
    np.testing.assert_allclose(new, want, rtol=0, atol=rounding_of(minority))
    low, high = minority.min(axis=0), minority.max(axis=0)
    slack = 1e-5 * scale if minority.dtype == np.float32 else 1e-12 * scale
    for made, (point, (x, neighbour, delta, k, k_max)) in enumerate(zip(new, history, strict=True)):
        assert 0 <= delta < 1
        assert min(2, n + made - 1) <= k <= min(k_max, n + made - 1)
        assert np.all(point >= low - slack)
        assert np.all(point <= high + slack)
        along = neighbour - x
        if along @ along > (1e-3 * scale) ** 2:
            share = (point - x) @ along / (along @ along)
            assert -1e-3 <= share <= 1 + 1e-3
            np.testing.assert_allclose(point, x + share * along, rtol=0, atol=1e-3 * scale)


def test_example_4_1():
    assert [max_neighbors(n, n_max=1000, n_min=200) for n in (400, 600)] == [13, 16]
    assert max_neighbors(200, n_max=1000, n_min=200) == 10
    assert max_neighbors(1000, n_max=1000, n_min=200) == 20


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 40), st.integers(0, 40))
def test_the_smallest_class_has_exactly_nu_min(a, b, nu_min, more):
    n_min, n_max = sorted((a, b))
    if n_min < n_max:
        assert max_neighbors(n_min, n_max=n_max, n_min=n_min, nu_max=nu_min + more, nu_min=nu_min) == nu_min


def test_example_4_2():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2100, 2)), np.repeat([1, 2], [2000, 100])
    ados = ADOS(random_state=0, desired_ratio=4)
    _, labels = ados.fit_resample(X, y)
    np.testing.assert_array_equal(np.bincount(labels), [0, 2000, 500])
    want = np.concatenate([np.full(2000, 1 / 21), np.full(100, 20 / 21), np.full(400, 4 / 5)])
    np.testing.assert_allclose(ados.sample_weight_, want)
    ados.set_params(reweight="none").fit_resample(X, y)
    np.testing.assert_array_equal(ados.sample_weight_, 1)


def test_same_seed_same_result_and_another_seed_another():
    X, y = problem()
    first = ADOS(random_state=0).fit_resample(X, y)[0]
    np.testing.assert_array_equal(first, ADOS(random_state=0).fit_resample(X, y)[0])
    assert not np.allclose(first, ADOS(random_state=1).fit_resample(X, y)[0])
    unseeded = ADOS()
    assert not np.allclose(unseeded.fit_resample(X, y)[0], unseeded.fit_resample(X, y)[0])


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_a_generator_is_a_seed_that_moves_on(make):
    X, y = problem()
    one, two = make(3), make(3)
    np.testing.assert_array_equal(
        ADOS(random_state=one).fit_resample(X, y)[0], ADOS(random_state=two).fit_resample(X, y)[0]
    )
    assert not np.allclose(
        ADOS(random_state=one).fit_resample(X, y)[0], ADOS(random_state=make(3)).fit_resample(X, y)[0]
    )


def test_a_class_does_not_depend_on_which_others_grow():
    X, y = problem()
    both = ADOS(random_state=0).fit_resample(X, y)
    alone = ADOS(random_state=0, sampling_strategy={2: 60}).fit_resample(X, y)
    np.testing.assert_array_equal(both[0][both[1] == 2], alone[0][alone[1] == 2])


@pytest.mark.parametrize("n_jobs", [1, 2, 3, None])
def test_the_number_of_threads_changes_nothing(n_jobs):
    X, y = problem(sizes=(300, 50, 40, 70, 3))
    want = ADOS(random_state=0).fit_resample(X, y)[0]
    np.testing.assert_array_equal(want, ADOS(random_state=0, n_jobs=n_jobs).fit_resample(X, y)[0])


def test_pickle_clone_and_parameters():
    ados = ADOS(nu_max=30, k_rule="printed", random_state=7, border=True)
    assert clone(ados).get_params() == ados.get_params()
    X, y = problem()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResamplingWarning)
        want = ados.fit_resample(X, y)[0]
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(ados)).fit_resample(X, y)[0], want)
        np.testing.assert_array_equal(copy.deepcopy(ados).fit_resample(X, y)[0], want)


def grown(points, m, bound, *, work_bytes=200e6, seeds=None, weights="exp", seed_order="cycle", k_max=10):
    rng = np.random.default_rng(1)
    seeds = np.arange(len(points)) if seeds is None else seeds
    drawn = (
        seeds[rng.integers(len(seeds), size=m)]
        if seed_order == "random"
        else seeds[np.arange(m) % len(seeds)]
    )
    new = np.empty((m, points.shape[1]), dtype=points.dtype)
    grow_class(
        points, new, seeds, drawn, rng.random(m), k_max=k_max, k_min=2, k_rule="linear", weights=weights,
        work_bytes=work_bytes, bound=bound,
    )  # fmt: skip
    return new


def noise(n, d, dtype):
    return np.random.default_rng(2).normal(size=(n, d)).astype(dtype)


def clustered(n, d, dtype):
    rng = np.random.default_rng(3)
    return np.maximum(
        rng.normal(size=(n, d)) * 0.1 ** np.arange(d) ** 0.5 + rng.integers(3, size=(n, 1)), 0
    ).astype(dtype)


def far_away(n, d, dtype):
    return noise(n, d, dtype) + dtype(1000)


def repeated(n, d, dtype):
    return np.repeat(noise(n // 4, d, dtype), 4, axis=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [noise, clustered, far_away, repeated])
@pytest.mark.parametrize(("n", "d", "m"), [(240, 40, 900), (30, 3, 700), (60, 64, 400)])
def test_all_lower_bounds_give_the_same_points(make, n, d, m, dtype):
    """The three bounds rule out different points, so a bound that is too high would show as a difference."""
    points = make(n, d, dtype)
    want = grown(points, m, "product")
    for bound in ("triangle", "mixture", "auto"):
        np.testing.assert_array_equal(grown(points, m, bound), want)


@pytest.mark.parametrize("make", [noise, clustered, repeated])
@pytest.mark.slow
def test_many_seeds_equal_the_literal_loop(make):
    points = make(240, 40, np.float64)
    want, _ = literal_class(points, 260, np.random.default_rng(1), n_max=500, n_min=240)
    np.testing.assert_allclose(grown(points, 260, "auto"), want, rtol=0, atol=1e-9)


@pytest.mark.parametrize("bound", ["triangle", "mixture", "product"])
def test_bounds_with_some_seeds_random_order_and_little_memory(bound):
    points = clustered(230, 40, np.float32)
    seeds = np.arange(5, 230, 3)
    want = grown(points, 600, "auto", seeds=seeds, seed_order="random", work_bytes=1)
    got = grown(points, 600, bound, seeds=seeds, seed_order="random")
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("make", "d", "mixture"), [(noise, 2, False), (noise, 400, True), (clustered, 400, False)]
)
def test_the_bound_follows_from_how_many_seeds_the_triangle_leaves(monkeypatch, make, d, mixture):
    calls = []
    fill = _ados_kernel.fill_rows
    monkeypatch.setattr(_ados_kernel, "fill_rows", lambda *arguments: (calls.append(1), fill(*arguments))[1])
    grown(make(400, d, np.float32), 500, "auto")
    assert bool(calls) == mixture


def test_points_without_room_for_rows_are_grown_by_products(monkeypatch):
    calls = []
    absorb = _ados_kernel.absorb_block
    monkeypatch.setattr(
        _ados_kernel, "absorb_block", lambda *arguments: (calls.append(1), absorb(*arguments))[1]
    )
    points = noise(600, 256, np.float32)
    got = grown(points, 4000, "auto", work_bytes=3e6)
    assert calls
    np.testing.assert_array_equal(got, grown(points, 4000, "triangle"))


def test_a_class_grown_a_hundredfold_stays_exact():
    """Lists shrink to rounding size there, and with them the least distance."""
    points = clustered(12, 6, np.float32)
    want, _ = literal_class(points, 500, np.random.default_rng(1), n_max=512, n_min=12)
    np.testing.assert_allclose(grown(points, 500, "auto"), want, rtol=0, atol=2e-5)


@pytest.mark.parametrize("seed_order", ["cycle", "random", "extend"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("make", "n", "d"), [(noise, 20, 3), (clustered, 9, 6), (repeated, 24, 30), (noise, 60, 1)]
)
@pytest.mark.parametrize("k_max", [2, 5])
def test_the_least_distance_is_that_of_all_pairs(monkeypatch, make, n, d, dtype, seed_order, k_max):
    """Grown until the points collapse, where most of them are left out by their distance from the seed."""
    states, m = [], 80 * n if d < 30 else 20 * n
    start = _ados_kernel.make_state
    monkeypatch.setattr(
        _ados_kernel, "make_state", lambda *args, **named: states.append(start(*args, **named)) or states[-1]
    )
    points = make(n, d, dtype)
    for made in (1, 2, 4, 7, n, 3 * n, m):
        states.clear()
        new = grown(points, made, "auto", k_max=k_max, seed_order=seed_order)
        every = np.concatenate([points, new]).astype(np.float64)
        squares = np.concatenate(
            [((every[i + 1 :] - every[i]) ** 2).sum(axis=1) for i in range(len(every) - 1)]
        )
        least = squares[squares > 0].min()
        np.testing.assert_allclose(states[0].extreme[0], least, rtol=1e-12, atol=0)
