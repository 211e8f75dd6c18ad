"""Adversarial oversampling, and the gradient at the images that it needs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from counterpoise.balance.class_weights import counts_as_array
from counterpoise.balance.perturb.base import (
    Loss,
    Normalization,
    Perturbation,
    PerturbedBatch,
    Randomness,
    of_class,
)
from counterpoise.exceptions import InputError, UnknownNameError

# AOS poster: Table 2 for MNIST, Table 1 for photographs.
_EPS_SMALL_GRAYSCALE, _EPS = 0.1, 0.007
LISTED, ALL_BUT_LARGEST = "listed", "all-but-largest"
_SMALL = 32
_MINORITY_RATIO = 2.0  # thesis, Definition 1.3
# Half precision has no numbers below 6e-8: without a factor, as of a gradient scaler, small gradients would be 0.
_HALF_PRECISION_SCALE = 1024.0
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class AOS(Perturbation):
    """Adversarial examples of minority images (AOS; Wojciechowski & Lango, PMLR 183:98-111, 2022, Algorithm 1).

    Parameters
    ----------
    class_counts : array-like of int, shape (C,)
        Training images of each class before oversampling.
    minority_classes : sequence of int, optional
        Minority classes, such as those of a split manifest. Default: classes with at most half the images of the
        largest (thesis, Definition 1.3).
    minority : {"listed", "all-but-largest"}, default="listed"
        Classes that are changed: the minority classes, or all with fewer images than the largest.
    p : float in [0, 1], default=0.5
        Augmentation intensity: probability that a minority image is replaced.
    eps : float in [0, 1], optional
        Adversarial intensity: change of a pixel, in units of [0, 1]. Default: 0.1 for small grayscale images (one
        channel, at most 32 pixels wide and high), 0.007 for all others.
    mean, std : float or sequence of float, optional
        Normalization of the images, one value or one per channel, where they are not in [0, 1].

    Notes
    -----
    In every batch each image of a minority class is replaced, with probability p, by ``clip(x + eps * sign(grad_x
    J(Theta, x, y)), 0, 1)``: the fast gradient sign method (FGSM; Goodfellow et al. 2015) under the current weights.
    The poster's minority classes are those that were made rare. Random oversampling precedes the algorithm; that is the
    task of the sampler (:class:`~counterpoise.balance.samplers.ROS`). All gradients are computed in one pass.

    Helps: the same few images never look the same twice, so they are not memorized; most where rare classes have a
    dozen images.

    Hurts: up to a third more time per epoch; on photographs a large eps teaches noise.

    Examples
    --------
    Two lines in a training loop, for any network and loss:

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    >>> images, targets = torch.full((4, 1, 4, 4), 0.5), torch.tensor([0, 0, 0, 1])
    >>> aos = AOS(class_counts=[300, 10], p=1.0)
    >>> images = aos(images, targets, network, nn.CrossEntropyLoss())
    >>> [round(change, 3) for change in (images - 0.5).abs().amax(dim=(1, 2, 3)).tolist()]
    [0.0, 0.0, 0.0, 0.1]
    """

    # Finished runs are of the time when all classes but the largest were changed.
    added_options: ClassVar[Mapping[str, str]] = {"minority": ALL_BUT_LARGEST}

    def __init__(
        self,
        *,
        class_counts: ArrayLike,
        minority_classes: Sequence[int] | None = None,
        minority: str = LISTED,
        p: float = 0.5,
        eps: float | None = None,
        mean: Normalization = None,
        std: Normalization = None,
    ) -> None:
        if not 0 <= p <= 1:
            raise InputError(f"p is {p}; expected a probability in [0, 1]")
        if eps is not None and not 0 <= eps <= 1:
            raise InputError(f"eps is {eps}; expected a number in [0, 1], in units of the pixels")
        counts = counts_as_array(class_counts)
        self.p = p
        self.eps = eps
        self.mean, self.std = mean, std
        #: Whether a class is a minority class: bool of shape (C,).
        self.minority = torch.from_numpy(_minority_mask(counts, minority_classes, minority))

    def __call__(
        self, images: Tensor, targets: Tensor, network: nn.Module, loss: Loss, *, generator: Randomness = None
    ) -> Tensor:
        """Return the batch's images, some of the minority replaced; the arguments are those of `perturb`."""
        return self.perturb(images, targets, network=network, loss=loss, generator=generator).images

    def _perturb(
        self, images: Tensor, targets: Tensor, network: nn.Module, loss: Loss, generator: Randomness
    ) -> PerturbedBatch:
        if self.minority.device != targets.device:
            self.minority = self.minority.to(targets.device)
        decision = torch.rand(len(targets), generator=generator, device=targets.device) < self.p
        chosen = decision.logical_and_(of_class(self.minority, targets)).nonzero().squeeze(1)
        pixels = self._pixels(images)
        if not len(chosen):
            return PerturbedBatch(images, targets)
        # A positive factor for each channel does not change the gradient's signs.
        mask = input_gradient(network, loss, images[chosen], targets[chosen]).sign_()
        eps = _default_eps(images) if self.eps is None else self.eps
        adversarial = self._normalized(torch.add(pixels[chosen], mask, alpha=eps).clamp_(0, 1))
        return PerturbedBatch(images.clone().index_copy_(0, chosen, adversarial), targets)


