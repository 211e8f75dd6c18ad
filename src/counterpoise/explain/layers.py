"""Finding the layers of a network whose outputs have places: its spatial maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.explain.watching import untouched

# Class and register tokens that a transformer may carry before those of the patches.
_MOST_PREFIX_TOKENS = 16
_ADAPTIVE_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_CHANNELS_FIRST = (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm, nn.MaxPool2d, nn.AvgPool2d, *_ADAPTIVE_POOLS)


@dataclass(frozen=True)
class MapLayer:
    """A layer whose output is a map of features over the places of the image.

    Attributes
    ----------
    name : str
        As ``network.named_modules()`` has it.
    height, width : int
        Places of the map.
    layout : str
        ``"channels-first"`` (N, c, h, w), ``"channels-last"`` (N, h, w, c) or ``"tokens"`` (N, prefix + h*w, c).
    prefix : int
        Tokens before those of the places, which belong to no place.
    """

    name: str
    height: int
    width: int
    layout: str = "channels-first"
    prefix: int = 0

    def to_map(self, output: Tensor) -> Tensor:
        """Return the layer's output as (N, c, h, w).

        Examples
        --------
        >>> layer = MapLayer("blocks.0", 2, 3, "tokens", prefix=1)
        >>> layer.to_map(torch.arange(7.0).reshape(1, 7, 1)).tolist()
        [[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]]
        """
        if self.layout == "channels-last":
            return output.permute(0, 3, 1, 2)
        if self.layout == "tokens":
            tokens = output[:, self.prefix :]
            return tokens.transpose(1, 2).reshape(len(tokens), -1, self.height, self.width)
        return output


def map_layers(
    network: nn.Module, image_shape: tuple[int, int, int], *, reaching: bool = True
) -> list[MapLayer]:
    """Find all layers with a map of more than one place, in order of execution.

    Two images of noise are sent through and back. A layer counts if its output is a map: channels first; channels
    last; or tokens, one for each place of an earlier convolution, besides a few others.

    Parameters
    ----------
    network : torch.nn.Module
        From images (N, C, H, W), floats, to logits.
    image_shape : (int, int, int)
        (C, H, W) of the images.
    reaching : bool, default=True
        Whether only layers count at whose places the gradient of the logits is not zero. In a transformer that is
        read from its class token, the other tokens after the last attention reach nothing.

    Returns
    -------
    list of MapLayer
        The last is the map that Grad-CAM takes.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    >>> map_layers(network, (1, 4, 4))
    [MapLayer(name='0', height=2, width=2, ...), MapLayer(name='1', height=2, width=2, ...)]
    """
    return [
        layer
        for layer, output in _all_maps(network, image_shape)
        if not reaching or (output.gradient is not None and bool((layer.to_map(output.gradient) != 0).any()))
    ]


def find_map_layer(
    network: nn.Module,
    image_shape: tuple[int, int, int],
    name: str | None = None,
    *,
    reaching: bool = True,
) -> MapLayer:
    """Return the last spatial map of a network, or that of the layer called `name`.

    Parameters
    ----------
    network : torch.nn.Module
        From images (N, C, H, W), floats, to logits.
    image_shape : (int, int, int)
        (C, H, W) of the images.
    name : str, optional
        As ``network.named_modules()`` has it.
    reaching : bool, default=True
        As for `map_layers`.

    Raises
    ------
    UnknownNameError
        If no layer of that name has a map; the nearest is suggested.
    InputError
        If no layer has one.

    Examples
    --------
    >>> from counterpoise.networks import create_network
    >>> network = create_network("lenet", num_classes=10, in_channels=1, image_size=(28, 28), seed=0)
    >>> find_map_layer(network, (1, 28, 28))
    MapLayer(name='backbone', height=5, width=5, layout='channels-first', prefix=0)
    """
    layers = map_layers(network, image_shape, reaching=reaching)
    if not layers:
        _, height, width = image_shape
        raise InputError(
            f"no spatial map of {height}x{width} images reaches the logits of {_called(network)}; use larger"
            " images or `method` occlusion, and make sure that it is trained"
        )
    if name is None:
        return layers[-1]
    named = {layer.name: layer for layer in layers}
    if name not in named:
        raise UnknownNameError("layer with a spatial map", name, named)
    return named[name]


def find_convolutions(network: nn.Module, image_shape: tuple[int, int, int]) -> list[str]:
    """Return the names of all convolutions with a map of more than one place, in order of execution.

    Examples
    --------
    >>> from counterpoise.networks import create_network
    >>> network = create_network("lenet", num_classes=10, in_channels=1, image_size=(28, 28), seed=0)
    >>> find_convolutions(network, (1, 28, 28))
    ['backbone.0.0', 'backbone.1.0']
    """
    maps = _all_maps(network, image_shape)
    return [layer.name for layer, output in maps if isinstance(output.module, nn.Conv2d)]


@dataclass
class _Output:
    """What one module took and gave, and the gradient of the logits there."""

    name: str
    module: nn.Module
    taken: Tensor | None
    given: Tensor
    gradient: Tensor | None = None


def _all_maps(network: nn.Module, image_shape: tuple[int, int, int]) -> Iterator[tuple[MapLayer, _Output]]:
    """Yield every layer with a map of more than one place, in order of execution."""
    last = any(getattr(module, "output_fmt", "") == "NHWC" for module in network.modules())  # timm says so
    reader = _LayoutReader("channels-last" if last else "channels-first")
    for output in _executed(network, image_shape):
        layer = reader.read(output)
        if layer is not None and layer.height * layer.width > 1:
            yield layer, output


def _executed(network: nn.Module, image_shape: tuple[int, int, int]) -> list[_Output]:
    """Send noise through and back; return what each module gave, in order; of one called twice, the last."""
    outputs: dict[str, _Output] = {}

    def keep(name: str, module: nn.Module, inputs: tuple[object, ...], given: object) -> None:
        if isinstance(given, Tensor) and given.ndim in (3, 4):
            outputs.pop(name, None)
            taken = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
            outputs[name] = _Output(name, module, taken, given)

    with _calling(keep, network), untouched(network), torch.inference_mode(False), torch.enable_grad():
        logits = network(_noise(network, image_shape))
        # A weight of its own for each logit: a plain sum may be constant, as that of a softmax is.
        weights = torch.linspace(0.5, 1.5, logits[0].numel(), device=logits.device)
        kept = [output for output in outputs.values() if output.given.requires_grad]
        if not kept:
            return []
        score = (logits.flatten(1).float() * weights).sum()
        gradients = torch.autograd.grad(score, [output.given for output in kept], allow_unused=True)
    for output, gradient in zip(kept, gradients, strict=True):
        output.gradient = gradient
    return kept


@contextmanager
def _calling(keep: Callable[..., None], network: nn.Module) -> Iterator[None]:
    """Call `keep` with the name, the module, its inputs and its output, for every part of a network."""
    handles = [
        module.register_forward_hook(partial(keep, name)) for name, module in network.named_modules() if name
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _noise(network: nn.Module, image_shape: tuple[int, int, int]) -> Tensor:
    # Two images: what holds another number of rows (windows of attention) is no map of the image.
    noise = torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0))
    like = next(network.parameters(), noise)
    # A copy, which a first layer may change in place.
    return noise.to(like.device, like.dtype).requires_grad_().clone()


class _LayoutReader:
    """Says of each output whether it is a map, and in which layout; the outputs come in order of execution."""

    def __init__(self, default: str) -> None:
        self.default = default
        self.layouts: dict[tuple[int, ...], str] = {}
        self.grids: list[tuple[int, int, int]] = []
        self.token_counts: set[int] = set()

    def read(self, output: _Output) -> MapLayer | None:
        if len(output.given) != 2:
            return None
        return self._read_map(output) if output.given.ndim == 4 else self._read_tokens(output)

    def _read_map(self, output: _Output) -> MapLayer | None:
        shape = tuple(output.given.shape[1:])
        if shape[1] in self.token_counts:  # queries or keys (N, heads, tokens, width)
            return None
        # Most modules leave the layout as it is: that of the last output of this shape.
        layout = _layout_given_by(output.module) or self.layouts.get(shape, self.default)
        self.layouts[shape] = layout
        if layout == "channels-last":
            return MapLayer(output.name, shape[0], shape[1], layout)
        if isinstance(output.module, nn.Conv2d):
            self.grids.append((shape[0], shape[1], shape[2]))
        if isinstance(output.module, _ADAPTIVE_POOLS) and output.taken is not None:
            repeats = shape[1] * shape[2] > output.taken.shape[2] * output.taken.shape[3]
            return None if repeats else MapLayer(output.name, shape[1], shape[2], layout)
        return MapLayer(output.name, shape[1], shape[2], layout)

    def _read_tokens(self, output: _Output) -> MapLayer | None:
        _, count, width = output.given.shape
        for channels, height, columns in reversed(self.grids):
            prefix = count - height * columns
            if channels == width and 0 <= prefix <= _MOST_PREFIX_TOKENS:
                self.token_counts.add(count)
                # Keys and values are projections of a map, not one that anything else is read from.
                if isinstance(output.module, nn.Linear):
                    return None
                return MapLayer(output.name, height, columns, "tokens", prefix)
        return None


def _layout_given_by(module: nn.Module) -> str | None:
    """Return the layout of a module's output where its kind says it."""
    if isinstance(
        module, nn.LayerNorm
    ):  # timm and torchvision derive a LayerNorm2d that takes channels first
        return "channels-first" if "2d" in type(module).__name__ else "channels-last"
    if isinstance(module, nn.Linear) or getattr(module, "dims", None) == [
        0,
        2,
        3,
        1,
    ]:  # torchvision's Permute
        return "channels-last"
    if isinstance(module, _CHANNELS_FIRST) or getattr(module, "dims", None) == [0, 3, 1, 2]:
        return "channels-first"
    return None


def _called(network: nn.Module) -> str:
    return str(getattr(network, "name", type(network).__name__))
