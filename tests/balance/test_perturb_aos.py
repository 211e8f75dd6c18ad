"""AOS against a slow loop of one image at a time, and what it must leave alone."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_fabric import Fabric
from torch import nn

from counterpoise.balance.losses import BalancedSoftmax, CrossEntropy
from counterpoise.balance.perturb import AOS, input_gradient
from counterpoise.balance.perturb.aos import fixed_batch_norms
from counterpoise.exceptions import InputError

COUNTS = [50, 5, 50, 40]  # the last is below the largest, and no minority class


def small_network(*, dropout=0.5, dtype=torch.float64, channels=1):
    """Convolution, batch norm, dropout; the statistics are not the fresh ones, and one part is frozen."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(64, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, len(COUNTS)),
    ).to(dtype)
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(16, channels, 8, 8, dtype=dtype))
    network[1].eval()
    return network


def batch(n=12, *, dtype=torch.float64, channels=1, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, channels, 8, 8, generator=generator, dtype=dtype)
    return images, torch.arange(n) % len(COUNTS)


def minority(targets):
    return torch.tensor([COUNTS[t] <= max(COUNTS) / 2 for t in targets])


def slow_aos(images, targets, network, loss, chosen, eps):
    """Algorithm 1 to the letter: one gradient per chosen image."""
    network = copy.deepcopy(network).eval()
    result = images.clone()
    for i in range(len(images)):
        if chosen[i]:
            x = images[i : i + 1].clone().requires_grad_()
            loss(network(x), targets[i : i + 1]).backward()
            result[i] = torch.clip(x + eps * torch.sign(x.grad), 0, 1).detach()[0]
    return result


def state(network):
    """Everything that a pass could leave behind."""
    return {
        "values": {name: value.clone() for name, value in network.state_dict().items()},
        "gradients": {
            name: None if p.grad is None else p.grad.clone() for name, p in network.named_parameters()
        },
        "modes": {name: module.training for name, module in network.named_modules()},
        "wanted": {name: p.requires_grad for name, p in network.named_parameters()},
        "own": {name: set(vars(module)) for name, module in network.named_modules()},
    }


def assert_same_state(before, after):
    assert before["modes"] == after["modes"]
    assert before["wanted"] == after["wanted"]
    assert before["own"] == after["own"]
    for kind in ("values", "gradients"):
        for name, value in before[kind].items():
            other = after[kind][name]
            assert (value is None and other is None) or (
                value.dtype == other.dtype and torch.equal(value, other)
            ), name


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        CrossEntropy(),
        CrossEntropy(reduction="none"),
        BalancedSoftmax(class_counts=COUNTS),
    ],
)
def test_equals_the_slow_loop_of_one_image_at_a_time(loss):
    network, (images, targets) = small_network(), batch()
    aos = AOS(class_counts=COUNTS, p=1.0, eps=0.03)
    slow_loss = loss if getattr(loss, "reduction", "") != "none" else lambda z, y: loss(z, y).sum()
    expected = slow_aos(images, targets, network, slow_loss, minority(targets), 0.03)
    assert torch.equal(aos(images, targets, network, loss), expected)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 0.8, 1.0]), st.integers(1, 9))
def test_equals_the_slow_loop_whatever_is_chosen(seed, p, n):
    network, (images, targets) = small_network(), batch(n, seed=seed)
    perturbed = AOS(class_counts=COUNTS, p=p)(
        images, targets, network, nn.CrossEntropyLoss(), generator=torch.Generator().manual_seed(seed)
    )
    decision = torch.rand(n, generator=torch.Generator().manual_seed(seed)) < p
    expected = slow_aos(images, targets, network, nn.CrossEntropyLoss(), decision & minority(targets), 0.1)
    assert torch.equal(perturbed, expected)


def test_gradient_of_a_linear_softmax_by_hand():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).double()
    images, targets = torch.rand(5, 1, 2, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0])
    error = torch.softmax(network(images), dim=1) - nn.functional.one_hot(targets, 3)
    by_hand = (error @ network[1].weight).reshape(images.shape) / 5
    torch.testing.assert_close(input_gradient(network, nn.CrossEntropyLoss(), images, targets), by_hand)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), BalancedSoftmax(class_counts=COUNTS)])
