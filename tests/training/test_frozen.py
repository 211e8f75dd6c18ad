"""A network that is frozen whole: embeddings stand for images, and only the head is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoise.config import make_config
from counterpoise.datasets import ImageSplit
from counterpoise.exceptions import InputError
from counterpoise.methods import all_methods, get_method
from counterpoise.networks import create_network, cut, freeze
from counterpoise.training import EmbeddedSplit, embed_images, fit_method, predict_logits
from counterpoise.training.batches import RecomputedBatches, frozen_batches

CPU = torch.device("cpu")


def split_of(images, labels):
    return ImageSplit(images, labels, tuple(map(str, range(len(labels)))))


@pytest.fixture(scope="module")
def images(make_images):
    return split_of(*make_images([40, 30, 6]))


@pytest.fixture(scope="module")
def validation(make_images):
    return split_of(*make_images([9, 9, 9], seed=1))


def new_network(*, frozen=True, head_layer="linear"):
    network = create_network(
        "tinynet",
        num_classes=3,
        in_channels=1,
        image_size=(8, 8),
        mean=0.3,
        std=0.2,
        seed=0,
        head_layer=head_layer,
    )
    for _ in range(3):
        network.train()(torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    if frozen:
        freeze(network, "all")
    return network


def embedded(split):
    return EmbeddedSplit.of(split, embed_images(new_network(), split, device=CPU))


def body(network):
    return {name: t.clone() for name, t in network.state_dict().items() if not name.startswith("classifier")}


def test_embeddings_and_logits_of_an_embedded_split_are_those_of_its_images(images):
    network, known = new_network(), embedded(images)
    assert np.array_equal(embed_images(network, known, device=CPU), embed_images(network, images, device=CPU))
    assert np.array_equal(
        predict_logits(network, known, device=CPU), predict_logits(network, images, device=CPU)
    )
    chosen = np.array([5, 0, 70, 5])
    some = known.subset(chosen)
    assert np.array_equal(some.rows, known.rows[chosen])
    assert np.array_equal(some.images, images.images[chosen])
    assert some.paths == tuple(images.paths[i] for i in chosen)
    assert known.content_digest() == images.content_digest()
    with pytest.raises(InputError, match=r"shape \(3, 64\) for 76 images"):
        EmbeddedSplit.of(images, known.rows[:3])


METHODS = (
    *("bl", "bl-cw", "balanced-softmax", "bl-ros-rus", "fs-smote", "ados"),
    *("tau-norm", "lws", "ncm", "crt", "two-phase", "vs", "los"),
    *("bl:head_layer=experts:loss=balpoe", "two-phase:head_layer=experts"),
)


@pytest.mark.parametrize("spec", METHODS)
def test_training_on_embeddings_is_training_the_frozen_network_on_images(images, validation, spec):
    config = make_config(epochs=2, batch_size=16, optimizer="sgd", lr=0.05, device="cpu")
    method = get_method(spec)
    start, one, other = (new_network(head_layer=method.head_layer) for _ in range(3))
    start = body(start)
    slow = fit_method(method, one, images, config=config, validation=validation)
    fast = fit_method(method, other, embedded(images), config=config, validation=embedded(validation))
    for fitted in (slow, fast):
        assert all(torch.equal(tensor, start[name]) for name, tensor in body(fitted.network).items())
    np.testing.assert_allclose(
        fast.logits(embedded(validation)), slow.logits(validation), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(fast.logits(validation), slow.logits(validation), rtol=1e-4, atol=1e-5)
    kept = {entry["stage"] for entry in fast.history}
    for entry, other in zip(
        fast.history, [entry for entry in slow.history if entry["stage"] in kept], strict=True
    ):
        for name in ("loss", "validation_loss", "validation_accuracy", "validation_gmean"):
            assert entry[name] == pytest.approx(other[name], rel=1e-4, abs=1e-5)


def test_no_image_is_looked_at_again(images, validation, monkeypatch):
    train, held_out = embedded(images), embedded(validation)
    network = new_network()

    def refuse(x):
        raise AssertionError("an image went through the network")

    monkeypatch.setattr(network, "_features", refuse)
    config = make_config(epochs=2, batch_size=16, device="cpu")
    for spec in ("bl", "ados", "ncm", "logit-adjusted"):
        fitted = fit_method(get_method(spec), network, train, config=config, validation=held_out)
        assert fitted.logits(held_out).shape == (27, 3)


def test_where_the_head_is_made_anew_no_other_is_trained_before(images):
    config = make_config(epochs=2, batch_size=16, device="cpu")
    stages = {
        spec: [
            e["stage"]
            for e in fit_method(get_method(spec), new_network(), embedded(images), config=config).history
        ]
        for spec in ("bl", "ados", "tau-norm", "two-phase")
    }
    assert stages["bl"] == ["train"] * 2
    assert stages["ados"] == ["head"] * 2
    assert stages["tau-norm"] == ["representation"] * 2
    assert stages["two-phase"] == ["representation"] * 2 + ["head"] * 2


def pixel_methods():
    """Methods that change images, or train the embedding by an objective of their own."""
    found = []
    for name, method in all_methods().items():
        makes_images = method.sampler is not None and method.sampler.load().makes_images
        if method.augment or method.perturb or method.objective or makes_images:
            found.append(name)
    return found


@pytest.mark.parametrize("name", sorted(set(all_methods()) - set(pixel_methods())))
def test_every_other_method_works_on_embeddings_alone(images, validation, name):
    method = get_method(name)
    network = new_network(head_layer=method.head_layer)
    start, before = body(network), predict_logits(network, validation, device=CPU)
    config = make_config(epochs=1, batch_size=16, device="cpu")
    fitted = fit_method(method, network, embedded(images), config=config, validation=embedded(validation))
    assert all(torch.equal(tensor, start[key]) for key, tensor in body(fitted.network).items())
    on_images = fitted.logits(validation)
    np.testing.assert_allclose(fitted.logits(embedded(validation)), on_images, rtol=1e-4, atol=1e-5)
    assert np.abs(on_images - before).max() > 1e-3


def test_methods_without_anything_to_act_on_are_refused(images):
    names = pixel_methods()
    assert "aos" in names
    for name in names:
        with pytest.raises(
            InputError, match=rf"^{name} (changes images|trains the embedding), and .*`freeze` N"
        ):
            fit_method(get_method(name), new_network(), embedded(images), config=make_config(device="cpu"))


@pytest.mark.parametrize("name", ["convnet", "alexnet8"])
def test_outputs_of_frozen_layers_are_computed_once_or_for_each_batch(name):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (21, 3, 16, 16), dtype=np.uint8)
    split = split_of(images, generator.integers(0, 2, 21))
    network = create_network(name, num_classes=2, in_channels=3, image_size=(16, 16), seed=0)
    network.to(memory_format=torch.channels_last)
    freeze(network, 2)
    bottom, _ = cut(network, 2)

    def order(epoch):
        return np.random.default_rng(epoch).permutation(21)

    once = frozen_batches(bottom, split, order, batch_size=8, device=CPU)
    each = frozen_batches(bottom, split, order, batch_size=8, device=CPU, max_bytes=1)
    assert isinstance(each, RecomputedBatches)
    assert not isinstance(once, RecomputedBatches)
    expected = bottom(torch.from_numpy(images).float() / 255)
    for epoch in range(2):
        for a, b in zip(once.epoch(epoch), each.epoch(epoch), strict=True):
            torch.testing.assert_close(a.inputs, expected[a.indices])
            torch.testing.assert_close(b.inputs, expected[b.indices])
            assert torch.equal(a.targets, torch.from_numpy(split.labels)[a.indices])
            assert torch.equal(a.indices, b.indices)
            assert not a.inputs.requires_grad
            assert not b.inputs.requires_grad
