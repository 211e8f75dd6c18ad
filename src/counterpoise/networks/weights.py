"""Weights in files: saving a network, loading it again, and pretrained weights from elsewhere."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.files import atomic_path
from counterpoise.networks.base import Network

# What other programs put before the names of a backbone's tensors.
_PREFIXES = ("", "backbone.", "module.", "model.", "encoder.", "features.")
_WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema")
_NORMALISATION = ("mean", "std")


def save_network(network: Network, path: str | Path) -> None:
    """Write weights and buffers to a safetensors file, atomically, with the configuration in its metadata.

    Parameters
    ----------
    network : Network
        What to save.
    path : path
        Where to; an existing file is replaced.

    Raises
    ------
    RunFolderError
        If the file cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(save(tensors, metadata={"config": json.dumps(network.config)}))


def load_network(config: Mapping[str, Any], path: str | Path) -> Network:
    """Rebuild a saved network: its logits are bit for bit those of the one that was saved.

    Parameters
    ----------
    config : mapping
        The ``config`` of the saved network.
    path : path
        The file that :func:`save_network` wrote.

    Returns
    -------
    Network
        In evaluation mode, on the CPU.

    Raises
    ------
    RunFolderError
        If the file is missing, damaged, or holds another network.
    """
    network = _from_config(config)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise RunFolderError(f"cannot read the weights {path}: {error}; is the run complete?") from error
    except RuntimeError as error:
        raise RunFolderError(
            f"{path} does not hold the {config['name']} that its configuration describes"
        ) from error
    return network.eval()


def _from_config(config: Mapping[str, Any]) -> Network:
    """Return a network of this configuration with other weights."""
    from counterpoise.networks.enhanced import EnhancedNetwork, Enhancer
    from counterpoise.networks.factory import create_network  # the factory loads weights, too

    if config["name"] == EnhancedNetwork.NAME:
        parts = config["options"]
        enhancer = Enhancer.from_config(parts["enhancer"])
        return EnhancedNetwork(enhancer, _from_config(parts["network"]), frozen=parts["frozen"])
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
        **config.get("options", {}),
    )
    if "prototypes" in head:
        places = torch.zeros(head["prototypes"], network.embedding_dim)
        network.set_prototypes(places, torch.zeros(len(places), dtype=torch.int64))
    return network


def load_weights(network: Network, path: str | Path, *, keep_normalisation: bool = False) -> list[str]:
    """Load local pretrained weights into a network, in place.

    The file is one that :func:`save_network` wrote, or a state dict of the backbone as timm or torchvision
    has it, or as timm can convert it: a transformer's positions are resampled to the image size. The backbone
    must be complete; the layers above it are taken over where name and shape fit. A first layer for colour is
    summed over its channels where the network takes grey images.

    Parameters
    ----------
    network : Network
        Gets the weights.
    path : path
        ``*.safetensors``, or a file of ``torch.save`` that holds nothing but tensors (anything more is
        refused and not run).
    keep_normalisation : bool, default=False
        Keep the network's `mean` and `std` where the file holds others.

    Returns
    -------
    list of str
        The parameters that find no fitting weights and start untrained.

    Raises
    ------
    InputError
        If the file cannot be read, or leaves part of the backbone without weights.

    Warns
    -----
    UserWarning
        If layers above the backbone find no fitting weights and start untrained.
    """
    fitting = _most_fitting(network, _read_tensors(Path(path)))
    if keep_normalisation:
        fitting = {name: tensor for name, tensor in fitting.items() if name not in _NORMALISATION}
    needed = [name for name in network.state_dict() if _is_needed(name)]
    missing = [name for name in needed if name not in fitting]
    if missing:
        raise InputError(
            f"weights {path} fit {len(needed) - len(missing)} of the {len(needed)} backbone tensors of"
            f" {network.name} (not {missing[0]}, for one); give a file of that architecture"
        )
    network.load_state_dict(fitting, strict=False)
    if not keep_normalisation and "mean" not in fitting:
        network.take_pretrained_normalisation()
    untrained = [name for name, _ in network.named_parameters() if name not in fitting]
    if untrained:
        warnings.warn(
            f"weights {path} hold no fitting tensors for {', '.join(untrained)}; they start untrained",
            UserWarning,
            stacklevel=3,
        )
    return untrained


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"weights {path} hold more than tensors, or are damaged; save a plain state dict"
        ) from error
    except Exception as error:  # damaged bytes lead the unpickler to any kind of error
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"cannot read weights {path}: {reason}") from error
    for key in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise InputError(f"weights {path} hold no tensors by name; save a state dict")
    return tensors


def _is_needed(name: str) -> bool:
    return name.startswith("backbone.") and not name.endswith("num_batches_tracked")


def _most_fitting(network: Network, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    fitting = max(_candidates(network, found), key=len)
    if all(name in fitting for name in network.state_dict() if _is_needed(name)):
        return fitting
    return max(fitting, *_candidates(network, network.convert_weights(found)), key=len)


def _candidates(network: Network, found: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Yield, for every way to read the file's names, the tensors that fit the network."""
    for prefix in _PREFIXES:
        stripped = {name.removeprefix(prefix): t for name, t in found.items() if name.startswith(prefix)}
        yield _fitting(network, stripped, "")
        if isinstance(getattr(network, "backbone", None), nn.Module):
            yield _fitting(network, stripped, "backbone.")


def _fitting(network: Network, tensors: Mapping[str, Tensor], inner: str) -> dict[str, Tensor]:
    fitting = {}
    for name, own in network.state_dict().items():
        tensor = tensors.get(name[len(inner) :]) if name.startswith(inner) else None
        if (
            tensor is not None
            and own.ndim == tensor.ndim == 4
            and (own.shape[1], tensor.shape[1]) == (1, 3)
            and name not in _NORMALISATION
        ):
            tensor = tensor.sum(dim=1, keepdim=True)
        if tensor is not None and tensor.shape == own.shape:
            fitting[name] = tensor
    return fitting
