"""Ways to retrain or replace a trained head."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError


class HeadStage(ABC):
    """Base of the ways to retrain or replace a trained head, given the embeddings of the training images.

    Training calls `prepare`, fits the returned module to the embeddings by gradient steps if `trains` is true, and
    calls `finish`, which stores the result in the head. Methods fill ``_prepare`` and ``_finish``.
    """

    #: Whether the head is reinitialized before.
    fresh: ClassVar[bool] = False
    #: Whether gradient steps follow.
    trains: ClassVar[bool] = True
    #: Factor of the learning rate in these steps.
    lr_factor: float = 1.0

    @abstractmethod
    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        """Return the module that is trained; it maps embeddings (N, d) to logits (N, C)."""

    def _finish(self, trained: nn.Module, head: nn.Module) -> None:  # noqa: B027 - often nothing is left to do
        """Store the result in `head`, where `trained` is not `head` itself."""

    def prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        """Return the module to be trained, or, where nothing is trained, the input of `finish`.

        `head` maps the `embeddings` (N, d), float32, of the training images to logits (N, C); `labels`, int64 (N,), are
        their classes. InputError if the shapes do not fit, or the method needs a linear head and finds another.
        """
        if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1] or not len(labels):
            raise InputError(
                f"found embeddings of shape {tuple(embeddings.shape)} and labels of shape {tuple(labels.shape)}; "
                "expected (N, d) and (N,)"
            )
        with torch.no_grad():
            return self._prepare(head, embeddings, labels)

    def finish(self, trained: nn.Module, head: nn.Module) -> None:
        """Store the result of training `trained`, which `prepare` returned, in `head`."""
        with torch.no_grad():
            self._finish(trained, head)


def linear_layer(head: nn.Module, name: str) -> nn.Linear:
    """Return `head` if it is linear, else raise InputError."""
    if not isinstance(head, nn.Linear):
        raise InputError(
            f"{name} needs a linear head, found {type(head).__name__}; use another method with it"
        )
    return head


class FineTunedHead(HeadStage):
    """Continue training the head at a lower learning rate.

    Parameters
    ----------
    lr_factor : float, default=0.1
        Factor of the learning rate; positive.
    shrink : float in (0, 1], default=1.0
        Factor of weights and bias before training. It changes no decision, but lets a head that is certain of all its
        training images learn from them again.

    Notes
    -----
    The second phase of two-phase training: the resampled network's head continues on the embeddings of all images.

    Helps: the head learns the true class shares again, so precision on rare classes is high.

    Hurts: the same shares pull predictions back to the large classes.
    """

    def __init__(self, *, lr_factor: float = 0.1, shrink: float = 1.0) -> None:
        if not (lr_factor > 0 and math.isfinite(lr_factor)):
            raise InputError(f"lr_factor is {lr_factor}; expected a positive number")
        if not 0 < shrink <= 1:
            raise InputError(f"shrink is {shrink}; expected a factor above 0 and at most 1")
        self.lr_factor = lr_factor
        self.shrink = shrink

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        for parameter in head.parameters():
            parameter.mul_(self.shrink)
        return head


class NearestMeanHead(HeadStage):
    """Nearest class mean of the embeddings (NCM; Kang et al. 2020, section 4.2).

    Notes
    -----
    With m_c the mean embedding of class c the logit is ``2 m_c . z - ||m_c||^2``, which is ``-||z - m_c||^2`` up to a
    term that all classes share: a linear head. A class without images is never predicted.

    Helps: a class needs only a few images for its mean.

    Hurts: classes of several clusters. Probabilities are overconfident, since squared distances are large numbers.

    Examples
    --------
    >>> head = nn.Linear(1, 2)
    >>> means = NearestMeanHead().prepare(head, torch.tensor([[0.0], [3.0]]), torch.tensor([0, 1]))
    >>> NearestMeanHead().finish(means, head)
    >>> head(torch.tensor([[1.0]])).tolist()
    [[0.0, -3.0]]
    """

    trains: ClassVar[bool] = False

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        linear = linear_layer(head, "ncm")
        classes = linear.out_features
        sums = embeddings.new_zeros(classes, embeddings.shape[1], dtype=torch.float64)
        sums.index_add_(0, labels, embeddings.double())
        counts = torch.bincount(labels, minlength=classes)
        means = sums / counts.clamp(min=1)[:, None]
        result = nn.utils.skip_init(nn.Linear, linear.in_features, classes, device=embeddings.device)
        result.weight.copy_(2 * means)
        result.bias.copy_(-means.square().sum(dim=1))
        result.bias[counts == 0] = torch.finfo(result.bias.dtype).min
        return result

    def _finish(self, trained: nn.Module, head: nn.Module) -> None:
        head.load_state_dict(trained.state_dict())


class NewHead(HeadStage):
    """Reinitialized head, trained on the embeddings (thesis, section 4.2; Kang et al. 2020, section 4.1, cRT).

    Notes
    -----
    Helps: training on imbalanced images often gives good embeddings; the imbalance does most harm in the head.

    Hurts: where the embedding itself never learned the rare classes, as after few epochs.
    """

    fresh: ClassVar[bool] = True

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        return head


class NormalisedHead(HeadStage):
    """Weights w_c / ||w_c||^tau of class c, and no bias (tau-norm; Kang et al. 2020, Eq. 4).

    Parameters
    ----------
    tau : float, default=1.0
        0 keeps the lengths (and still drops the bias), 1 makes all of them 1.

    Notes
    -----
    Training on many images makes a class's weight vector long, which favors the class; the division takes that back.

    Helps: it needs no training and no validation images.

    Hurts: vectors become long with the number of images only in longer training than a few epochs.

    Examples
    --------
    >>> import torch
    >>> head = nn.Linear(2, 2)
    >>> head.weight = nn.Parameter(torch.tensor([[3.0, 4.0], [0.0, 0.5]]))
    >>> NormalisedHead().finish(head, head)
    >>> [[round(w, 3) for w in row] for row in head.weight.tolist()]
    [[0.6, 0.8], [0.0, 1.0]]
    """

    trains: ClassVar[bool] = False

    def __init__(self, *, tau: float = 1.0) -> None:
        if not math.isfinite(tau):
            raise InputError(f"tau is {tau}; expected a number, usually in [0, 1]")
        self.tau = tau

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        return linear_layer(head, "tau-norm")

    def _finish(self, trained: nn.Module, head: nn.Module) -> None:
        linear = linear_layer(head, "tau-norm")
        lengths = linear.weight.norm(dim=1, keepdim=True).clamp(min=1e-12)
        linear.weight.div_(lengths**self.tau)
        if linear.bias is not None:
            linear.bias.zero_()


class ScaledHead(HeadStage):
    """One learned factor f_c for the logits of each class c (LWS, learnable weight scaling; Kang et al. 2020, Eq. 5).

    Notes
    -----
    ``f_c (w_c . z + b_c)``: only the C factors are trained, then multiplied into the head's weights and bias.

    Helps: C numbers cannot overfit.

    Hurts: it cannot rotate a class vector, only stretch it.

    Examples
    --------
    >>> head = nn.Linear(3, 2)
    >>> scaled = ScaledHead().prepare(head, torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64))
    >>> sum(p.numel() for p in scaled.parameters())
    2
    """

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        return _Scaled(linear_layer(head, "lws"))

    def _finish(self, trained: nn.Module, head: nn.Module) -> None:
        assert isinstance(trained, _Scaled)
        linear = linear_layer(head, "lws")
        linear.weight.mul_(trained.factors[:, None])
        linear.bias.mul_(trained.factors)


class _Scaled(nn.Module):
    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        # Buffers: what is not trained is no parameter of the stage, and is saved with its checkpoint.
        self.register_buffer("weight", linear.weight.detach().clone())
        self.register_buffer("bias", linear.bias.detach().clone())
        self.factors = nn.Parameter(torch.ones(linear.out_features, device=linear.weight.device))

    def forward(self, z: Tensor) -> Tensor:
        return self.factors * nn.functional.linear(z, self.weight, self.bias)  # type: ignore[arg-type]
