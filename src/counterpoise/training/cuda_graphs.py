"""CUDA graphs: a small network's kernels end sooner than the processor can start the next ones, one by one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from counterpoise.config import TrainConfig
from counterpoise.training.batches import TensorBatches
from counterpoise.training.machine import free_bytes
from counterpoise.training.stage import Stage

# Packages whose layers can be recorded.
RECORDED = ("counterpoise", "timm", "torch", "torchvision")


def can_replay(stage: Stage, config: TrainConfig, device: torch.device) -> bool:
    """Whether steps can be recorded: on a GPU that no loader's threads use, with one backward pass in each.

    A network with layers from elsewhere may wait for the GPU, which cannot be recorded.
    """
    in_memory = device.type == "cuda" and isinstance(stage.batches, TensorBatches)
    known = all(type(part).__module__.partition(".")[0] in RECORDED for part in stage.module.modules())
    return in_memory and known and stage.step is None and config.accumulate == 1


@contextmanager
def recorded_steps(module: nn.Module) -> Iterator[None]:
    """Record the forward and backward passes of `module` as CUDA graphs, and replay them inside the block.

    They are those of batches of the first one's shape; others, and passes without gradients or with those of the
    inputs, run as before, as does everything where memory is short. The next replay overwrites the parameters'
    gradients, so they cannot be summed over batches; a second batch before the backward pass of the first is run.
    """
    vars(module)["forward"] = _Recorder(module)
    try:
        with warnings.catch_warnings():
            # Gradients are recorded on a stream of their own; waiting for it costs less than the kernels' starts.
            warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream")
            yield
    finally:
        vars(module).pop("forward", None)


class _Recorder:
    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.forward: Callable[[Tensor], Tensor] = module.forward
        self.replay: Callable[[Tensor], Tensor] | None = None
        self.shape: torch.Size | None = None
        self.pending = False

    def __call__(self, inputs: Tensor) -> Tensor:
        trains = self.module.training and torch.is_grad_enabled() and not inputs.requires_grad
        if not trains or self.pending:
            return self.forward(inputs)
        if self.shape != inputs.shape:
            # The first batch is run: then it is known how much memory a step takes.
            self.shape = self.shape or inputs.shape
            return self.forward(inputs)
        if self.replay is None:
            # A step for warming up and a recorded one, each in memory of its own.
            fits = free_bytes(inputs.device) > 2 * torch.cuda.memory_reserved(inputs.device)
            self.replay = self._record(inputs) if fits else self.forward
        # A copy, since the next replay overwrites the outputs.
        outputs = self.replay(inputs).clone()
        self.pending = True
        outputs.register_hook(self._passed_back)
        return outputs

    def _passed_back(self, gradient: Tensor) -> None:
        self.pending = False

    def _record(self, inputs: Tensor) -> Callable[[Tensor], Tensor]:
        kept = [buffer.clone() for buffer in self.module.buffers()]
        vars(self.module).pop("forward")
        autocast = torch.is_autocast_enabled("cuda")
        dtype = torch.get_autocast_dtype("cuda")
        # Recording runs the network a few times, which must change neither its statistics nor what is drawn later.
        with (
            torch.random.fork_rng(devices=[inputs.device] if inputs.is_cuda else []),
            torch.autocast("cuda", dtype=dtype, enabled=autocast, cache_enabled=False),
        ):
            torch.cuda.make_graphed_callables(self.module, (inputs.clone(),), allow_unused_input=True)
        replay: Callable[[Tensor], Tensor] = vars(self.module)["forward"]
        vars(self.module)["forward"] = self
        with torch.no_grad():
            for buffer, value in zip(self.module.buffers(), kept, strict=True):
                buffer.copy_(value)
        return replay
