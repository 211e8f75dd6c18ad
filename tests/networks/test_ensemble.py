"""Average of networks: its probabilities, saving, export and explanations."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from counterpoise.exceptions import InputError
from counterpoise.networks import EnsembleNetwork, create_network, load_network, save_network

SIZE = (16, 16)


def member(name="tinynet", seed=0, classes=3, size=SIZE, **options):
    network = create_network(name, num_classes=classes, in_channels=3, image_size=size, seed=seed, **options)
    network.train()(torch.rand(8, 3, *size, generator=torch.Generator().manual_seed(seed)))
    return network.eval()


@pytest.fixture(scope="module")
def members():
    frozen = member("test_resnet", 1, features="multi", standardize=True)
    frozen.set_standardization(
        torch.full((frozen.embedding_dim,), 0.2), torch.full((frozen.embedding_dim,), 0.5)
    )
    return [frozen, member("tinynet", 2, head_layer="cosine", mean=0.4, std=0.3)]


@pytest.fixture(scope="module")
def ensemble(members):
    return EnsembleNetwork(members).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 3, *SIZE, generator=torch.Generator().manual_seed(9))


def test_log_probabilities_are_averaged(ensemble, members, images):
    with torch.no_grad():
        expected = np.mean([log_softmax(m(images).double().numpy(), axis=1) for m in members], axis=0)
        found, embedded = ensemble(images), ensemble.embed(images)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
        assert torch.equal(embedded, torch.cat([m.embed(images) for m in members], dim=1))
        assert torch.equal(ensemble.head(embedded), found)
    assert embedded.shape[1] == ensemble.embedding_dim == sum(m.embedding_dim for m in members)


def test_it_is_saved_whole(ensemble, images, tmp_path):
    path = tmp_path / "model.safetensors"
    save_network(ensemble, path)
    loaded = load_network(ensemble.config, path)
    with torch.no_grad():
        assert torch.equal(loaded(images), ensemble(images))
    assert loaded.config == ensemble.config
    assert ensemble.config["parameters"] == sum(m.config["parameters"] for m in ensemble.members)


def test_what_fits_no_ensemble_is_refused(members):
    for wrong in ([], members[:1], [members[0], member(classes=4)], [members[0], member(size=(24, 24))]):
        with pytest.raises(InputError, match="expected two or more for the same"):
            EnsembleNetwork(wrong)
    with pytest.raises(InputError, match="no head of its own"):
        EnsembleNetwork(members).reset_head()


def test_explanations_are_those_of_the_last_member(ensemble, images):
    from counterpoise.explain import create_explainer

    explainer = create_explainer("grad-cam", ensemble)
    assert explainer.layer_for((3, *SIZE)).name.startswith("members.1.")
    assert torch.isfinite(explainer.explain(images, torch.zeros(5, dtype=torch.int64))).all()


def test_it_is_exported_with_the_average_inside(ensemble, images, tmp_path):
    from counterpoise.inference import export as exporting

    for name in exporting.NEEDED:
        pytest.importorskip(name, reason='the extra "onnx" is not installed')
    import onnxruntime

    trained = SimpleNamespace(network=ensemble, adjustment=None, channels=3, image_size=SIZE)
    proto = exporting._exported(trained)
    path = tmp_path / "model.onnx"
    path.write_bytes(exporting._with_metadata(proto, {}))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits, probabilities = session.run(None, {"pixels": images.numpy()})
    with torch.no_grad():
        expected = ensemble(images)
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-4)
    np.testing.assert_allclose(probabilities, expected.softmax(dim=1).numpy(), atol=1e-5)
