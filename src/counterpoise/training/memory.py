"""Memory of a training step: how many images fit into one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoise.config import TrainConfig
from counterpoise.networks import Network
from counterpoise.training.machine import free_bytes
from counterpoise.training.predict import evaluation_mode

#: Most activations of a step on a CPU, enough to keep its cores busy, and their share of the free memory.
MOST_BYTES, SHARE = 640 << 20, 1 / 3


def activation_bytes(network: Network) -> int:
    """Return the bytes that a backward pass needs for each image, measured by a forward pass of a black one."""
    own = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    image = torch.zeros(1, network.in_channels, *network.image_size, device=next(network.parameters()).device)
    with evaluation_mode(network), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(image)
    return sum(size for place, size in kept.items() if place not in own)


def fit_memory(config: TrainConfig, network: Network) -> TrainConfig:
    """Return settings with batches that fit the memory, as many accumulated as make the same steps.

    Batch norm that keeps its statistics does not depend on the size of a batch.
    """
    device = next(network.parameters()).device
    most = min(SHARE * free_bytes(device), MOST_BYTES if device.type == "cpu" else float("inf"))
    size, accumulate, needed = config.batch_size, config.accumulate, activation_bytes(network)
    while size % 2 == 0 and size > 2 and size * needed > most:
        size, accumulate = size // 2, accumulate * 2
    return config.model_copy(update={"batch_size": size, "accumulate": accumulate})
