"""Replayed steps give the same numbers as steps that are run, with recorded graphs and with an imitation of them."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.autograd import Function
from torch.nn.functional import cross_entropy

from counterpoise.config import make_config
from counterpoise.datasets import ImageSplit
from counterpoise.seeding import torch_seed
from counterpoise.training import Stage, image_batches
from counterpoise.training.cuda_graphs import can_replay, recorded_steps

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


class _Overwrites(Function):
    """Passes a tensor on in memory that the next call overwrites, as the replay of a graph does."""

    @staticmethod
    def forward(ctx, outputs, memory):
        memory.copy_(outputs)
        return memory.detach()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


@pytest.fixture
def replayed(monkeypatch):
    """Shapes of the batches that were replayed; without a GPU, of an imitation that runs what it should replay."""
    shapes, record = [], torch.cuda.make_graphed_callables

    def imitate(module, sample_args, **_):
        forward = module.forward
        for _ in range(3):  # to warm up
            memory = torch.empty_like(forward(*sample_args))

        def replay(inputs):
            return _Overwrites.apply(forward(inputs), memory)

        module.forward = replay

    def make(module, sample_args, **options):
        (imitate if sample_args[0].device.type == "cpu" else record)(module, sample_args, **options)
        replay = module.forward

        def counted(inputs):
            shapes.append(tuple(inputs.shape))
            return replay(inputs)

        module.forward = counted

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", make)
    return shapes


def network(device):
    with torch_seed(3):
        layers = (
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(144, 3),
        )
        return nn.Sequential(*layers).to(device)


def batches(device, sizes=(8, 8, 5, 8)):
    generator = torch.Generator().manual_seed(0)
    for size in sizes:
        images = torch.rand(size, 3, 8, 8, generator=generator)
        yield images.to(device), torch.randint(3, (size,), generator=generator).to(device)


def train(module, device):
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    losses = []
    with torch_seed(1):
        for images, labels in batches(device):
            loss = cross_entropy(module(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("device", DEVICES)
def test_replayed_steps_train_as_steps_that_are_run(device, replayed):
    plain, recorded = network(device), network(device)
    expected = train(plain, device)
    with recorded_steps(recorded):
        found = train(recorded, device)
    assert replayed == [(8, 3, 8, 8)] * 2
    assert found == pytest.approx(expected, rel=1e-5)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(recorded.state_dict()[name], value, rtol=1e-4, atol=1e-6)
    assert "forward" not in vars(recorded)


@pytest.mark.parametrize("device", DEVICES)
def test_two_batches_before_their_backward_passes_keep_their_own_values(device, replayed):
    plain, recorded = network(device), network(device)
    images = torch.cat([images for images, _ in batches(device, (8, 8))])
    gradients = []
    for module in (plain, recorded):
        module[3].p = 0.0
        with recorded_steps(module):
            if module is plain:
                del module.forward
            module(images[:8]).sum().backward()
            module.zero_grad()
            first, second = module(images[:8]), module(images[8:])
            (first.square().sum() + second.exp().sum()).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in module.parameters()]))
    assert len(replayed) == 1
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_only_training_is_replayed(device, replayed):
    module = network(device)
    images, _ = next(batches(device))
    with recorded_steps(module):
        with torch.no_grad():
            module(images)
        inputs = images.clone().requires_grad_()
        module(inputs).sum().backward()
        assert inputs.grad.abs().sum() > 0
        module.eval()
        module(images).sum().backward()
        assert replayed == []
        module.train()
        module(images).sum().backward()
        assert replayed == []
        kept = module(images)
        values = kept.detach().clone()
        kept.sum().backward()
        module(images + 1).sum().backward()
        assert len(replayed) == 2
        assert torch.equal(kept, values)


def test_nothing_is_recorded_where_memory_is_short(monkeypatch, replayed):
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: float("inf"))
    module = network("cpu")
    with recorded_steps(module):
        assert train(module, "cpu") == train(network("cpu"), "cpu")
    assert replayed == []


def test_steps_with_several_passes_or_unknown_layers_or_on_a_cpu_are_not_replayed(make_images):
    images, labels = make_images([4, 4])
    split = ImageSplit(images, labels, tuple(map(str, range(8))))
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    batches = image_batches(split, lambda _: range(8), batch_size=4, device=cpu)
    stage = Stage("train", network("cpu"), None, batches, 1)
    assert can_replay(stage, make_config(), cuda)
    assert not can_replay(stage, make_config(), cpu)
    assert not can_replay(stage, make_config(accumulate=2), cuda)
    assert not can_replay(replace(stage, step=object()), make_config(), cuda)
    assert not can_replay(replace(stage, batches=object()), make_config(), cuda)
    foreign = type("Foreign", (nn.Module,), {"__module__": "elsewhere.layers"})()
    assert not can_replay(replace(stage, module=nn.Sequential(network("cpu"), foreign)), make_config(), cuda)
