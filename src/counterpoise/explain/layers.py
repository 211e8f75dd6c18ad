"""Layers whose output is a spatial map, and their feature maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.explain.hooks import capture_output, network_device, preserve_state

# Class and register tokens that a transformer may have before those of the patches.
_MOST_PREFIX_TOKENS = 16
_ADAPTIVE_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.FractionalMaxPool2d, *_ADAPTIVE_POOLS)
_CHANNELS_FIRST = (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm, *_POOLS)


@dataclass(frozen=True)
class MapLayer:
    """Layer whose output is a spatial map; `name` is that in ``network.named_modules()``.

    The `layout` is ``"channels-first"`` (N, c, h, w), ``"channels-last"`` (N, h, w, c) or ``"tokens"``
    (N, prefix + h*w, c).
    """

    name: str
    height: int
    width: int
    layout: str = "channels-first"
    prefix: int = 0

    def to_map(self, output: Tensor) -> Tensor:
        """Return the layer's output as (N, c, h, w)."""
        if self.layout == "channels-last":
            return output.permute(0, 3, 1, 2)
        if self.layout == "tokens":
            tokens = output[:, self.prefix :]
            return tokens.transpose(1, 2).reshape(len(tokens), -1, self.height, self.width)
        return output


def map_layers(
    network: nn.Module, image_shape: tuple[int, int, int], *, with_gradient: bool = True
) -> list[MapLayer]:
    """Find all layers with a map of more than one position, in order of execution, for images of shape (C, H, W).

    A forward and backward pass of two noise images gives the outputs of all layers. An output is a map if it is in
    channels-first or channels-last layout, or has one token for each position of an earlier convolution, besides a
    few others.

    Parameters
    ----------
    with_gradient : bool, default=True
        Leave out maps where the gradient of the logits is zero. In a transformer with a class token, no other token
        after the last attention has a gradient.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
    >>> map_layers(network, (1, 4, 4))
    [MapLayer(name='0', height=2, width=2, ...), MapLayer(name='1', height=2, width=2, ...)]
    """
    return [
        layer
        for layer, output in _all_maps(network, image_shape)
        if not with_gradient
        or (output.gradient is not None and bool((layer.to_map(output.gradient) != 0).any()))
    ]


def find_map_layer(
    network: nn.Module,
    image_shape: tuple[int, int, int],
    name: str | None = None,
    *,
    with_gradient: bool = True,
) -> MapLayer:
    """Return the last map before the last pooling of a network, or the one of the `map_layers` called `name`.

    The map is that of the last convolution (or linear layer over a map) after its normalization, activation and sum
    with a shortcut, as far as these are modules: pooling has not yet blurred where a feature lies. VGG-16 has 14x14
    positions there at 224 pixels, and 7x7 after pooling.

    Raises
    ------
    UnknownNameError
        If no layer of that name has a map; the message suggests the nearest name.
    InputError
        If no layer has a map.
    """
    layers = {layer.name: layer for layer in map_layers(network, image_shape, with_gradient=with_gradient)}
    if not layers:
        _, height, width = image_shape
        raise InputError(
            f"no spatial map of {height}x{width} images reaches the logits of"
            f" {getattr(network, 'name', type(network).__name__)}; use larger images or `method` occlusion, and"
            " make sure that it is trained"
        )
    if name is not None and name not in layers:
        raise UnknownNameError("layer with a spatial map", name, layers)
    return _last_before_pooling(network, list(layers.values())) if name is None else layers[name]


def _last_before_pooling(network: nn.Module, layers: list[MapLayer]) -> MapLayer:
    modules = [network.get_submodule(layer.name) for layer in layers]
    learned = [i for i, module in enumerate(modules) if _has_weights(module)]
    start = learned[-1] if learned else len(layers) - 1
    chosen = layers[start]
    for layer, module in zip(layers[start + 1 :], modules[start + 1 :], strict=True):
        # Also pooling that is no module changes the size of what follows.
        if isinstance(module, _POOLS) or (layer.height, layer.width) != (chosen.height, chosen.width):
            break
        chosen = layer
    return chosen


