"""Weights in files: writing a state dict, and loading pretrained weights."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from counterpoise.exceptions import InputError, is_out_of_memory
from counterpoise.files import atomic_path, file_hash
from counterpoise.networks.adapters import is_adapter
from counterpoise.networks.base import Network
from counterpoise.networks.pretrained import PACKAGED_SHA256

# Parts that other programs put before the names of a backbone's tensors, in any nesting, and anywhere in them.
_PREFIXES = frozenset({"backbone", "encoder", "features", "model", "module", "net", "network"})
_INSERTED = re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# Keys under which other programs nest a state dict; first those of a moving average of the weights.
_AVERAGES = ("model_ema", "ema_state_dict", "state_dict_ema", "ema_model", "ema")
_WRAPPERS = (*_AVERAGES, "state_dict", "model", "model_state_dict", "weights", "net", "network", "module")
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
    be complete; layers above it are loaded where name and shape fit. Of a moving average and the weights themselves the
    average is loaded, with a warning. A network of grayscale images takes weights for color: a gray image gives the
    features of its three equal channels.

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
        If the file cannot be read, does not cover the whole backbone, holds more backbone than the network has, or
        values that no trained network has. For other layers there is a warning.
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
    if best.color:
        fitting |= _as_gray(network, best.color, keep_normalization=keep_normalization)
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
    fault = fault_of(fitting)
    if fault is not None:
        raise InputError(
            f"weights {path}: {fault}; its training diverged, or it is damaged: give another one"
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
        if is_out_of_memory(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"cannot read weights {path}: {reason}") from error
    while isinstance(content, dict) and (
        keys := [key for key in _WRAPPERS if isinstance(content.get(key), dict) and content[key]]
    ):
        if keys[0] in _AVERAGES and keys[1:]:
            warnings.warn(f"weights {path}: their moving average ({keys[0]}) is loaded", stacklevel=4)
        content = content[keys[0]]
    items = content.items() if isinstance(content, dict) else ()
    named = {name: value for name, value in items if isinstance(name, str) and isinstance(value, Tensor)}
    tensors = {_INSERTED.sub("", name): value for name, value in named.items()}
    if not tensors:
        raise InputError(f"weights {path} hold no tensors by name; save a state dict")
    for name, value in tensors.items():
        if value.layout is not torch.strided or value.is_complex() or value.is_quantized or value.is_meta:
            raise InputError(
                f"weights {path} hold {name}, which is no dense tensor of real numbers; save a plain state dict"
            )
    return tensors


@dataclass(frozen=True)
class _Reading:
    """Tensors of a file that fit a network, by its names; `others` are the file's further names below `root`.

    `color` are those that are for color where the network is for grayscale, and their normalization.
    """

    fitting: Mapping[str, Tensor]
    color: Mapping[str, Tensor]
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
    prefixes = {""}
    for name in tensors:
        parts = list(takewhile(_PREFIXES.__contains__, name.split(".")[:-1]))
        prefixes |= {".".join(parts[:length]) + "." for length in range(1, len(parts) + 1)}
    for prefix in sorted(prefixes, key=lambda prefix: (len(prefix), prefix)):
        for part in ("", "backbone."):
            names = {name: prefix + name[len(part) :] for name in state if name.startswith(part)}
            found = {name: tensors[theirs] for name, theirs in names.items() if theirs in tensors}
            color = {
                n: t for n, t in found.items() if t.shape[1:2] == (3,) and t[:, :1].shape == state[n].shape
            }
            weights = color.keys() - set(_NORMALIZATION)
            fitting = {n: t for n, t in found.items() if n in weights or _fits(t, state[n])}
            root = prefix if part else f"{prefix}backbone."
            known = set(names.values())
            others = tuple(name for name in tensors if name.startswith(root) and name not in known)
            yield _Reading(fitting, color if weights else {}, root, others)


def _fits(tensor: Tensor, own: Tensor) -> bool:
    # Integers in place of floats are quantized weights.
    return tensor.shape == own.shape and tensor.is_floating_point() == own.is_floating_point()


def _as_gray(network: Network, color: Mapping[str, Tensor], *, keep_normalization: bool) -> dict[str, Tensor]:
    """Return the tensors for color as a network of grayscale images takes them.

    Where the channels are normalized alike, their sum does the same as three equal channels.
    """
    known = (
        [color[name] for name in _NORMALIZATION if name in color] or network.pretrained_normalization or ()
    )
    normalization = [torch.as_tensor(values, dtype=torch.float32).flatten() for values in known]
    if keep_normalization or len(normalization) < 2 or all(len(v.unique()) == 1 for v in normalization):
        return {n: t[:, :1] if n in _NORMALIZATION else t.sum(dim=1, keepdim=True) for n, t in color.items()}
    network.show_as_color()
    named = zip(_NORMALIZATION, normalization, strict=True)
    return {**color, **{name: values.reshape(1, 3, 1, 1) for name, values in named}}


def fault_of(tensors: Mapping[str, Tensor]) -> str | None:
    """Return what no trained network has: numbers that are not finite, a variance below 0, a std of 0; else None."""
    for name, tensor in tensors.items():
        last = name.rpartition(".")[2]
        # Masks of attention may be infinite.
        if tensor.is_floating_point() and "mask" not in last and not tensor.isfinite().all():
            return f"{name} holds NaN or infinity"
        negative, zero = last in ("running_var", "std", "features_scale"), last in ("std", "features_scale")
        if (negative and bool((tensor < 0).any())) or (zero and bool((tensor == 0).any())):
            return f"{name} holds 0 or less where a positive value is expected"
    return None