def test_the_loss_of_a_perturbed_image_goes_up(loss):
    network, (images, targets) = small_network(), batch(32)
    perturbed = AOS(class_counts=COUNTS, p=1.0, eps=0.002)(images, targets, network, loss)
    network.eval()
    per_image = [
        [loss(network(x[None]), y[None]).item() for x, y in zip(pictures, targets, strict=True)]
        for pictures in (images, perturbed)
    ]
    change = np.subtract(per_image[1], per_image[0])
    chosen = minority(targets).numpy()
    assert (change[chosen] > 0).all()
    assert (change[~chosen] == 0).all()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("kind", "shape"), [(nn.BatchNorm2d, (5, 3, 4, 4)), (nn.BatchNorm1d, (5, 3))])
def test_a_fixed_batch_norm_is_torchs(kind, shape, affine):
    generator = torch.Generator().manual_seed(0)
    norm = kind(3, affine=affine, eps=0.01).double().eval()
    for tensor in norm.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(3, generator=generator) + 0.2)
    x, share = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    x.requires_grad_()
    expected = norm(x)
    with fixed_batch_norms([norm]):
        found = norm(x)
        assert "BatchNorm" not in type(found.grad_fn).__name__
    assert "BatchNorm" in type(norm(x).grad_fn).__name__
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, x, share), torch.autograd.grad(expected, x, share), atol=1e-12, rtol=1e-12
    )


class Louder(nn.BatchNorm2d):
    def forward(self, x):
        return 2 * super().forward(x)


def test_what_is_no_plain_batch_norm_is_not_fixed():
    x = torch.randn(6, 3, 2, 2, requires_grad=True)
    loose, louder = nn.BatchNorm2d(3, track_running_stats=False).eval(), Louder(3).eval()
    expected = loose(x), louder(x)
    with fixed_batch_norms([loose, louder]):
        assert torch.equal(loose(x), expected[0])
        assert torch.equal(louder(x), expected[1])
    plain = nn.BatchNorm2d(3).eval()
    compiled = torch.compile(plain, backend="eager")
    with fixed_batch_norms([compiled, plain]):
        assert "BatchNorm" in type(plain(x).grad_fn).__name__


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*deprecated")
def test_a_scripted_network_is_perturbed_alike():
    network, (images, targets) = small_network(), batch()
    scripted = torch.jit.script(network)
    aos, loss = AOS(class_counts=COUNTS, p=1.0), nn.CrossEntropyLoss()
    assert torch.equal(aos(images, targets, scripted, loss), aos(images, targets, network, loss))
    assert scripted.training == network.training
    assert [m.training for m in scripted.modules()] == [m.training for m in network.modules()]


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("with_gradients", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_the_network_is_left_as_it_was(mode, with_gradients, p):
    network, (images, targets) = small_network().train(mode), batch()
    network[1].train(not mode)  # a part in another mode stays in it
    network[0].weight.requires_grad_(False)
    if with_gradients:
        nn.functional.cross_entropy(network(images), targets).backward()
    before = state(network)
    AOS(class_counts=COUNTS, p=p)(images, targets, network, nn.CrossEntropyLoss())
    assert_same_state(before, state(network))


def test_the_network_is_left_as_it_was_where_the_pass_fails():
    network, (images, targets) = small_network(), batch()
    aos = AOS(class_counts=COUNTS, p=1.0)
    before = state(network)

    def broken(logits, targets):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        aos(images, targets, network, broken)
    with pytest.raises(RuntimeError):  # too few pixels for the linear layer
        aos(images[:, :, :4, :4], targets, network, nn.CrossEntropyLoss())
    assert_same_state(before, state(network))


def test_training_goes_on_to_the_same_bits_as_if_the_batch_had_come_perturbed():
    """The gradient pass is invisible to the step that follows it."""
    images, targets = batch()
    first, second = small_network(dropout=0.0), small_network(dropout=0.0)
    perturbed = AOS(class_counts=COUNTS, p=1.0)(images, targets, first, nn.CrossEntropyLoss())
    for network in (first, second):
        nn.functional.cross_entropy(network(perturbed), targets).backward()
        torch.optim.SGD(network.parameters(), 0.1).step()
    assert_same_state(state(first), state(second))


def test_nothing_is_drawn_but_from_the_generator():
    network, (images, targets) = small_network(), batch()
    aos = AOS(class_counts=COUNTS)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    results = [
        aos(images, targets, network, nn.CrossEntropyLoss(), generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    torch.manual_seed(0)
    first = aos(images, targets, network, nn.CrossEntropyLoss())
    torch.manual_seed(0)
    assert torch.equal(first, aos(images, targets, network, nn.CrossEntropyLoss()))


def test_only_chosen_images_change_and_the_input_never():
    network, (images, targets) = small_network(), batch(40)
    kept = images.clone()
    perturbed = AOS(class_counts=COUNTS)(images, targets, network, nn.CrossEntropyLoss())
    assert torch.equal(images, kept)
    changed = (perturbed != images).flatten(1).any(dim=1)
    assert not changed[~minority(targets)].any()
    assert 0 < int(changed.sum()) < int(minority(targets).sum())
    step = (perturbed - images)[changed].abs()
    assert float(step.max()) <= 0.1 + 1e-12
    inside = (images[changed] > 0.1) & (images[changed] < 0.9)
    sizes = step[inside]
    assert bool((torch.isclose(sizes, torch.tensor(0.1, dtype=sizes.dtype)) | (sizes == 0)).all())


def test_the_share_of_chosen_images_is_p():
    n, p = 4000, 0.3
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, len(COUNTS)))
    images, targets = torch.full((n, 1, 2, 2), 0.5), torch.arange(n) % len(COUNTS)
    perturbed = AOS(class_counts=COUNTS, p=p)(
        images, targets, network, nn.CrossEntropyLoss(), generator=torch.Generator().manual_seed(0)
    )
    changed = (perturbed != images).flatten(1).any(dim=1)
    for label, count in enumerate(COUNTS):
        share = float(changed[targets == label].float().mean())
        if count > max(COUNTS) / 2:
            assert share == 0
        else:
            assert share == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / (n / len(COUNTS))))


