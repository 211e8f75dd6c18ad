"""Speed of a network on this machine."""

from __future__ import annotations

import time

import torch

from counterpoise.networks.factory import create_network


def embedding_speed(
    name: str, *, image_size: tuple[int, int] = (224, 224), batch_size: int = 4, seconds: float = 1.0
) -> float:
    """Return how many color images a second a network embeds on this machine, on the GPU if there is one.

    Speed does not depend on weights, so that they are random: nothing is downloaded. The first batch is not counted;
    further ones follow for at least `seconds`.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = create_network(name, num_classes=2, in_channels=3, image_size=image_size).to(device).eval()
    images = torch.rand(batch_size, 3, *image_size, device=device)
    count, started = 0, None
    with torch.inference_mode():
        while started is None or time.perf_counter() - started < seconds:
            network.embed(images).sum().item()  # reading the value waits for the device
            if started is None:
                started = time.perf_counter()
            else:
                count += batch_size
        return count / (time.perf_counter() - started)
