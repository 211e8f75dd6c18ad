"""Training that continues from a run with standardized features of several levels, and heads that are fitted first."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from counterpoise.config import EnhanceConfig, TrainRunConfig
from counterpoise.datasets import dataset_from_arrays
from counterpoise.exceptions import InputError
from counterpoise.inference import load_network
from counterpoise.methods import get_method
from counterpoise.networks import EnhancedNetwork, EnsembleNetwork
from counterpoise.runs import RunFolder
from counterpoise.studies.enhance import variants
from counterpoise.studies.enhance.plan import FRESH, make_enhance_plan
from counterpoise.training import (
    FitJob,
    Fitted,
    embed_images,
    execute_run,
    make_network,
    predict_logits,
    prepare_run,
    write_run,
)

CLASSES = 3


def stripes(counts, seed):
    """Stripes whose direction or width is the class, under noise."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), counts)
    patterns = [np.indices((48, 48))[axis] // width % 2 for axis, width in ((0, 4), (1, 4), (1, 12))]
    images = np.stack([patterns[label] for label in labels])[:, None] * 60 + 90
    images = images + generator.normal(0, 40, (len(labels), 3, 48, 48))
    return images.clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def dataset():
    images, labels = stripes((24, 16, 10), 0)
    test_images, test_labels = stripes((6,) * CLASSES, 1)
    return dataset_from_arrays(
        images, labels, name="stripes", test_images=test_images, test_labels=test_labels
    )


def prepared(dataset, **options):
    options = {"source": "stripes", "epochs": 1, "batch_size": 16, "device": "cpu", "threads": 1} | options
    return prepare_run(dataset, TrainRunConfig.of(**options), [get_method("bl")])


@pytest.fixture(scope="module")
def tuned(dataset, tmp_path_factory):
    """A run of the pretrained network, fine-tuned."""
    plan = prepared(dataset, freeze="none").plan
    return execute_run(plan, dataset, tmp_path_factory.mktemp("runs") / "tuned")


def tensors_of(run):
    return load_file(run.path / "model.safetensors")


def test_a_run_with_features_of_several_levels_is_loaded_as_it_is(dataset, tuned, tmp_path):
    found = prepared(dataset, weights=tuned.path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing starts untrained
        network = make_network(found.plan, found.manifest.apply(dataset))
    state = network.state_dict()
    assert state.keys() == tensors_of(tuned).keys()
    for name, tensor in tensors_of(tuned).items():
        assert torch.equal(state[name], tensor), name
    assert (
        f"weights of {tuned.path}: the network, its standardized features of several levels and its head"
    ) in found.notes
    # All layers are trained further, from these features and this head, which is not fitted once more.
    assert not found.plan.head_first
    run = execute_run(found.plan, dataset, tmp_path / "further")
    assert run.record.network.options == {"features": "multi", "standardize": True}
    assert {entry.stage for entry in run.history} == {"train"}
    assert run.record.network.parameters == tuned.record.network.parameters


def test_features_of_a_run_enter_the_identity_only_where_there_are_any(dataset, tuned, tmp_path):
    plain = prepared(dataset, pretrained="none", backbone="resnet18").plan
    run = execute_run(plain, dataset, tmp_path / "plain")
    further = prepared(dataset, weights=run.path)
    assert further.plan.features is None
    assert f"weights of {run.path}: the network and its head" in further.notes
    of_features = prepared(dataset, weights=tuned.path).plan
    assert of_features.hash != replace(of_features, features=None).hash


def test_a_frozen_run_fits_a_new_head_and_says_so(dataset, tuned):
    found = prepared(dataset, weights=tuned.path, freeze="all")
    assert (
        f"weights of {tuned.path}: the network; a head is fitted to its features of several levels"
    ) in found.notes


def test_an_average_of_two_networks_is_refused_in_its_own_words(dataset, tuned, tmp_path):
    plan = prepared(dataset, weights=tuned.path).plan
    members = [load_network(tuned), load_network(tuned)]
    fitted = Fitted(EnsembleNetwork(members).eval(), None, [])
    manifest = plan.split.splits(dataset, plan.config.seed)
    folder = RunFolder(tmp_path / "average")
    with folder.claimed(plan.hash):
        write_run(folder, plan, manifest.apply(dataset), manifest, fitted, started=0.0)
    with pytest.raises(InputError, match="is an average of two networks, which are not trained together"):
        prepared(dataset, weights=folder.path)


@pytest.mark.parametrize("freeze", ["none", "all"])
def test_the_fresh_classifier_of_an_enhancement_starts_with_a_fitted_head(
    dataset, tmp_path, monkeypatch, freeze
):
    """Its pretrained network has standardized features and a head at their optimum before the U-Net is trained."""
    options = {"pretrained": "auto", "epochs": 1, "copy_epochs": 1, "enhance_epochs": 1, "width": 2}
    config = EnhanceConfig.of(
        source="stripes", freeze=freeze, batch_size=16, device="cpu", threads=1, **options
    )
    plan = make_enhance_plan(dataset, config)
    classifier = execute_run(plan.classifiers.plans()[0], dataset, tmp_path / "runs" / "classifier")
    seen = []

    fit = FitJob.fit

    def stop(job, network, splits):
        if not isinstance(network, EnhancedNetwork):
            return fit(job, network, splits)
        seen.append((network, splits.train))
        raise KeyboardInterrupt

    monkeypatch.setattr(FitJob, "fit", stop)
    fresh = next(p for p in plan.variant_plans() if p.variant == FRESH)
    with pytest.raises(KeyboardInterrupt):
        variants.execute_variant(
            fresh,
            dataset,
            tmp_path / "runs" / "fresh",
            classifier=classifier.path,
            shared=tmp_path / "networks",
        )
    network, train = seen[0]
    inner = next(m for m in network.modules() if getattr(m, "standardize", False))
    z = embed_images(inner, train, device=torch.device("cpu"))
    assert np.abs(z.mean(axis=0)).max() < 1e-3
    logits = predict_logits(inner, train, device=torch.device("cpu"))
    assert (logits.argmax(1) == train.labels).mean() > 0.9
