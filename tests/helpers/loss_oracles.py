"""Every loss, and a slow loop written from its equation."""

from __future__ import annotations

import math

import torch

from counterpoise.balance.losses import (
    BalancedSoftmax,
    BalPoELoss,
    ClassBalancedLoss,
    CostModifiedSoftmax,
    CrossEntropy,
    ExpectedCostLoss,
    FocalLoss,
    LDAMLoss,
    SigmoidCrossEntropy,
    VSLoss,
    WeightedCrossEntropy,
)

COUNTS = [50, 5, 20, 1]
# Rows: true classes. The third class is never a mistake worth avoiding for the first; being right on the last costs 2.
COSTS = [[0, 3, 0, 1.5], [9, 0, 2, 4], [1, 1, 0, 1], [7, 5, 6, 2]]
LOSSES = {
    "plain": lambda **kw: CrossEntropy(**kw),
    "smoothed": lambda **kw: CrossEntropy(label_smoothing=0.2, **kw),
    "weighted": lambda **kw: WeightedCrossEntropy(class_counts=COUNTS, **kw),
    "weighted-mean": lambda **kw: WeightedCrossEntropy(
        class_counts=COUNTS, power=0.5, normalize="mean", **kw
    ),
    "balanced": lambda **kw: BalancedSoftmax(class_counts=COUNTS, **kw),
    "balanced-tau": lambda **kw: BalancedSoftmax(class_counts=COUNTS, tau=0.3, **kw),
    "focal": lambda **kw: FocalLoss(**kw),
    "focal-inverse": lambda **kw: FocalLoss(gamma=0.5, alpha="inverse", class_counts=COUNTS, **kw),
    "focal-alpha": lambda **kw: FocalLoss(gamma=1.0, alpha=[0.5, 1, 0, 4], **kw),
    "effective": lambda **kw: ClassBalancedLoss(class_counts=COUNTS, beta=0.9, **kw),
    "effective-focal": lambda **kw: ClassBalancedLoss(class_counts=COUNTS, gamma=0.7, **kw),
    "effective-sigmoid": lambda **kw: ClassBalancedLoss(class_counts=COUNTS, base="sigmoid", **kw),
    "effective-sigmoid-focal": lambda **kw: ClassBalancedLoss(
        class_counts=COUNTS, base="sigmoid", gamma=1.5, **kw
    ),
    "margins": lambda **kw: LDAMLoss(class_counts=COUNTS, scale=4.0, **kw),
    "margins-weighted": lambda **kw: LDAMLoss(class_counts=COUNTS, max_margin=0.1, defer_epochs=0, **kw),
    "sigmoid": lambda **kw: SigmoidCrossEntropy(**kw),
    "sigmoid-inverse": lambda **kw: SigmoidCrossEntropy(positive_weight="inverse", class_counts=COUNTS, **kw),
    "sigmoid-weighted": lambda **kw: SigmoidCrossEntropy(positive_weight=[0.5, 1, 0, 4], **kw),
    "scaled": lambda **kw: VSLoss(class_counts=COUNTS, **kw),
    "scaled-more": lambda **kw: VSLoss(class_counts=COUNTS, gamma=0.7, tau=1.5, **kw),
    "expert": lambda **kw: BalPoELoss(class_counts=COUNTS, tau=0.7, **kw),
    "expected": lambda **kw: ExpectedCostLoss(class_counts=COUNTS, **kw),
    "expected-costs": lambda **kw: ExpectedCostLoss(costs=COSTS, **kw),
    "modified": lambda **kw: CostModifiedSoftmax(class_counts=COUNTS, **kw),
    "modified-costs": lambda **kw: CostModifiedSoftmax(costs=COSTS, **kw),
}


