"""ADOS: how many neighbors a point uses.

ADOS makes a synthetic sample from a point and its k nearest neighbors in the class. k falls along a line with
the distance to the nearest of them: from k_max in the densest place of the class to 2 in the sparsest
(thesis, line 16 of Algorithm 4 and Figure 4.1). Lines 11 to 14 as they are printed contradict it: they give
the fewest neighbors at the least distance and the most at the greatest. `k_rule="printed"` follows them; the
two rules differ at these two ends only. k_max grows with the class, from 10 in the smallest to 20 in the
largest (Eq. 4.3), more slowly than the class itself. The points on the left are measured: the `weights` of
ADOS may be a function, which receives the distances of the neighbors that it uses.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch

from counterpoise.balance.features import ADOS, max_neighbors

LEAST = 0.125  # distance of the nearest two points of a class; the farthest two are 1 apart


def class_with(nearest: float) -> np.ndarray:
    """Return a class of 32 points in which the first has its nearest neighbor at that distance."""
    pair = math.sqrt(0.75 - (LEAST / 2) ** 2)
    far = [[pair, LEAST / 2, 0.5], [pair, -LEAST / 2, 0.5]]  # LEAST apart, and 1 from the copies at 0
    return np.array([[0, 0, nearest], *far, *[[0, 0, 0]] * 29])


def neighbors_used(nearest: float, k_max: int, k_rule: str) -> int:
    """Return the number of neighbors that ADOS uses for a point with its nearest neighbor at that distance."""
    found = []

    def weights(of_neighbors: torch.Tensor) -> torch.Tensor:
        found.append(len(of_neighbors))
        return torch.ones_like(of_neighbors)

    X = torch.from_numpy(np.concatenate([np.zeros((33, 3)), class_with(nearest)]))
    y = np.repeat([0, 1], [33, 32])  # one sample is missing; its seed is the first point of the class
    ADOS(nu_max=k_max, nu_min=k_max, k_rule=k_rule, weights=weights).fit_resample(X, y)
    return found[-1]


distances, ends = np.linspace(LEAST, 1, 57), np.array([LEAST, 1])
linear = {k_max: [neighbors_used(d, k_max, "linear") for d in distances] for k_max in (20, 15, 10)}
printed = {k_max: [neighbors_used(d, k_max, "printed") for d in ends] for k_max in (20, 15, 10)}

sizes = np.arange(200, 1001)
most = {
    rf"$\nu_{{min}}$ = {low}": [max_neighbors(n, n_max=1000, n_min=200, nu_min=low) for n in sizes]
    for low in (10, 5)
}
example = {200: 10, 400: 13, 600: 16, 1000: 20}  # the thesis's Example 4.1
assert [max_neighbors(n, n_max=1000, n_min=200) for n in example] == list(example.values())

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=(3, 2))
for (k_max, k), marker in zip(linear.items(), "osD", strict=True):
    (line,) = left.plot(distances, k, marker, markersize=4, label=rf"$k_{{max}}$ = {k_max}")
    left.plot(ends, printed[k_max], marker, markersize=9, color=line.get_color(), fillstyle="none")
left.plot([], [], "ko", markersize=9, fillstyle="none", label="as printed, where different")
left.set(
    title="Neighbors by density", xlabel="distance to the nearest neighbor", ylabel="number of neighbors $k$"
)
left.set_xticks([LEAST, 1], ["$d_{min}$\n(dense)", "$d_{max}$\n(sparse)"])
left.set(ylim=(0, 21.5), yticks=[2, 5, 10, 15, 20])
left.legend(loc="upper center")

for (name, k_max), style in zip(most.items(), ("-", "--"), strict=True):
    right.plot(sizes, k_max, style, label=name, drawstyle="steps-post")
right.plot(list(example), list(example.values()), "o", color="C0", label="Example 4.1")
right.set(
    title="The most neighbors by class size", xlabel="images of the class", ylabel="most neighbors, $k_{max}$"
)
right.set(ylim=(0, 21.5), yticks=[5, 10, 15, 20], xlim=(180, 1020))
right.legend(loc="lower right")

plt.show()