def _minority_mask(counts: np.ndarray, listed: Sequence[int] | None, minority: str) -> np.ndarray:
    if minority == ALL_BUT_LARGEST:
        return counts < counts.max()
    if minority != LISTED:
        raise UnknownNameError("minority", minority, (LISTED, ALL_BUT_LARGEST))
    if listed is None:
        return (counts <= counts.max() / _MINORITY_RATIO) & (counts < counts.max())
    mask = np.zeros(len(counts), dtype=bool)
    for index in listed:
        if not 0 <= index < len(counts):
            raise InputError(
                f"minority_classes names class {index}; expected indices from 0 to {len(counts) - 1}"
            )
        mask[index] = True
    return mask


def _default_eps(images: Tensor) -> float:
    channels, height, width = images.shape[1:]
    return _EPS_SMALL_GRAYSCALE if channels == 1 and max(height, width) <= _SMALL else _EPS


def input_gradient(network: nn.Module, loss: Loss, images: Tensor, targets: Tensor) -> Tensor:
    """Return a positive multiple of the gradient of ``loss(network(images), targets)`` at each image (N, C, H, W).

    All images go through the network at once, in evaluation mode. With running statistics each image's gradient does
    not depend on the others; with those of a batch it would, and a batch of minority images alone would be normalized
    by other numbers than the training batch. Dropout is off. Parameters, their ``.grad``, buffers and every submodule's
    mode are restored. A loss that averages over the batch gives the images' own gradients divided by N.

    Parameters
    ----------
    network : torch.nn.Module
        Maps images to logits; also as wrapped by Lightning Fabric or `DistributedDataParallel`. The wrapper is left
        out: processes may have different numbers of images here, and must not wait for each other. A surrounding
        ``torch.autocast`` applies.
    loss : callable
        Returns a scalar, or one value per image, for logits and targets.

    Raises
    ------
    InputError
        If the loss has no gradient with respect to the images.

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> _ = nn.init.constant_(network[1].weight, 3.0)
    >>> input_gradient(network, lambda logits, targets: logits.sum(), torch.zeros(1, 1, 1, 2), torch.tensor([0]))
    tensor([[[[3., 3.]]]])
    """
    bare = _bare(network)
    x = _fast_layout(images.detach()).requires_grad_()
    modules = _all_modules(bare)
    with _evaluation_mode(modules), fixed_batch_norms(modules), torch.enable_grad():
        logits = bare(x)
        value = loss(logits, targets).sum()
        if logits.dtype == torch.float16:
            value = value * _HALF_PRECISION_SCALE
    if not value.requires_grad:
        raise InputError(
            "the loss has no gradient with respect to the images; the network must not switch gradients off"
        )
    return torch.autograd.grad(value, x)[0]


