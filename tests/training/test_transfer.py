"""Pretrained weights: fine-tuned after the head, frozen, or whichever the validation images prefer."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from scipy.special import log_softmax

from counterpoise.config import CompareConfig
from counterpoise.config.run import FINE_TUNING_SETTINGS
from counterpoise.datasets import dataset_from_arrays
from counterpoise.exceptions import InputError
from counterpoise.inference import TrainedModel, load_adjustment, load_network
from counterpoise.methods import get_method
from counterpoise.networks import create_network
from counterpoise.networks.heads import HEADS
from counterpoise.studies import ComparisonStudy, make_grid, run_study
from counterpoise.training import EmbeddedSplit, execute_run, predict_logits, softmax
from counterpoise.training.stage import ProgressCallback
from counterpoise.training.transfer import HEAD_FIRST, FitJob, FreezeEvidence

CPU = torch.device("cpu")
STILL = {"lr": 1e-12, "epochs": 1, "ema": 0}
"""Settings under which fine-tuning changes nothing."""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Weights of a small timm network, as they are published."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        source = timm.create_model("test_resnet", pretrained=False, num_classes=7)
    for _ in range(2):
        source.train()(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(source.state_dict(), path)
    return path


def colors_of(counts, generator, brightness):
    labels = np.repeat(np.arange(3), counts)
    images = generator.integers(0, 120, (len(labels), 3, 32, 32)).astype(np.uint8)
    images[np.arange(len(labels)), labels, 8:24, 8:24] += brightness
    return images, labels


@pytest.fixture(scope="module")
def colors():
    """Noisy images whose classes are hard to tell by random features."""
    generator = np.random.default_rng(0)
    images, labels = colors_of([60, 40, 15], generator, 6)
    test_images, test_labels = colors_of([8, 8, 8], generator, 6)
    return dataset_from_arrays(
        images,
        labels,
        classes=["red", "green", "blue"],
        name="colors",
        test_images=test_images,
        test_labels=test_labels,
    )


@pytest.fixture(scope="module")
def grid_of(colors, published):
    def grid(methods="bl", *, dataset=colors, **options):
        settings = {"source": "colors", "methods": methods, "repeats": 1, "device": "cpu", "batch_size": 16}
        if "weights" not in options:
            settings |= {"backbone": "test_resnet", "pretrained": str(published)}
        return make_grid(dataset, CompareConfig.of(**settings | {"validation_fraction": 0.3} | options))

    return grid


@pytest.fixture(scope="module")
def train(colors, grid_of):
    def run(folder, methods="bl", *, dataset=colors, shared=None, progress=None, **options):
        plan = grid_of(methods, dataset=dataset, **options).plans()[0]
        return execute_run(plan, dataset, folder, shared=shared, progress=progress)

    return run


def weights_of(folder):
    return load_file(folder.path / "model.safetensors")


def probabilities(folder):
    """Return the probabilities in ``predictions.csv``."""
    return pd.read_csv(folder.path / "predictions.csv")[list(folder.record.dataset.classes)].to_numpy()


def same(first, second):
    one, two = weights_of(first), weights_of(second)
    return one.keys() == two.keys() and all(torch.equal(tensor, two[name]) for name, tensor in one.items())


# --- fine-tuned after the head ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frozen(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "frozen", freeze="all")


def test_training_starts_from_the_head_on_frozen_features(train, frozen, tmp_path):
    run = train(tmp_path / "run", freeze="none", **STILL)
    np.testing.assert_allclose(probabilities(run), probabilities(frozen), atol=2e-5)
    assert run.record.start.freeze is None
    assert run.record.raw["config"]["resolved"]["features"] == "multi"
    assert run.record.raw["penalties"] == {HEAD_FIRST: frozen.record.raw["penalties"]["train"]}
    assert HEAD_FIRST in run.record.timings


def test_what_sampling_changes_is_in_the_bias_from_the_start(train, frozen, colors, tmp_path):
    """Square-root sampling shifts logits by half the log shares, and the adjustment takes the other half."""
    run = train(tmp_path / "run", "fine-tuned", freeze="none", **STILL)
    counts = np.array(frozen.record.dataset.counts["train"])
    expected = probabilities(frozen) / counts
    np.testing.assert_allclose(probabilities(run), expected / expected.sum(axis=1, keepdims=True), atol=2e-5)
    logits = predict_logits(load_network(run), colors.test, device=CPU)
    half = probabilities(frozen) / np.sqrt(counts)
    np.testing.assert_allclose(softmax(logits), half / half.sum(axis=1, keepdims=True), atol=2e-5)


@pytest.mark.parametrize("method", ["ados", "crt"])
def test_heads_of_tuned_networks_are_trained_to_convergence(train, tmp_path, method):
    """The rate is one for fine-tuning: a new head would hardly move."""
    still = train(tmp_path / "none", method, freeze="none", **STILL)
    whole = train(tmp_path / "all", method, freeze="all", epochs=1)
    np.testing.assert_allclose(probabilities(still), probabilities(whole), atol=2e-3)
    assert still.record.raw["penalties"]["head"] == whole.record.raw["penalties"]["head"]


def test_frozen_first_layers_stay_frozen(train, published, tmp_path):
    run = train(tmp_path / "run", freeze="1", epochs=1)
    source, tuned = load_file(published), weights_of(run)
    unchanged = {
        name for name in source if torch.equal(source[name], tuned.get(f"backbone.{name}", torch.zeros(0)))
    }
    weights = {name for name in unchanged if name.endswith("weight")}
    assert {name.split(".")[0] for name in weights} == {"conv1", "bn1"}
    assert HEAD_FIRST in run.record.timings


@pytest.mark.filterwarnings("ignore:.*start untrained")
def test_settings_left_open_are_those_of_fine_tuning(grid_of, frozen, tmp_path):
    open_ones = ("epochs", "lr", "optimizer", "batch_norm", "schedule", "ema", "clip", "select")
    config = grid_of(freeze="none").config
    assert {n: getattr(config, n) for n in open_ones} == {n: FINE_TUNING_SETTINGS[n] for n in open_ones}
    assert grid_of(freeze="auto").config == config
    assert grid_of(freeze="2").config == config
    scratch = {"epochs": 100, "lr": 1e-3, "optimizer": "adam", "batch_norm": "train", "select": "last"}
    scratch |= {"schedule": None, "ema": None, "clip": None}
    for options in ({"pretrained": "none"}, {"freeze": "all"}, {"weights": frozen.path, "freeze": "none"}):
        if "weights" in options:
            options |= {"split_file": frozen.path / "manifest.json", "validation_fraction": None}
        config = grid_of(**options).config
        assert {n: getattr(config, n) for n in open_ones} == scratch, options
    asked = {
        "lr": 1e-3,
        "optimizer": "adam",
        "batch_norm": "train",
        "schedule": "constant",
        "ema": 0,
        "clip": 9,
    }
    asked |= {"epochs": 7, "select": "last"}
    config = grid_of(freeze="none", **asked).config
    assert {n: getattr(config, n) for n in open_ones} == asked
    assert grid_of(freeze="none", steps=30).config.epochs == 6  # of five steps each


class Interrupt(ProgressCallback):
    """Interrupts a run in its third epoch of fine-tuning."""

    def update(self, step):
        if step.stage == "train" and step.epoch == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("freeze", ["none", "auto"])
def test_an_interrupted_run_resumes_to_the_same_weights(train, tmp_path, freeze):
    options = {"freeze": freeze, "lr": 2e-3, "epochs": 4, "penalty": 100.0}
    whole = train(tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", progress=Interrupt(), **options)
    epochs = []

    class Seen(ProgressCallback):
        def update(self, step):
            epochs.append((step.stage, step.epoch))

    resumed = train(tmp_path / "run", progress=Seen(), **options)
    assert {epoch for stage, epoch in epochs if stage == "train"} == {3, 4}
    assert same(whole, resumed)
    assert (whole.path / "metrics.json").read_bytes() == (resumed.path / "metrics.json").read_bytes()


def test_methods_share_a_tuned_network_only_from_the_same_head(train, tmp_path):
    options = {"freeze": "none", "epochs": 1}
    alone = train(tmp_path / "alone", "ados", **options)
    shared = tmp_path / "networks"
    for number, method in enumerate(["bl", "ados", "tau-norm", "logit-adjusted"]):
        run = train(tmp_path / f"runs/{number}", method, shared=shared, **options)
        if method == "ados":
            assert same(run, alone)
    # One of bl and tau-norm, one of the weighted loss of ados; an adjustment decides which epoch is best.
    assert len(list(shared.glob("network-*.safetensors"))) == 3


@pytest.mark.parametrize("kind", sorted(set(HEADS) - {"prototype"}))
def test_every_head_can_be_fitted_first(make_images, tmp_path, kind):
    images, labels = make_images([30, 20, 8])
    dataset = dataset_from_arrays(images, labels, name="blobs")
    shape = {"num_classes": 3, "in_channels": 1, "image_size": (8, 8), "seed": 0}
    network = create_network("tinynet", **shape, head_layer=kind, standardize=True)
    rows = network.eval().raw_embed(torch.from_numpy(images).float() / 255).detach().numpy()
    network.set_standardization(
        *(torch.from_numpy(values) for values in (rows.mean(axis=0), rows.std(axis=0) + 1e-6))
    )
    rows = (rows - network.features_mean.numpy()) / network.features_scale.numpy()
    embedded = replace(dataset, train=EmbeddedSplit.of(dataset.train, rows))
    job = FitJob(
        method=get_method(f"bl:head_layer={kind}"),
        config=CompareConfig.of(source="blobs", device="cpu", **STILL).train.resolved(
            fine_tuned=True, validated=False
        ),
        checkpoints=tmp_path,
        shared=None,
        identity="",
        classes=dataset.classes,
        progress=ProgressCallback(),
    )
    head = job.fit(copy.deepcopy(network), embedded).logits(embedded.train)
    assert (head.argmax(axis=1) == labels).all()
    fitted = job.fine_tune(network, dataset, embedded)
    np.testing.assert_allclose(fitted.logits(dataset.train), head, atol=1e-4)


# --- whichever validation prefers ---------------------------------------------------------------------------

LEARNED = {"lr": 3e-3, "epochs": 6, "penalty": 100.0}
SPOILED = {"lr": 0.3, "epochs": 1, "ema": 0, "clip": 100.0}


def balanced_log_loss(logits, labels):
    """Return the mean over the classes of their mean log losses."""
    losses = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
    return np.mean([losses[labels == label].mean() for label in np.unique(labels)])


def validation_of(grid, dataset):
    return grid.template.split.splits(dataset, 0).apply(dataset).validation


@pytest.mark.parametrize(("settings", "better"), [(LEARNED, None), (SPOILED, "all")])
def test_the_lower_balanced_validation_loss_decides(train, grid_of, colors, tmp_path, settings, better):
    runs = {name: train(tmp_path / name, freeze=name, **settings) for name in ("all", "none", "auto")}
    validation = validation_of(grid_of(), colors)
    losses = {
        name: balanced_log_loss(
            predict_logits(load_network(runs[name]), validation, device=CPU), validation.labels
        )
        for name in ("all", "none")
    }
    assert (losses["all"] <= losses["none"]) == (better == "all")
    start = runs["auto"].record.start
    assert start.freeze == better
    assert start.evidence.frozen == pytest.approx(losses["all"], rel=1e-4)
    assert start.evidence.fine_tuned == pytest.approx(losses["none"], rel=1e-4)
    assert same(runs["auto"], runs[better or "none"])
    assert runs["auto"].record.network.parameters == runs[better or "none"].record.network.parameters
    # The saved model predicts what was scored.
    found = TrainedModel.open(runs["auto"], device="cpu").probabilities(colors.test)
    np.testing.assert_allclose(found, probabilities(runs["auto"]), atol=1e-5)
    hashes = {runs[name].record.config_hash for name in runs}
    assert len(hashes) == 3


def test_a_tie_stays_frozen():
    assert FreezeEvidence(0.5, 0.5).prefers_frozen
    assert not FreezeEvidence(0.5, 0.49).prefers_frozen
    assert FreezeEvidence().prefers_frozen


def test_an_adjustment_is_scored_on_images_that_it_did_not_learn_from(train, grid_of, colors, tmp_path):
    run = train(tmp_path / "run", "bl:adjust=class-thresholds", freeze="auto", **SPOILED)
    validation, counts = validation_of(grid_of(), colors), run.record.dataset.counts["train"]
    logits = predict_logits(load_network(run), validation, device=CPU)
    adjustment = load_adjustment(run)
    fair, biased = (
        balanced_log_loss(adjusted, validation.labels)
        for adjusted in (
            adjustment.cross_fit(logits, validation.labels, counts),
            adjustment.transform(logits),
        )
    )
    assert run.record.start.evidence.frozen == pytest.approx(fair, rel=2e-5)
    assert fair != pytest.approx(biased, rel=1e-4)


def test_without_validation_images_it_stays_frozen(train, grid_of, frozen, tmp_path):
    options = {"freeze": "auto", "validation_fraction": 0}
    grid = grid_of(**options)
    assert grid.config.select == "last"
    assert grid.notes[-1] == "frozen: there are no validation images by which `freeze` auto could choose"
    run = train(tmp_path / "run", **options)
    assert run.record.start.freeze == "all"
    assert run.record.raw["start"]["evidence"] == {"frozen": None, "fine_tuned": None}
    assert same(run, train(tmp_path / "all", freeze="all", validation_fraction=0))


def test_own_weights_are_judged_alike(train, make_images, tmp_path):
    images, labels = make_images([60, 40, 12])
    first = dataset_from_arrays(images, labels, name="blobs")
    images, labels = make_images([20, 20, 12, 16], seed=7)
    others = dataset_from_arrays(images, labels, name="others")
    source = train(tmp_path / "first", dataset=first, weights=None, epochs=2, batch_size=16)
    assert source.record.network.name == "tinynet"
    for freeze in ("1", "none"):  # as before there was a choice
        run = train(tmp_path / freeze, dataset=others, weights=source.path, freeze=freeze, epochs=2)
        assert HEAD_FIRST not in run.record.timings
    run = train(tmp_path / "auto", dataset=others, weights=source.path, freeze="auto", epochs=2)
    assert run.record.start.freeze in ("all", None)
    assert run.record.start.evidence.fine_tuned is not None
    found = TrainedModel.open(run, device="cpu").probabilities(others.train)
    assert found.shape == (68, 4)


def test_a_comparison_chooses_run_by_run_and_embeds_once(colors, grid_of, tmp_path):
    grid = grid_of("bl,ados", freeze="auto", epochs=1)
    result = run_study(ComparisonStudy(grid, colors), tmp_path / "out")
    assert result.summary["failed"] == []
    assert all(outcome.result.record.start.evidence is not None for outcome in result.outcomes)
    assert len(list((tmp_path / "out/cache").glob("*.rows"))) == 1


def test_methods_that_need_images_cannot_be_judged_frozen(grid_of):
    with pytest.raises(InputError, match="aos changes images, and a network frozen whole"):
        grid_of("bl,aos", freeze="auto")


def test_a_cache_is_for_embeddings(grid_of, tmp_path):
    for freeze in ("all", "none", "auto", "1"):
        assert grid_of(freeze=freeze, cache=tmp_path).template.cache == str(tmp_path)
    with pytest.raises(InputError, match="`cache` keeps the embeddings"):
        grid_of(pretrained="none", cache=tmp_path)


def test_installed_weights_are_fine_tuned_after_their_head(make_images, tmp_path):
    images, labels = make_images([14, 12], size=48)
    test_images, test_labels = make_images([4, 4], size=48, seed=1)
    photographs = dataset_from_arrays(
        images, labels, name="photographs", test_images=test_images, test_labels=test_labels
    )
    settings = {"source": "photographs", "methods": "bl", "repeats": 1, "device": "cpu", "batch_size": 8}
    runs = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for changes in ({"freeze": "all"}, {"freeze": "none"} | STILL):
            plan = make_grid(photographs, CompareConfig.of(**settings | changes)).plans()[0]
            runs.append(execute_run(plan, photographs, tmp_path / changes["freeze"]))
    assert runs[0].record.network.name == "tf_efficientnet_lite0"
    np.testing.assert_allclose(probabilities(runs[1]), probabilities(runs[0]), atol=1e-3)
