"""Heads trained to convergence on standardized embeddings: L-BFGS, with the L2 penalty chosen by cross-validation.

The objective of a head with parameters W and b on embeddings z_i of classes y_i is::

    sum_i w_i loss(W z_i + b, y_i) / sum_i w_i  +  penalty / 2 * ||W||^2

so scikit-learn's C is 1 / (penalty * N) where all weights are 1.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.balance.losses import ClassificationLoss, CrossEntropy
from counterpoise.datasets import make_folds, map_indices
from counterpoise.exceptions import DataError, TrainingError

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
FOLDS = 4
#: In a fold the penalty is not lowered further once the held-out loss is this many standard errors above the lowest.
PATIENCE = 2.0
#: Images of a class that cross-validation of the penalty uses at most.
CROSS_VALIDATED = 1000
_STEPS = 200
CPU = torch.device("cpu")
_MOST_REMEMBERED = 8
_remembered: dict[str, float] = {}


@dataclass(frozen=True)
class HeadSamples:
    """Embeddings (N, d), classes (N,) and positive sample weights (N,) that a head learns from."""

    embeddings: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, embeddings: np.ndarray, labels: np.ndarray) -> HeadSamples:
        """Return samples of equal weight."""
        return cls(embeddings, labels, np.ones(len(labels), dtype=np.float32))


@dataclass(frozen=True)
class HeadObjective:
    """Objective of a head: `start` is the head to begin from, which is copied; `loss` returns one value per sample."""

    start: nn.Module
    loss: ClassificationLoss
    device: torch.device

    @classmethod
    def plain(cls, width: int, classes: int, device: torch.device) -> HeadObjective:
        """Return the cross entropy of a linear head."""
        head = nn.utils.skip_init(nn.Linear, width, classes)
        for parameter in head.parameters():
            nn.init.zeros_(parameter)
        return cls(head, CrossEntropy(reduction="none"), device)

    @property
    def penalized(self) -> list[str]:
        """Names of the parameters under the penalty: weights beside a bias; without one their length has no effect."""
        names = {name for name, _ in self.start.named_parameters()}
        biases = [name for name in names if name.split(".")[-1] == "bias"]
        return sorted(names & {name.removesuffix("bias") + "weight" for name in biases})


def choose_penalty(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
    device: torch.device = CPU,
    cores: int = 1,
) -> float:
    """Return the penalty for heads on the embeddings (N, d), float32, of images of the classes `labels`.

    The largest one is chosen whose cross-validated loss is within one standard error of the lowest; `groups` stay
    together in the folds, which follow from `seed`. It is the cross entropy of plain logistic regression for every
    method: a loss that gives a handful of images most of the weight varies so much that its standard error admits any
    penalty. The largest one is returned where no image can be held out, since each class has one image or group only.
    So many folds as there are `cores` are computed at a time, by the threads of torch that the caller has set for each.

    The last few answers are remembered: methods that are compared on the same embeddings ask for the same one.
    """
    digest = hashlib.blake2b(repr((seed, device.type, embeddings.shape)).encode())
    for values in (embeddings, labels, *(() if groups is None else (groups,))):
        digest.update(np.ascontiguousarray(values).data)
    key = digest.hexdigest()
    found = _remembered.get(key)
    if found is None:
        found = _cross_validated(embeddings, labels, groups, seed, device, cores)
        for old in list(_remembered)[: 1 - _MOST_REMEMBERED]:
            _remembered.pop(old, None)
        _remembered[key] = found
    return found


def _cross_validated(
    embeddings: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    seed: int,
    device: torch.device,
    cores: int,
) -> float:
    try:
        folds = make_folds(labels, groups, folds=FOLDS, random_state=seed)[0]
    except DataError:
        return max(PENALTIES)
    objective = HeadObjective.plain(embeddings.shape[1], int(labels.max()) + 1, device)
    used = _capped(labels, seed)
    scored = np.flatnonzero(used & (folds >= 0))
    losses = np.full((len(PENALTIES), len(labels)), np.nan)

    def score(fold: int) -> None:
        inside, outside = np.flatnonzero(used & (folds != fold)), np.flatnonzero(used & (folds == fold))
        if not len(outside):
            return
        samples = HeadSamples.of(embeddings[inside], labels[inside])
        held_out, targets = (torch.from_numpy(v[outside]).to(device) for v in (embeddings, labels))
        head: nn.Module | None = None
        for index, penalty in enumerate(PENALTIES):
            # A lower tolerance moves the loss by a hundredth of its standard error, and takes half as long again.
            head, _, _ = minimize(objective, samples, penalty, start=head, tolerance=1e-6)
            with torch.inference_mode():
                losses[index, outside] = objective.loss(head(held_out), targets).cpu().numpy()
            means = losses[: index + 1, outside].mean(axis=1)
            if means[-1] > means.min() + PATIENCE * _standard_error(losses[means.argmin(), outside]):
                break

    map_indices(score, FOLDS, threads=cores, chunk=1)
    means = losses[:, scored].mean(axis=1)
    best = int(np.nanargmin(means))
    most = means[best] + _standard_error(losses[best, scored])
    return next(penalty for penalty, mean in zip(PENALTIES, means, strict=True) if mean <= most)


def minimize(
    objective: HeadObjective,
    samples: HeadSamples,
    penalty: float,
    *,
    start: nn.Module | None = None,
    tolerance: float = 1e-9,
) -> tuple[nn.Module, float, int]:
    """Return the head that minimizes the objective on `samples`, the minimum, and the number of evaluations.

    Iterations end where the objective or the step changes by less than `tolerance`.
    """
    head = copy.deepcopy(objective.start if start is None else start).to(objective.device)
    inputs, targets, weights = (
        torch.from_numpy(np.ascontiguousarray(values)).to(objective.device)
        for values in (samples.embeddings, samples.labels, samples.weights / samples.weights.sum())
    )
    parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
    penalized = [head.get_parameter(name) for name in objective.penalized] if penalty else []
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=_STEPS,
        tolerance_grad=1e-5,
        tolerance_change=tolerance,
        history_size=10,
        line_search_fn="strong_wolfe",
    )
    evaluations = 0
    minimum = torch.zeros(())

    def closure() -> Tensor:
        nonlocal evaluations, minimum
        evaluations += 1
        optimizer.zero_grad()
        loss = (objective.loss(head(inputs), targets) * weights).sum()
        for parameter in penalized:
            loss = loss + penalty / 2 * parameter.square().sum()
        if not torch.isfinite(loss):
            raise TrainingError(
                "the head's loss is not finite; check the embeddings (damaged weights?) and sample weights"
            )
        loss.backward()
        minimum = loss.detach()
        return loss

    head.train()
    optimizer.step(closure)
    optimizer.zero_grad()
    return head.eval(), float(minimum), evaluations


def _capped(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return which images cross-validation uses, bool (N,): at most a number of each class, drawn by `seed`."""
    used = np.zeros(len(labels), dtype=bool)
    generator = np.random.default_rng(seed)
    for label in np.unique(labels):
        used[generator.permutation(np.flatnonzero(labels == label))[:CROSS_VALIDATED]] = True
    return used


def _standard_error(values: np.ndarray) -> float:
    return float(values.std() / np.sqrt(len(values)))