def test_p_of_zero_and_of_one():
    network, (images, targets) = small_network(), batch(40)
    loss = nn.CrossEntropyLoss()
    assert torch.equal(AOS(class_counts=COUNTS, p=0.0)(images, targets, network, loss), images)
    perturbed = AOS(class_counts=COUNTS, p=1.0)(images, targets, network, loss)
    assert torch.equal((perturbed != images).flatten(1).any(dim=1), minority(targets))
    only_minority = torch.full_like(targets, 1)
    all_of_them = AOS(class_counts=COUNTS, p=1.0)(images, only_minority, network, loss)
    assert (all_of_them != images).flatten(1).any(dim=1).all()
    only_majority = torch.full_like(targets, 2)
    assert torch.equal(AOS(class_counts=COUNTS, p=1.0)(images, only_majority, network, loss), images)
    even = AOS(class_counts=[7, 7, 7, 7], p=1.0)
    assert torch.equal(even(images, targets, network, loss), images)


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, {1}),
        ({"minority_classes": [0, 3]}, {0, 3}),
        ({"minority_classes": []}, set()),
        ({"minority": "all-but-largest"}, {1, 3}),
        ({"minority": "all-but-largest", "minority_classes": [0]}, {1, 3}),
    ],
)
def test_only_images_of_the_minority_classes_change(options, changed):
    network, (images, targets) = small_network(), batch(40)
    perturbed = AOS(class_counts=COUNTS, p=1.0, **options)(images, targets, network, nn.CrossEntropyLoss())
    different = (perturbed != images).flatten(1).any(dim=1)
    assert set(targets[different].tolist()) == changed
    assert bool(different.all()) == (len(changed) == len(COUNTS))


def test_a_wrong_minority_is_refused():
    with pytest.raises(InputError, match="class 4; expected indices from 0 to 3"):
        AOS(class_counts=COUNTS, minority_classes=[1, 4])
    with pytest.raises(InputError, match="did you mean 'listed'"):
        AOS(class_counts=COUNTS, minority="list")


def test_pixels_stay_in_their_range():
    network, (images, targets) = small_network(), batch(40)
    images = (images > 0.5).to(images.dtype)  # black and white: half of the steps lead out
    perturbed = AOS(class_counts=COUNTS, p=1.0, eps=0.3)(images, targets, network, nn.CrossEntropyLoss())
    assert float(perturbed.min()) == 0
    assert float(perturbed.max()) == 1
    assert float((perturbed - images).abs().max()) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("shape", "eps"), [((1, 28, 28), 0.1), ((1, 32, 32), 0.1), ((3, 32, 32), 0.007), ((1, 64, 64), 0.007)]
)
def test_eps_by_kind_of_image(shape, eps):
    network = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 2))
    images = torch.full((2, *shape), 0.5)
    perturbed = AOS(class_counts=[9, 1], p=1.0)(images, torch.tensor([1, 1]), network, nn.CrossEntropyLoss())
    assert float((perturbed - images).abs().max()) == pytest.approx(eps, rel=1e-4)