def batch(n=7, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(n, len(COUNTS), generator=generator, dtype=dtype)
    return logits, torch.arange(n) % len(COUNTS)


def softmax(row):
    total = sum(math.exp(z) for z in row)
    return [math.exp(z) / total for z in row]


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def mean_one(raw):
    return [w * len(raw) / sum(raw) for w in raw]


def inverse(power=1.0):
    return [(sum(COUNTS) / n) ** power for n in COUNTS]


def effective(beta=0.9999):
    """Weights of mean 1, with the effective number as the sum it comes from."""
    return mean_one([1 / sum(beta**j for j in range(n)) for n in COUNTS])


def from_counts():
    return [[0 if k == y else max(COUNTS) / n for k in range(4)] for y, n in enumerate(COUNTS)]


def plain(row, y):
    return -math.log(softmax(row)[y])


def smoothed(row, y):
    wanted = [0.2 / len(row) + (0.8 if c == y else 0.0) for c in range(len(row))]
    return -sum(q * math.log(p) for q, p in zip(wanted, softmax(row), strict=True))


def balanced(row, y, tau):
    raised = [(n / sum(COUNTS)) ** tau * math.exp(z) for n, z in zip(COUNTS, row, strict=True)]
    return -math.log(raised[y] / sum(raised))


def focal(row, y, gamma):
    return (1 - softmax(row)[y]) ** gamma * plain(row, y)


def sigmoids(row, y, gamma=0.0, positive=(1, 1, 1, 1)):
    total = 0.0
    for c, z in enumerate(row):
        p = sigmoid(z) if c == y else 1 - sigmoid(z)
        total -= (positive[c] if c == y else 1) * (1 - p) ** gamma * math.log(p)
    return total


def margins(row, y, scale, largest):
    margin = [largest * n**-0.25 / max(m**-0.25 for m in COUNTS) for n in COUNTS]
    return plain([z - scale * margin[y] if c == y else z for c, z in enumerate(row)], y)


def scaled(row, y, gamma, tau):
    """Kini et al. 2021: log(sum_c exp(Delta_c z_c + iota_c)) - (Delta_y z_y + iota_y)."""
    z = [(n / 50) ** gamma * z + tau * math.log(n / 76) for n, z in zip(COUNTS, row, strict=True)]
    return math.log(sum(map(math.exp, z))) - z[y]


def expected(row, y, costs):
    return sum(p * costs[y][k] for k, p in enumerate(softmax(row)))


def modified(row, y, costs):
    xi = [costs[y][k] or (1 if k == y else 0) for k in range(4)]
    raised = [x * math.exp(z) for x, z in zip(xi, row, strict=True)]
    return -math.log(raised[y] / sum(raised))


SLOW = {
    "plain": plain,
    "smoothed": smoothed,
    "weighted": lambda row, y: inverse()[y] / sum(inverse()) * plain(row, y),
    "weighted-mean": lambda row, y: mean_one(inverse(0.5))[y] * plain(row, y),
    "balanced": lambda row, y: balanced(row, y, 1.0),
    "balanced-tau": lambda row, y: balanced(row, y, 0.3),
    "focal": lambda row, y: focal(row, y, 2.0),
    "focal-inverse": lambda row, y: mean_one(inverse())[y] * focal(row, y, 0.5),
    "focal-alpha": lambda row, y: [0.5, 1, 0, 4][y] * focal(row, y, 1.0),
    "effective": lambda row, y: effective(0.9)[y] * plain(row, y),
    "effective-focal": lambda row, y: effective()[y] * focal(row, y, 0.7),
    "effective-sigmoid": lambda row, y: effective()[y] * sigmoids(row, y),
    "effective-sigmoid-focal": lambda row, y: effective()[y] * sigmoids(row, y, 1.5),
    "margins": lambda row, y: margins(row, y, 4.0, 0.5),
    "margins-weighted": lambda row, y: effective()[y] * margins(row, y, 30.0, 0.1),
    "sigmoid": sigmoids,
    "sigmoid-inverse": lambda row, y: sigmoids(row, y, positive=[(76 - n) / n for n in COUNTS]),
    "sigmoid-weighted": lambda row, y: sigmoids(row, y, positive=[0.5, 1, 0, 4]),
    "scaled": lambda row, y: scaled(row, y, 0.3, 1.0),
    "scaled-more": lambda row, y: scaled(row, y, 0.7, 1.5),
    "expert": lambda row, y: balanced(row, y, 0.7),
    "expected": lambda row, y: expected(row, y, from_counts()),
    "expected-costs": lambda row, y: expected(row, y, COSTS),
    "modified": lambda row, y: modified(row, y, from_counts()),
    "modified-costs": lambda row, y: modified(row, y, COSTS),
}
