"""ADOS: one step of growth.

A rare class of 20 points in two dimensions. The point in turn, the seed, takes its k nearest neighbors of the
same class (Algorithms 3 and 4). They are weighted by exp(−d / d_k), with d their distance and d_k that of the
farthest (Eq. 4.5), so near ones count more, by a factor of e at most. Their weighted mean is the synthetic
neighbor (Eq. 4.6), and the new sample lies at a random place between it and the seed (Eq. 4.7). The sample
joins the class, and the next point is the seed (Algorithm 5). All samples are convex combinations, so the
class grows denser and never wider: on the right, none lies outside its hull.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.spatial import ConvexHull

from counterpoise.balance.features import ADOS

rng = np.random.default_rng(7)
rare = rng.multivariate_normal([0, 0], [[1.0, 0.5], [0.5, 0.7]], size=20)
rare = rare[np.argsort(np.abs(rare - [2.2, 0.7]).sum(axis=1))]  # the seed, near (2.2, 0.7), comes first
common = rng.normal([3.0, -0.9], 0.5, size=(60, 2))
X = torch.from_numpy(np.concatenate([common, rare]))
y = np.repeat([0, 1], [60, 20])

steps = []


def weights(distances: torch.Tensor) -> torch.Tensor:
    """Eq. 4.5, the default; ADOS calls it in every step, with the distances of the k neighbors."""
    steps.append(distances.numpy())
    return torch.exp(-distances / distances[-1])


ados = ADOS(nu_min=6, weights=weights, random_state=8)  # at most 6 neighbors, to keep the picture clear
samples = ados.fit_resample(X, y)[0][80:].numpy()

# The first step again, from the formulas.
seed, distance = rare[0], np.linalg.norm(rare - rare[0], axis=1)
near = np.argsort(distance)[1 : len(steps[0]) + 1]
np.testing.assert_allclose(distance[near], steps[0])
share = np.exp(-steps[0] / steps[0][-1])
share /= share.sum()
synthetic_neighbor = share @ rare[near]
delta = np.linalg.norm(samples[0] - synthetic_neighbor) / np.linalg.norm(seed - synthetic_neighbor)
np.testing.assert_allclose(samples[0], delta * seed + (1 - delta) * synthetic_neighbor)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5.6))
left.plot(*rare.T, "o", color="0.75", markersize=7, label="the other points of the class")
for neighbor, weight in zip(rare[near], share, strict=True):
    left.plot(*zip(seed, neighbor, strict=True), color="C0", linewidth=30 * weight**1.5, alpha=0.3)
    away = 17 * (neighbor - seed) / np.linalg.norm(neighbor - seed)
    left.annotate(
        f"{weight:.2f}", neighbor, away, textcoords="offset points", ha="center", va="center", color="C0"
    )
left.plot(
    *rare[near].T, "o", color="C0", markersize=7, label=f"its {len(near)} nearest neighbors and their weights"
)
left.plot(*zip(seed, synthetic_neighbor, strict=True), "k--", linewidth=1.2)
left.plot(*seed, "ks", markersize=9, label="seed")
left.plot(*synthetic_neighbor, "kD", markersize=8, markerfacecolor="white", label="synthetic neighbor")
left.plot(*samples[0], "*", color="C1", markersize=15, label=f"new sample, δ = {delta:.2f}")
left.set(title="One step", xlim=(0.3, 2.9), ylim=(-0.4, 1.87))

hull = rare[ConvexHull(rare).vertices]
right.fill(*hull.T, color="0.94", zorder=0)
right.plot(*common.T, "s", color="0.55", markersize=4, label="common class, 60 points")
right.plot(*rare.T, "o", color="C0", markersize=7, label="rare class, 20 points")
right.plot(*samples.T, "*", color="C1", markersize=8, label=f"its {len(samples)} synthetic samples")
right.set(title="The class grown to the size of the other", adjustable="datalim")
for axis in (left, right):
    axis.set(xlabel="first feature", ylabel="second feature", aspect="equal")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))

plt.show()
