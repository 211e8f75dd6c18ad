"""Base class of all networks, and the configuration from which a network is rebuilt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypedDict

import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.networks.heads import COSINE_SCALE, CosineHead, OneVsRestHead, PrototypeHead, make_head
from counterpoise.seeding import torch_seed

if TYPE_CHECKING:
    from typing import Self


class HeadConfig(TypedDict, total=False):
    """Kind of head; numbers of prototypes and (if not 1) of deciding ones; the scale of a cosine head if not 30."""

    layer: str
    prototypes: int
    neighbors: int
    scale: float


class NetworkConfig(TypedDict):
    """Configuration of a network, as JSON values; written under ``network`` in ``run.json``.

    ``parameters`` is the number of trainable ones.
    """

    name: str
    num_classes: int
    in_channels: int
    image_size: list[int]
    embedding_dim: int
    parameters: int
    mean: list[float]
    std: list[float]
    head: HeadConfig
    options: dict[str, Any]


class Network(nn.Module):
    """An embedding followed by a head: ``forward(x) = head(embed(x))``.

    Images are floats in [0, 1] of shape (N, C, H, W). The network normalizes them itself, so that a perturbation of
    the input is in pixel units. A subclass creates its layers in ``_build`` and implements ``_features`` (normalized
    images to the last spatial map) and ``_pool`` (that map to the embedding) where they are more than ``backbone``
    and ``top``. Methods that take images raise `InputError` for other shapes and for integers.

    Parameters
    ----------
    **arguments
        As for :func:`create_network`; ``options`` are those of ``_build``.

    Attributes
    ----------
    mean, std : Tensor of shape (1, C, 1, 1)
        Buffers, saved with the weights. Three values for grayscale images: see `show_as_color`.
    features_mean, features_scale : Tensor of shape (embedding_dim,)
        Buffers of the option ``standardize``: ``embed`` returns ``(z - features_mean) / features_scale``.
    classifier : torch.nn.Module
        The head; a `torch.nn.Linear` for ``head_layer="linear"``.
    """

    #: Mean and standard deviation per channel that published weights of this architecture expect.
    pretrained_normalization: tuple[Sequence[float], Sequence[float]] | None = None

    #: Whether the layers depend on the image size, so that images of another size are refused.
    fixed_size = True

    #: Whether embeddings are standardized.
    standardize = False

    mean: Tensor
    std: Tensor
    features_mean: Tensor
    features_scale: Tensor
    backbone: nn.Module
    top: nn.Module

    def __init__(
        self,
        *,
        name: str,
        num_classes: int,
        in_channels: int,
        image_size: tuple[int, int],
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        head_layer: str = "linear",
        standardize: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.name = name
        self.head_layer = head_layer
        self.num_classes = _positive(num_classes, "num_classes")
        self.in_channels = _positive(in_channels, "in_channels")
        self.image_size = (_positive(image_size[0], "image height"), _positive(image_size[1], "image width"))
        self.options = options | ({"standardize": True} if standardize else {})
        given = [torch.as_tensor(values).numel() for values in (mean, std) if values is not None]
        shown_as_color = in_channels == 1 and 3 in given
        channels = 3 if shown_as_color else in_channels
        self.register_buffer("mean", _per_channel(mean, 0.0, channels, "mean"))
        self.register_buffer("std", _per_channel(std, 1.0, channels, "std"))
        if not (bool((self.std > 0).all()) and bool(torch.isfinite(self.std).all())):
            raise InputError(f"std is {self.std.flatten().tolist()}; expected positive values")
        if not bool(torch.isfinite(self.mean).all()):
            raise InputError(f"mean is {self.mean.flatten().tolist()}; expected finite values")
        self.embedding_dim: int = self._build(**options)
        if shown_as_color:
            self.show_as_color()
        self.standardize = standardize
        if standardize:
            self.register_buffer("features_mean", torch.zeros(self.embedding_dim))
            self.register_buffer("features_scale", torch.ones(self.embedding_dim))
        self.classifier = make_head(head_layer, self.embedding_dim, num_classes)

    def _build(self, *args: Any, **options: Any) -> int:
        """Create the layers below the head and return the width of the embedding.

        A subclass names the options that it accepts; any other is refused.
        """
        raise NotImplementedError

    def _features(self, x: Tensor) -> Tensor:
        """Return the last spatial map (N, c, h, w) of normalized images (N, C, H, W)."""
        return self.backbone(x)

    def _pool(self, features: Tensor) -> Tensor:
        """Return the embedding (N, d) of the last spatial map."""
        return self.top(features)

    def _embed(self, x: Tensor) -> Tensor:
        return self._pool(self._features(x))

    def features(self, x: Tensor) -> Tensor:
        """Return the last spatial map (N, c, h, w) of images (N, C, H, W); `InputError` if there is none."""
        return self._features(self._normalize(x))

    def embed(self, x: Tensor) -> Tensor:
        """Return the embedding (N, embedding_dim) of images (N, C, H, W), standardized where the network does that."""
        z = self.raw_embed(x)
        return (z - self.features_mean) / self.features_scale if self.standardize else z

    def raw_embed(self, x: Tensor) -> Tensor:
        """Return the embedding (N, embedding_dim) of images (N, C, H, W) before any standardization."""
        return self._embed(self._normalize(x))

    def set_standardization(self, mean: Tensor, scale: Tensor) -> None:
        """Standardize embeddings by `mean` and positive `scale`, both (embedding_dim,); needs ``standardize=True``."""
        if not self.standardize:
            raise InputError(
                f"{self.name} was built without standardize=True; its embedding is not standardized"
            )
        if not bool((scale > 0).all()):
            raise InputError("scale holds values that are not positive; use 1 for constant features")
        self.features_mean.copy_(mean)
        self.features_scale.copy_(scale)

    def head(self, z: Tensor) -> Tensor:
        """Return the logits (N, num_classes) of embeddings (N, embedding_dim)."""
        return self.classifier(z)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, num_classes) of images (N, C, H, W), floats in [0, 1].

        In training mode a head of experts returns those of each, see :class:`counterpoise.networks.heads.ExpertsHead`.
        """
        return self.head(self.embed(x))

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; modules whose parameters are all frozen stay in evaluation mode.

        A frozen batch norm therefore keeps its statistics; see :func:`counterpoise.networks.freeze`.
        """
        super().train(mode)
        for module in self.modules() if mode else ():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()
        return self

    def reset_head(self, num_classes: int | None = None, *, generator: torch.Generator | None = None) -> None:
        """Replace the head by a new one of its kind, with weights from the distribution of ``torch.nn.Linear``.

        By default the number of classes is unchanged and the weights come from torch's global generator.
        """
        if num_classes is not None:
            self.num_classes = _positive(num_classes, "num_classes")
        like = next(self.parameters())
        with nullcontext() if generator is None else torch_seed(0):
            head = make_head(self.head_layer, self.embedding_dim, self.num_classes)
        bound = self.embedding_dim**-0.5
        device = generator.device if generator is not None else "cpu"
        with torch.no_grad():
            for parameter in head.parameters():
                drawn = torch.rand(parameter.shape, generator=generator, device=device)
                parameter.copy_((2 * drawn - 1) * bound)
        if isinstance(head, OneVsRestHead):
            head.set_prior()
        self.classifier = head.to(like)

    def set_prototypes(self, centers: Tensor, labels: Tensor, *, neighbors: int = 1) -> None:
        """Replace the head by one that predicts by the nearest prototypes, see `PrototypeHead`.

        The prototypes `centers` (K, embedding_dim) are scaled to length 1; `labels` (K,), int64, are their classes.
        """
        width, count = self.embedding_dim, len(centers)
        head = PrototypeHead(width, self.num_classes, prototypes=count, neighbors=neighbors)
        self.head_layer, self.classifier = "prototype", head.to(next(self.parameters()).device)
        head.set_prototypes(centers, labels)

    def convert_weights(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return published weights with the names and shapes of this backbone, where a conversion is known."""
        return tensors

    def use_pretrained_normalization(self) -> None:
        """Normalize as published weights of this architecture expect, where that is known."""
        if self.pretrained_normalization is None:
            return
        mean, std = (torch.as_tensor(values, dtype=torch.float32) for values in self.pretrained_normalization)
        if len(mean) != self.in_channels:
            mean, std = (values.mean().expand(self.in_channels) for values in (mean, std))
        self.mean.copy_(mean.reshape(1, -1, 1, 1))
        self.std.copy_(std.reshape(1, -1, 1, 1))

    def show_as_color(self) -> None:
        """Show grayscale images to the first layers as three equal channels, each with its own normalization.

        The layers' weights are divided among the channels. One channel cannot do the same as weights for color whose
        channels are normalized differently, since the border is padded after the normalization.
        """
        for layer in self.backbone.modules():
            if isinstance(layer, nn.Conv2d) and layer.in_channels == 1 and layer.groups == 1:
                shared = layer.weight.detach().repeat(1, 3, 1, 1) / 3
                layer.in_channels, layer.weight = 3, nn.Parameter(shared, layer.weight.requires_grad)
        self.mean, self.std = (v.expand(1, 3, 1, 1).clone() for v in (self.mean, self.std))

    @property
    def config(self) -> NetworkConfig:
        """Configuration from which the network can be rebuilt."""
        head = HeadConfig(layer=self.head_layer)
        if isinstance(self.classifier, PrototypeHead):
            head["prototypes"] = len(self.classifier.labels)
            if self.classifier.neighbors != 1:
                head["neighbors"] = self.classifier.neighbors
        if isinstance(self.classifier, CosineHead) and self.classifier.scale != COSINE_SCALE:
            head["scale"] = self.classifier.scale
        return NetworkConfig(
            name=self.name,
            num_classes=self.num_classes,
            in_channels=self.in_channels,
            image_size=list(self.image_size),
            embedding_dim=self.embedding_dim,
            parameters=sum(p.numel() for p in self.parameters() if p.requires_grad),
            mean=self.mean.flatten().tolist(),
            std=self.std.flatten().tolist(),
            head=head,
            options=dict(self.options),
        )

    def _normalize(self, x: Tensor) -> Tensor:
        channels, height, width = expected = (self.in_channels, *self.image_size)
        fits = tuple(x.shape[1:]) == expected if self.fixed_size else x.ndim == 4 and x.shape[1] == channels
        if not fits:
            raise InputError(
                f"{self.name} got images of shape {tuple(x.shape)}; expected (N, {channels}, {height}, {width})"
            )
        check_floats(x, self.name)
        return (x - self.mean) / self.std


