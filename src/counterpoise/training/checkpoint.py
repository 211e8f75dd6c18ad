"""Checkpoints: one safetensors file with everything that the next epoch depends on.

Nothing is pickled: the file holds tensors, and everything else as JSON in its metadata.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from counterpoise.exceptions import RunFolderError
from counterpoise.files import atomic_path
from counterpoise.training.progress import HistoryEntryDict


@dataclass(frozen=True)
class Position:
    """Position of a stage: finished epochs and steps, and one history entry per finished epoch."""

    epoch: int
    step: int
    history: list[HistoryEntryDict]


def save_checkpoint(
    path: Path, module: nn.Module, optimizer: Optimizer, position: Position, identity: str
) -> None:
    """Write a checkpoint atomically; `identity` hashes everything that the stage depends on."""
    tensors = {f"module/{name}": tensor for name, tensor in module.state_dict().items()}
    state = optimizer.state_dict()
    for index, values in state["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in values.items()}
    metadata = {
        "epoch": position.epoch,
        "step": position.step,
        "history": position.history,
        "groups": state["param_groups"],
        "identity": identity,
    }
    # safetensors refuses tensors that share memory, and needs them whole and on the CPU.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata={"counterpoise": json.dumps(metadata)})


def load_checkpoint(path: Path, module: nn.Module, optimizer: Optimizer, identity: str) -> Position | None:
    """Restore `module` and `optimizer` and return their position; None without a checkpoint of this `identity`.

    Raises
    ------
    RunFolderError
        If the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads(file.metadata()["counterpoise"])
            if metadata["identity"] != identity:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{path} is not a readable checkpoint ({error}); delete it to start over"
        ) from error
    module.load_state_dict(_below("module/", tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below("optimizer/", tensors).items():
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": metadata["groups"]})
    return Position(metadata["epoch"], metadata["step"], metadata["history"])


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
