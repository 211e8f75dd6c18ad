"""Sharpness-aware steps: the closed form, and what the second pass must not touch."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from counterpoise.balance.steps import SAM
from counterpoise.exceptions import InputError


def quadratic(weight, a):
    def backward():
        loss = 0.5 * weight @ a @ weight
        loss.backward()
        return loss.detach()

    return backward


def test_the_gradient_on_a_quadratic_is_the_closed_form():
    """The gradient of w'Aw/2 is Aw: at w + rho g/|g| with g = Aw it is Aw + rho A Aw / |Aw|."""
    a = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
    module = nn.ParameterList([nn.Parameter(torch.tensor([1.0, -2.0]))])
    loss = SAM(radius=0.3).backward(module, quadratic(module[0], a))
    g = a @ torch.tensor([1.0, -2.0])
    assert float(loss) == pytest.approx(float(0.5 * torch.tensor([1.0, -2.0]) @ g))
    assert torch.allclose(module[0].grad, g + 0.3 * (a @ g) / g.norm())
    assert torch.equal(module[0], torch.tensor([1.0, -2.0]))


def test_the_radius_is_the_length_over_all_parameters():
    first, second = nn.Parameter(torch.tensor([3.0])), nn.Parameter(torch.tensor([4.0]))
    seen = []

    def backward():
        seen.append((first.item(), second.item()))
        loss = 0.5 * (first**2 + second**2).sum()
        loss.backward()
        return loss.detach()

    SAM(radius=1.0).backward(nn.ParameterList([first, second]), backward)
    assert seen[0] == (3, 4)
    assert seen[1] == pytest.approx((3.6, 4.8))


def test_batch_norm_learns_from_the_first_pass_alone():
    def batch_loss(network):
        generator = torch.Generator().manual_seed(1)
        x, y = torch.randn(12, 4, generator=generator), torch.arange(12) % 3

        def backward():
            loss = cross_entropy(network(x), y)
            loss.backward()
            return loss.detach()

        return backward

    def new():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))

    plain, sharp = new(), new()
    batch_loss(plain)()
    SAM(radius=0.5).backward(sharp, batch_loss(sharp))
    for name, tensor in plain.state_dict().items():
        assert torch.equal(sharp.state_dict()[name], tensor), name
    assert not torch.allclose(plain[0].weight.grad, sharp[0].weight.grad, atol=1e-4)


def test_before_its_first_epoch_the_gradient_is_plain():
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    module, a = nn.ParameterList([weight]), torch.eye(2)
    sam = SAM(radius=0.5, defer_epochs=0.8, epochs=5)
    for epoch, sharp in ((0, False), (3, False), (4, True)):
        weight.grad = None
        sam.set_epoch(epoch)
        sam.backward(module, quadratic(weight, a))
        assert torch.equal(weight.grad, weight.detach()) is not sharp


def test_a_vanishing_gradient_stays_finite():
    weight = nn.Parameter(torch.zeros(2))
    SAM().backward(nn.ParameterList([weight]), quadratic(weight, torch.eye(2)))
    assert torch.equal(weight.grad, torch.zeros(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 0}, "radius is 0; expected a finite number above 0"),
        ({"radius": float("nan")}, "radius is nan"),
        ({"defer_epochs": 1.5}, "defer_epochs is 1.5"),
        ({"defer_epochs": 0.5}, "give their number as epochs="),
    ],
)
def test_nonsense_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        SAM(**options)