def _has_weights(module: nn.Module) -> bool:
    """Return whether a module itself is a convolution or linear layer, of whatever library."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    return isinstance(module, kinds) or any(p.ndim > 1 for p in module.parameters(recurse=False))


def find_convolutions(network: nn.Module, image_shape: tuple[int, int, int]) -> list[str]:
    """Return the names of all convolutions with a map of more than one position, in order of execution.

    Examples
    --------
    >>> from counterpoise.networks import create_network
    >>> network = create_network("lenet", num_classes=10, in_channels=1, image_size=(28, 28), seed=0)
    >>> find_convolutions(network, (1, 28, 28))
    ['backbone.0.0', 'backbone.1.0']
    """
    maps = _all_maps(network, image_shape)
    return [layer.name for layer, output in maps if isinstance(output.module, nn.Conv2d)]


def feature_maps(network: nn.Module, images: Tensor, layer: str | None = None) -> Tensor:
    """Return the maps (N, c, h, w) of one layer for images (N, C, H, W), as float32; the network is unchanged.

    Parameters
    ----------
    layer : str, optional
        Name as in ``network.named_modules()``; see `find_convolutions`. Default: that of `find_map_layer`.

    Raises
    ------
    InputError
        If no layer of that name has a spatial map.

    Examples
    --------
    >>> from counterpoise.networks import create_network
    >>> network = create_network("lenet", num_classes=10, in_channels=1, image_size=(28, 28), seed=0)
    >>> first, second = find_convolutions(network, (1, 28, 28))
    >>> feature_maps(network, torch.rand(2, 1, 28, 28), first).shape
    torch.Size([2, 6, 28, 28])
    """
    shape = (images.shape[1], images.shape[2], images.shape[3])
    found = find_map_layer(network, shape, layer, with_gradient=False)
    module = network.get_submodule(found.name)
    with preserve_state(network), capture_output(module) as outputs, torch.no_grad():
        network(images.to(network_device(network)))
    return found.to_map(outputs[-1].detach()).float()


@dataclass
class _Output:
    """Input and output of one module, and the gradient of the logits by the output."""

    name: str
    module: nn.Module
    input: Tensor | None
    output: Tensor
    gradient: Tensor | None = None


def _all_maps(network: nn.Module, image_shape: tuple[int, int, int]) -> Iterator[tuple[MapLayer, _Output]]:
    """Yield every layer with a map of more than one position, in order of execution."""
    # timm marks networks that are channels-last.
    last = any(getattr(module, "output_fmt", "") == "NHWC" for module in network.modules())
    detector = _MapDetector("channels-last" if last else "channels-first")
    for output in _outputs(network, image_shape):
        layer = detector.detect(output)
        if layer is not None and layer.height * layer.width > 1:
            yield layer, output


def _outputs(network: nn.Module, image_shape: tuple[int, int, int]) -> list[_Output]:
    """Return the output of each module for noise, in order of execution; the last one if it is called twice."""
    outputs: dict[str, _Output] = {}

    def hook(name: str, module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if isinstance(output, Tensor) and output.ndim in (3, 4):
            outputs.pop(name, None)
            first = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
            outputs[name] = _Output(name, module, first, output)

    with ExitStack() as stack:
        for name, module in network.named_modules():
            if name:
                stack.enter_context(module.register_forward_hook(partial(hook, name)))
        for context in (preserve_state(network), torch.inference_mode(False), torch.enable_grad()):
            stack.enter_context(context)
        logits = network(_noise(network, image_shape))
        # Different weights, because a plain sum of the logits may be constant, as that of a softmax is.
        weights = torch.linspace(0.5, 1.5, logits[0].numel(), device=logits.device)
        found = [output for output in outputs.values() if output.output.requires_grad]
        if not found:
            return []
        score = (logits.flatten(1).float() * weights).sum()
        gradients = torch.autograd.grad(score, [output.output for output in found], allow_unused=True)
    for output, gradient in zip(found, gradients, strict=True):
        output.gradient = gradient
    return found


def _noise(network: nn.Module, image_shape: tuple[int, int, int]) -> Tensor:
    # Two images: an output with another number of rows (windows of attention) is no map of the image.
    noise = torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0))
    like = next(network.parameters(), noise)
    # A copy, which a first layer may change in place.
    return noise.to(like.device, like.dtype).requires_grad_().clone()


class _MapDetector:
    """Detects which outputs are maps, and their layout; it gets the outputs in order of execution."""

    def __init__(self, default: str) -> None:
        self.default = default
        self.layouts: dict[torch.Size, str] = {}
        self.grids: list[torch.Size] = []
        self.token_counts: set[int] = set()

    def detect(self, output: _Output) -> MapLayer | None:
        if len(output.output) != 2:
            return None
        return self._detect_map(output) if output.output.ndim == 4 else self._detect_tokens(output)

    def _detect_map(self, output: _Output) -> MapLayer | None:
        shape = output.output.shape[1:]
        if shape[1] in self.token_counts:  # queries or keys (N, heads, tokens, width)
            return None
        # Most modules keep the layout, so it is that of the last output of this shape.
        layout = _module_layout(output.module) or self.layouts.get(shape, self.default)
        self.layouts[shape] = layout
        if layout == "channels-last":
            return MapLayer(output.name, shape[0], shape[1], layout)
        if isinstance(output.module, nn.Conv2d):
            self.grids.append(shape)
        repeats_positions = (
            isinstance(output.module, _ADAPTIVE_POOLS)
            and output.input is not None
            and shape[1:].numel() > output.input.shape[2:].numel()
        )
        return None if repeats_positions else MapLayer(output.name, shape[1], shape[2], layout)

    def _detect_tokens(self, output: _Output) -> MapLayer | None:
        _, count, width = output.output.shape
        for channels, height, columns in reversed(self.grids):
            prefix = count - height * columns
            if channels == width and 0 <= prefix <= _MOST_PREFIX_TOKENS:
                self.token_counts.add(count)
                # Keys and values are projections of a map, from which no other layer is computed.
                if isinstance(output.module, nn.Linear):
                    return None
                return MapLayer(output.name, height, columns, "tokens", prefix)
        return None


def _module_layout(module: nn.Module) -> str | None:
    """Return the layout of a module's output where the module's kind determines it."""
    order = getattr(module, "dims", None)  # of torchvision's Permute
    if isinstance(module, nn.LayerNorm):
        # timm and torchvision derive a LayerNorm2d with channels first.
        return "channels-first" if "2d" in type(module).__name__ else "channels-last"
    if isinstance(module, nn.Linear) or order == [0, 2, 3, 1]:
        return "channels-last"
    if isinstance(module, _CHANNELS_FIRST) or order == [0, 3, 1, 2]:
        return "channels-first"
    return None