def check_floats(images: Tensor, name: str) -> None:
    """Raise `InputError` if `images` are not of floats."""
    if not images.is_floating_point():
        kind = str(images.dtype).removeprefix("torch.")
        raise InputError(f"{name} got {kind} images; expected floats in [0, 1] (divide uint8 by 255)")


def probe_width(network: Network) -> int:
    """Return the width of the embedding of another library's network, from one black image."""
    training, threads = network.training, torch.get_num_threads()
    try:
        # One image is not worth starting threads for.
        torch.set_num_threads(1)
        with torch.no_grad():
            embedded = network.eval()._embed(torch.zeros(1, network.in_channels, *network.image_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        height, width = network.image_size
        raise InputError(
            f"{network.name} cannot take {height}x{width} images ({str(error).splitlines()[0]});"
            " resize them or choose another `backbone`"
        ) from error
    finally:
        torch.set_num_threads(threads)
        network.train(training)
    return embedded.flatten(1).shape[1]


def _positive(value: int, what: str) -> int:
    if int(value) != value or value < 1:
        raise InputError(f"{what} is {value}; expected a whole number of at least 1")
    return int(value)


def _per_channel(value: Sequence[float] | float | None, default: float, channels: int, what: str) -> Tensor:
    values = torch.as_tensor(default if value is None else value, dtype=torch.float32).flatten()
    if values.numel() not in (1, channels):
        raise InputError(f"{what} has {values.numel()} values for {channels} channels; give one per channel")
    return values.expand(channels).clone().reshape(1, channels, 1, 1)
