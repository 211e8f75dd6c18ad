"""Loss of a balanced product of experts (BalPoE)."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import counts_as_array
from counterpoise.balance.losses.base import ClassificationLoss, log_shares, one_for_each_logit
from counterpoise.exceptions import InputError


class BalPoELoss(ClassificationLoss):
    """Mean of logit-adjusted cross entropies, one for each expert (BalPoE; Sanchez Aimar et al. 2023).

    Parameters
    ----------
    class_counts : array-like of int, shape (C,)
        Training samples of each class. A class without samples has no share in the softmax and must not be a target.
    tau : float, default=1.0
        Mean weight of the counts over the experts, at least 0.
    spread : float, default=1.0
        Distance of the first and of the last expert's weight from `tau`.

    Notes
    -----
    ``mean_k -log softmax(z_k + tau_k * log n)_y`` for the logits z_k of K experts, with tau_k evenly spaced from
    ``tau - spread`` to ``tau + spread``: 0, 1 and 2 for three. In the paper's terms expert k is trained for test images
    with class shares proportional to ``n_c^(1 - tau_k)``: those of the training images, equal, and inverse ones. The
    prediction is the mean of the experts' logits, for which `tau` = 1 is balanced. ``head_layer=experts`` gives the
    network three linear heads; on the logits of any other head the loss is :class:`BalancedSoftmax`. The product
    needs calibrated experts, hence mixup in the method. The paper's experts have the last stages of the network for
    themselves; here they share the whole embedding, so they differ less.

    Helps: for balanced test images, over long training.

    Hurts: on one shared embedding the gain over balanced softmax is small.

    Examples
    --------
    >>> loss = BalPoELoss(class_counts=[3, 1])
    >>> loss.taus(3)
    tensor([0., 1., 2.], dtype=torch.float64)
    >>> float(loss(torch.zeros(1, 2), torch.tensor([1])).exp())  # 1 / (1 / 4)
    4.0
    """

    takes_experts: ClassVar[bool] = True
    log_share: Tensor

    def __init__(
        self,
        *,
        class_counts: ArrayLike,
        tau: float = 1.0,
        spread: float = 1.0,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(label_smoothing=label_smoothing, reduction=reduction)
        for name, value in (("tau", tau), ("spread", spread)):
            if not 0 <= value < float("inf"):
                raise InputError(f"{name} is {value}; expected a finite number, 0 or more")
        self.tau = tau
        self.spread = spread
        self.register_buffer("log_share", log_shares(counts_as_array(class_counts)), persistent=False)

    def taus(self, experts: int) -> Tensor:
        """Return the weight of the counts for each of K experts, float64 (K,)."""
        steps = torch.linspace(-1, 1, experts, dtype=torch.float64, device=self.log_share.device)
        return self.tau + self.spread * (steps if experts > 1 else steps.zero_())

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_share = one_for_each_logit(self.log_share, logits, f"found {len(self.log_share)} class counts")
        experts = logits if logits.ndim == 3 else logits[:, None]
        taus = self.taus(experts.shape[1]).to(log_share)
        # torch has the classes second.
        adjusted = (experts + taus[:, None] * log_share).transpose(1, 2)
        each = targets[..., None].expand(*targets.shape, len(taus))
        return F.cross_entropy(adjusted, each, reduction="none").mean(dim=1)

    _mixed = _unreduced
