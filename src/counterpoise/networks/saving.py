"""Saving a network and rebuilding it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from counterpoise.exceptions import RunFolderError
from counterpoise.files import check_file
from counterpoise.networks.base import Network, NetworkConfig
from counterpoise.networks.enhanced import EnhancedNetwork, Enhancer
from counterpoise.networks.ensemble import EnsembleNetwork
from counterpoise.networks.factory import create_network
from counterpoise.networks.heads import CosineHead
from counterpoise.networks.weights import fault_of, save_state


def save_network(network: Network, path: str | Path) -> None:
    """Write weights, buffers and configuration to a safetensors file, atomically.

    Raises
    ------
    RunFolderError
        If the file cannot be written.
    """
    save_state(network, path, {"config": json.dumps(network.config)})


def load_network(config: NetworkConfig, path: str | Path) -> Network:
    """Rebuild the network that :func:`save_network` wrote; its logits are bit for bit those of the original.

    Parameters
    ----------
    config : NetworkConfig
        The ``config`` of the saved network.

    Returns
    -------
    Network
        In evaluation mode, on the CPU.

    Raises
    ------
    RunFolderError
        If the file is missing, damaged, or holds another network or numbers that are not finite.
    """
    try:
        network = _build(config)
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise RunFolderError(
            f"the network of {path} is described by damaged settings ({error}); train again"
        ) from error
    try:
        tensors = load_file(check_file(path))
        network.load_state_dict(tensors)
    except (OSError, SafetensorError) as error:
        raise RunFolderError(f"cannot read the weights {path}: {error}; is the run complete?") from error
    except RuntimeError as error:
        raise RunFolderError(
            f"{path} does not hold the {config['name']} that its configuration describes"
        ) from error
    fault = fault_of(tensors)
    if fault is not None:
        raise RunFolderError(f"{path}: {fault}; train the network again, with a smaller `lr`")
    return network.eval()


def _build(config: NetworkConfig) -> Network:
    """Return a network of this configuration, with other weights."""
    options = config.get("options", {})
    if config["name"] == EnhancedNetwork.NAME:
        enhancer = Enhancer.from_config(options["enhancer"])
        return EnhancedNetwork(enhancer, _build(options["network"]), frozen=options["frozen"])
    if config["name"] == EnsembleNetwork.NAME:
        return EnsembleNetwork([_build(member) for member in options["members"]])
    head = config.get("head", {"layer": "linear"})
    network = create_network(
        config["name"],
        num_classes=config["num_classes"],
        in_channels=config["in_channels"],
        image_size=(config["image_size"][0], config["image_size"][1]),
        mean=config["mean"],
        std=config["std"],
        seed=0,
        head_layer=head["layer"],
        **options,
    )
    if "prototypes" in head:
        centers = torch.zeros(head["prototypes"], network.embedding_dim)
        labels = torch.zeros(len(centers), dtype=torch.int64)
        network.set_prototypes(centers, labels, neighbors=head.get("neighbors", 1))
    if "scale" in head and isinstance(network.classifier, CosineHead):
        network.classifier.scale = head["scale"]
    return network
