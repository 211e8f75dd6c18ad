"""Weights in files: writing a state dict, and loading pretrained weights."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.files import atomic_path, file_hash
from counterpoise.networks.adapters import is_adapter
from counterpoise.networks.base import Network
from counterpoise.networks.pretrained import PACKAGED_SHA256

# Prefixes that other programs put before the names of a backbone's tensors.
_PREFIXES = ("", "backbone.", "module.", "model.", "encoder.", "features.")
# Keys under which other programs nest a state dict.
_WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema")
_NORMALIZATION = ("mean", "std")


def save_state(module: nn.Module, path: str | Path, metadata: dict[str, str]) -> None:
    """Write a state dict to a safetensors file, atomically; `RunFolderError` if that fails."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(save(tensors, metadata=metadata))


def load_weights(network: Network, path: str | Path, *, keep_normalization: bool = False) -> list[str]:
    """Load pretrained weights from a local file into a network, in place.

    The file is one that :func:`save_network` wrote, or a state dict of the backbone as timm or torchvision writes it
    or timm can convert it: a transformer's position embeddings are resampled to the image size. The backbone must
    be complete; layers above it are loaded where name and shape fit. A first layer for color is summed over its
    channels for a network of grayscale images.

    Parameters
    ----------
    path : path
        ``*.safetensors``, or a file of ``torch.save`` that contains only tensors; other pickles are not executed.
    keep_normalization : bool, default=False
        Keep the network's `mean` and `std` instead of those of the file.

    Returns
    -------
    list of str
        Parameters without weights in the file; they keep their initial values.

    Raises
    ------
    InputError
        If the file cannot be read, or does not cover the whole backbone. For other layers there is a warning.
    """
    tensors = _read_tensors(Path(path))
    backbone = [name for name in network.state_dict() if name.startswith("backbone.")]
    needed = [name for name in backbone if not (name.endswith("num_batches_tracked") or is_adapter(name))]
    best = max(_readings(network, tensors), key=lambda reading: len(reading.fitting))
    if not best.fitting.keys() >= set(needed):
        converted = network.convert_weights(tensors)
        if file_hash(Path(path)) == PACKAGED_SHA256:
            # The tensors of this file have names of their own, in timm's order; the last two are of the classifier.
            converted = dict(
                zip((name.removeprefix("backbone.") for name in backbone), tensors.values(), strict=False)
            )
        best = max(best, *_readings(network, converted), key=lambda reading: len(reading.fitting))
    fitting = dict(best.fitting)
    if keep_normalization:
        fitting = {name: tensor for name, tensor in fitting.items() if name not in _NORMALIZATION}
    missing = [name for name in needed if name not in fitting]
    if missing:
        raise InputError(
            f"weights {path} fit {len(needed) - len(missing)} of the {len(needed)} backbone tensors of"
            f" {network.name} (not {missing[0]}, for example); give a file of that architecture"
        )
    unused = best.unused(network)
    if unused:
        raise InputError(
            f"weights {path} hold {len(unused)} backbone tensors that {network.name} has no place for"
            f" ({unused[0]}, for example); give a file of that architecture"
        )
    network.load_state_dict(fitting, strict=False)
    if not keep_normalization and "mean" not in fitting:
        network.use_pretrained_normalization()
    parameters = (name for name, _ in network.named_parameters() if not is_adapter(name))
    untrained = [name for name in parameters if name not in fitting]
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
    except Exception as error:  # the unpickler raises any kind of error for damaged bytes
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"cannot read weights {path}: {reason}") from error
    for key in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise InputError(f"weights {path} hold no tensors by name; save a state dict")
    return tensors


@dataclass(frozen=True)
class _Reading:
    """Tensors of a file that fit a network, by its names; `others` are the file's further names below `root`."""

    fitting: Mapping[str, Tensor]
    root: str
    others: tuple[str, ...]

    def unused(self, network: Network) -> list[str]:
        """Return the names of tensors of a backbone that the network has not.

        Files may hold the classifier, where the network has an identity, and parts beside the backbone.
        """
        modules = dict(network.backbone.named_modules())
        unused = []
        for name in self.others:
            module, _, tensor = name[len(self.root) :].rpartition(".")
            if isinstance(modules.get(module), nn.Identity) or tensor == "num_batches_tracked":
                continue
            token = not module and tensor.endswith(("token", "embed")) and tensor != "mask_token"
            inside = self.root.endswith(("backbone.", "features.")) or module.partition(".")[0] in modules
            if token or (module and inside):
                unused.append(name)
        return unused


def _readings(network: Network, tensors: Mapping[str, Tensor]) -> Iterator[_Reading]:
    """Yield, for each reading of the file's names, the tensors that fit the network."""
    state = network.state_dict()
    for prefix in _PREFIXES:
        for part in ("", "backbone."):
            names = {name: prefix + name[len(part) :] for name in state if name.startswith(part)}
            found = {name: tensors[theirs] for name, theirs in names.items() if theirs in tensors}
            for name, tensor in found.items():
                color_to_gray = tensor.ndim == 4 and tensor.shape[1] == 3 and state[name].shape[1:2] == (1,)
                if color_to_gray and name not in _NORMALIZATION:
                    found[name] = tensor.sum(dim=1, keepdim=True)
            fitting = {name: tensor for name, tensor in found.items() if tensor.shape == state[name].shape}
            root = prefix if part else f"{prefix}backbone."
            known = set(names.values())
            others = tuple(name for name in tensors if name.startswith(root) and name not in known)
            yield _Reading(fitting, root, others)
