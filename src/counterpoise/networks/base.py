"""The contract of all networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.networks.heads import OneVsRestHead, PrototypeHead, make_head

if TYPE_CHECKING:
    from typing import Self


class Network(nn.Module):
    """An embedding followed by a head: ``forward(x) = head(embed(x))``.

    Images are floats in [0, 1] of shape (N, C, H, W); they are normalised inside, so that a perturbation of
    the input is in pixel units. A subclass builds its layers in ``_build`` and fills two hooks: ``_features``
    (normalised images to the last spatial map) and ``_pool`` (that map to the embedding).

    Parameters
    ----------
    name : str
        As in the records.
    num_classes : int
        Width of the logits.
    in_channels : int
        Channels of the images.
    image_size : tuple of int
        Height and width of the images in pixels.
    mean, std : sequence of float, optional
        Per channel, in units of [0, 1]; one value stands for all channels. Default 0 and 1: no normalisation.
    head_layer : {"linear", "one-vs-rest", "cosine", "prototype"}, default="linear"
        What kind of head it has.

    Attributes
    ----------
    embedding_dim : int
        Width of the embedding.
    mean, std : Tensor of shape (1, C, 1, 1)
        Buffers: they travel with the weights.
    classifier : torch.nn.Module
        The head; a `torch.nn.Linear` for ``head_layer="linear"``.
    """

    #: Mean and standard deviation per channel that weights made elsewhere for this architecture expect.
    pretrained_normalisation: tuple[Sequence[float], Sequence[float]] | None = None

    #: Whether layers depend on the image size, so that no other size can go through.
    fixed_size = True

    mean: Tensor
    std: Tensor

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
        **options: Any,
    ) -> None:
        super().__init__()
        self.name = name
        self.head_layer = head_layer
        self.num_classes = _positive(num_classes, "num_classes")
        self.in_channels = _positive(in_channels, "in_channels")
        self.image_size = (_positive(image_size[0], "image height"), _positive(image_size[1], "image width"))
        self.options = options
        self.register_buffer("mean", _per_channel(mean, 0.0, in_channels, "mean"))
        self.register_buffer("std", _per_channel(std, 1.0, in_channels, "std"))
        if not bool((self.std > 0).all()):
            raise InputError(f"std is {self.std.flatten().tolist()}; every channel's must be positive")
        self.embedding_dim: int = self._build(**options)
        self.classifier = make_head(head_layer, self.embedding_dim, num_classes)

    def _build(self, *args: Any, **options: Any) -> int:
        """Create the layers below the head and return the width of the embedding.

        A subclass names the options that it takes; any other is refused.
        """
        raise NotImplementedError

    def _features(self, x: Tensor) -> Tensor:
        """Map normalised images (N, C, H, W) to the last spatial map (N, c, h, w)."""
        raise NotImplementedError

    def _pool(self, features: Tensor) -> Tensor:
        """Map the last spatial map to the embedding (N, d)."""
        raise NotImplementedError

    def _embed(self, x: Tensor) -> Tensor:
        return self._pool(self._features(x))

    def features(self, x: Tensor) -> Tensor:
        """Return the last spatial map.

        Parameters
        ----------
        x : Tensor of shape (N, C, H, W)
            Images, floats in [0, 1].

        Returns
        -------
        Tensor of shape (N, c, h, w)
            Activations of the last layer that has a place in the image.

        Raises
        ------
        InputError
            If `x` does not fit the network, or the network has no such map.
        """
        return self._features(self._normalise(x))

    def embed(self, x: Tensor) -> Tensor:
        """Return the deep features that the head sees.

        Parameters
        ----------
        x : Tensor of shape (N, C, H, W)
            Images, floats in [0, 1].

        Returns
        -------
        Tensor of shape (N, embedding_dim)
            The embedding.

        Raises
        ------
        InputError
            If `x` is not of floats, or its shape does not fit the network.
        """
        return self._embed(self._normalise(x))

    def head(self, z: Tensor) -> Tensor:
        """Return the logits (N, num_classes) of embedded points (N, embedding_dim)."""
        return self.classifier(z)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, num_classes) of images (N, C, H, W), floats in [0, 1]."""
        return self.head(self.embed(x))

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; parts whose parameters are all frozen stay in evaluation mode.

        So a frozen batch norm keeps its statistics; see :func:`counterpoise.networks.freeze`.
        """
        super().train(mode)
        for module in self.modules() if mode else ():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()
        return self

    def reset_head(self, num_classes: int | None = None, *, generator: torch.Generator | None = None) -> None:
        """Replace the head by a fresh one of its kind, drawn as ``torch.nn.Linear`` draws.

        Parameters
        ----------
        num_classes : int, optional
            Width of the logits. Default: as before.
        generator : torch.Generator, optional
            Where the weights are drawn from; the same generator gives the same head. Default: torch's global
            one.
        """
        if num_classes is not None:
            self.num_classes = _positive(num_classes, "num_classes")
        like = next(self.parameters())
        with torch.random.fork_rng(devices=[], enabled=generator is not None):
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

    def set_prototypes(self, centres: Tensor, labels: Tensor) -> None:
        """Replace the head by one that gives each image the class of the nearest prototype.

        Parameters
        ----------
        centres : Tensor of shape (K, embedding_dim)
            Prototypes; they are brought to length 1.
        labels : Tensor of shape (K,), int64
            Their classes.
        """
        head = PrototypeHead(self.embedding_dim, self.num_classes, prototypes=len(centres))
        self.head_layer, self.classifier = "prototype", head.to(next(self.parameters()).device)
        head.set_prototypes(centres, labels)

    def convert_weights(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return weights made elsewhere under the names and in the shapes of this backbone, where that is known."""
        return tensors

    def take_pretrained_normalisation(self) -> None:
        """Normalise as weights made elsewhere for this architecture expect it, where that is known."""
        if self.pretrained_normalisation is None:
            return
        mean, std = (torch.as_tensor(values, dtype=torch.float32) for values in self.pretrained_normalisation)
        if len(mean) != self.in_channels:
            mean, std = (values.mean().expand(self.in_channels) for values in (mean, std))
        self.mean.copy_(mean.reshape(1, -1, 1, 1))
        self.std.copy_(std.reshape(1, -1, 1, 1))

    @property
    def config(self) -> dict[str, Any]:
        """What it takes to build the network again, as plain JSON values.

        ``parameters`` counts the trainable ones.
        """
        return {
            "name": self.name,
            "num_classes": self.num_classes,
            "in_channels": self.in_channels,
            "image_size": list(self.image_size),
            "embedding_dim": self.embedding_dim,
            "parameters": sum(p.numel() for p in self.parameters() if p.requires_grad),
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "head": {"layer": self.head_layer} | self._head_options(),
            "options": dict(self.options),
        }

    def _head_options(self) -> dict[str, int]:
        return (
            {"prototypes": len(self.classifier.labels)} if isinstance(self.classifier, PrototypeHead) else {}
        )

    def _normalise(self, x: Tensor) -> Tensor:
        expected = (self.in_channels, *self.image_size)
        found = tuple(x.shape[1:])
        fits = found == expected if self.fixed_size else (x.ndim == 4 and found[0] == self.in_channels)
        if not fits:
            raise InputError(
                f"{self.name} got images of shape {tuple(x.shape)}; expected (N, {_commas(expected)})"
            )
        if not x.is_floating_point():
            kind = str(x.dtype).removeprefix("torch.")
            raise InputError(
                f"{self.name} got {kind} images; expected floats in [0, 1] (divide uint8 by 255)"
            )
        return (x - self.mean) / self.std


def probed_width(network: Network) -> int:
    """Return the width of the embedding of another library's network: one black image is sent through.

    Raises
    ------
    InputError
        If images of that size do not pass.
    """
    training = network.training
    try:
        with torch.no_grad():
            embedded = network.eval()._embed(torch.zeros(1, network.in_channels, *network.image_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        height, width = network.image_size
        raise InputError(
            f"{network.name} cannot take {height}x{width} images ({str(error).splitlines()[0]});"
            " resize them or choose another `backbone`"
        ) from error
    finally:
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


def _commas(values: Sequence[int]) -> str:
    return ", ".join(str(value) for value in values)