def _fast_layout(images: Tensor) -> Tensor:
    """Return grayscale images on a CPU with the strides of channels last, which halves the time of pooling.

    With one channel both layouts are the same in memory, and later layers take theirs from the strides.
    """
    channels, height, width = images.shape[1:]
    if channels > 1 or images.device.type != "cpu":
        return images
    return images.contiguous().as_strided(images.shape, (height * width, 1, width, 1))


def _bare(network: nn.Module) -> nn.Module:
    while isinstance(network, DistributedDataParallel) or _is_wrapped_by_fabric(network):
        network = cast(nn.Module, network.module)
    return network


def _is_wrapped_by_fabric(network: nn.Module) -> bool:
    # Fabric has two names, and a wrapped network exists only where one of them is loaded.
    fabrics = (sys.modules.get(name) for name in ("lightning_fabric", "lightning.fabric"))
    return any(fabric is not None and fabric.is_wrapped(network) for fabric in fabrics)


def _all_modules(network: nn.Module) -> list[nn.Module]:
    """Return the network and all its submodules once; five times as fast as ``network.modules()``."""
    found, waiting = {network: None}, [network]
    while waiting:
        for child in waiting.pop()._modules.values():
            if child is not None and child not in found:
                found[child] = None
                waiting.append(child)
    return list(found)


@contextmanager
def _evaluation_mode(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Switch each module to evaluation mode, and back to its own mode afterwards.

    The flags are set directly, since ``eval()`` of some modules does more, such as merging weights.
    """
    training = [module for module in modules if module.training]
    try:
        for module in training:
            _set_mode(module, training=False)
        yield
    finally:
        for module in training:
            _set_mode(module, training=True)


def _set_mode(module: nn.Module, *, training: bool) -> None:
    if "training" in vars(module):
        # Bypasses torch's own assignment, which searches parameters and buffers first.
        vars(module)["training"] = training
    else:  # a scripted module
        module.training = training


@contextmanager
def fixed_batch_norms(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Replace the batch norms among `modules` by their affine map under stored statistics.

    On the way back torch's own read the images once more, for gradients of parameters that are not needed here. Batch
    norms without stored statistics, and compiled modules, stay as they are.
    """
    modules = list(modules)
    norms = [] if any(_is_compiled(module) for module in modules) else [m for m in modules if _is_fixed(m)]
    scales, shifts = _scales_and_shifts(norms)
    try:
        for norm, scale, shift in zip(norms, scales, shifts, strict=True):
            norm.forward = partial(_affine, scale=scale, shift=shift)
        yield
    finally:
        for norm in norms:
            vars(norm).pop("forward", None)


def _affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    if x.dtype != scale.dtype:
        scale, shift = scale.to(x.dtype), shift.to(x.dtype)
    if x.ndim > 2:
        shape = (-1, *[1] * (x.ndim - 2))
        scale, shift = scale.view(shape), shift.view(shape)
    return torch.addcmul(shift, x, scale)


def _is_compiled(module: nn.Module) -> bool:
    # It would be recompiled for every batch.
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def _is_fixed(module: nn.Module) -> bool:
    # Exactly these classes: a subclass may do more.
    return type(module) in _BATCH_NORMS and module.running_mean is not None and "forward" not in vars(module)


def _scales_and_shifts(norms: list[Any]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return scale and shift of each batch norm; all in one call each, as they are small and many."""
    if not norms:
        return (), ()
    with torch.no_grad():
        scales: Any = torch._foreach_add([norm.running_var for norm in norms], [norm.eps for norm in norms])
        torch._foreach_sqrt_(scales)
        torch._foreach_reciprocal_(scales)
        affine = [i for i, norm in enumerate(norms) if norm.affine]
        if affine:
            torch._foreach_mul_([scales[i] for i in affine], [norms[i].weight for i in affine])
        shifts: Any = torch._foreach_mul([norm.running_mean for norm in norms], scales)
        torch._foreach_neg_(shifts)
        if affine:
            torch._foreach_add_([shifts[i] for i in affine], [norms[i].bias for i in affine])
    return scales, shifts