def test_channels_last_images_stay_so():
    network, (images, targets) = small_network(channels=3), batch(channels=3)
    aos = AOS(class_counts=COUNTS, p=1.0)
    images = images.contiguous(memory_format=torch.channels_last)
    perturbed = aos(images, targets, network, nn.CrossEntropyLoss())
    assert perturbed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(perturbed, aos(images.contiguous(), targets, network, nn.CrossEntropyLoss()))


def test_where_gradients_are_switched_off_and_where_images_have_them():
    network, (images, targets) = small_network(), batch()
    aos, loss = AOS(class_counts=COUNTS, p=1.0), nn.CrossEntropyLoss()
    expected = aos(images, targets, network, loss)
    with torch.no_grad():
        assert torch.equal(aos(images, targets, network, loss), expected)
    leaf = images.clone().requires_grad_()
    perturbed = aos(leaf, targets, network, loss)
    assert torch.equal(perturbed, expected)
    assert leaf.grad is None
    perturbed.sum().backward()
    inside = ((images > 0.1) & (images < 0.9)) | ~minority(targets)[:, None, None, None]
    assert (leaf.grad[inside] == 1).all()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_under_lightning_fabric(precision):
    network, (images, targets) = small_network(dtype=torch.float32), batch(dtype=torch.float32)
    aos, loss = AOS(class_counts=COUNTS, p=1.0), CrossEntropy()
    expected = aos(images, targets, network, loss)
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    wrapped, optimizer = fabric.setup(network, torch.optim.SGD(network.parameters(), 0.1))
    before = state(network)
    assert torch.equal(aos(images, targets, wrapped, loss), expected)
    assert_same_state(before, state(network))
    with fabric.autocast():
        mixed = aos(images, targets, wrapped, loss)
    assert ((mixed - expected).abs() < 1e-6).float().mean() > 0.9  # a sign may turn near 0
    fabric.backward(loss(wrapped(mixed), targets))
    optimizer.step()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_small_gradients_are_not_lost(dtype):
    network, (images, targets) = small_network(dtype=torch.float32), batch(64, dtype=torch.float32)
    with torch.no_grad():  # an image that is all but learned has a tiny gradient
        network[-1].weight.mul_(100)
        targets = network.eval()(images).argmax(dim=1)
    exact = input_gradient(network, nn.CrossEntropyLoss(), images, targets)
    with torch.autocast("cpu", dtype=dtype), torch.no_grad():
        mixed = input_gradient(network, nn.CrossEntropyLoss(), images, targets)
    assert mixed.dtype == torch.float32
    assert bool(torch.isfinite(mixed).all())
    assert ((mixed == 0) != (exact == 0)).float().mean() < 0.01
    assert (mixed.sign() == exact.sign()).float().mean() > 0.9


def test_under_distributed_data_parallel_no_process_waits_for_another(tmp_path):
    """The pass goes round the wrapper: not every process has chosen images, and its reducer expects a backward."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        network, (images, targets) = small_network(dropout=0.0), batch()
        wrapped = nn.parallel.DistributedDataParallel(network, find_unused_parameters=True)
        aos, loss = AOS(class_counts=COUNTS, p=1.0), nn.CrossEntropyLoss()
        expected = aos(images, targets, network, loss)
        before, calls = state(network), []
        hook = wrapped.register_forward_hook(lambda *_: calls.append(1))
        for _ in range(2):
            assert torch.equal(aos(images, targets, wrapped, loss), expected)
        assert not calls
        hook.remove()
        assert_same_state(before, state(network))
        for _ in range(2):
            loss(wrapped(aos(images, targets, wrapped, loss)), targets).backward()
        assert all(p.grad is not None for p in network.parameters())
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 1.5}, "p is 1.5"),
        ({"p": math.nan}, "p is nan"),
        ({"eps": -0.1}, "eps is -0.1"),
        ({"eps": 25}, "eps is 25"),
        ({"class_counts": [0, 0]}, "class counts"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        AOS(**{"class_counts": COUNTS, **options})


def test_bad_input_is_refused():
    network, (images, targets) = small_network(), batch()
    with pytest.raises(InputError, match="class 3, and class counts for 2 classes"):
        AOS(class_counts=[9, 1])(images, targets, network, nn.CrossEntropyLoss())
    with pytest.raises(InputError, match="no gradient with respect to the images"):
        AOS(class_counts=COUNTS, p=1.0)(
            images, targets, lambda_module(lambda x: network(x.detach()).detach()), nn.CrossEntropyLoss()
        )


def lambda_module(function):
    class Wrapped(nn.Module):
        def forward(self, x):
            return function(x)

    return Wrapped()
