"""Every record, end to end on tiny images: what holds for one method must hold for all."""

import csv
import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from counterpoise.config.train import make_config
from counterpoise.datasets import StepImbalance, dataset_from_arrays
from counterpoise.files import read_json
from counterpoise.inference.model import predict_probabilities
from counterpoise.methods import all_methods
from counterpoise.runs.folder import RunFolder
from counterpoise.training.plan import RunPlan, SplitPlan
from counterpoise.training.run import execute_run

METHODS = sorted(all_methods())
CLASSES = ("cat", "dog", "owl")
FILES = {"run.json", "metrics.json", "predictions.csv", "history.json", "embedding.json", "mistakes.json"}


@pytest.fixture(scope="module")
def dataset(make_images):
    images, labels = make_images([60, 60, 60])
    test_images, test_labels = make_images([20, 20, 20], seed=1)
    return dataset_from_arrays(
        images, labels, classes=CLASSES, name="blobs", test_images=test_images, test_labels=test_labels
    )


def plan_for(dataset, method, *, seed=0):
    profile = StepImbalance(6, minority=[2]).to_dict()
    return RunPlan(
        source="blobs",
        fingerprint=dataset.fingerprint,
        image_size=dataset.image_size,
        split=SplitPlan(profile=profile, validation_fraction=0.2),
        draw=0,
        method=method,
        network="tinynet",
        config=make_config(epochs=3, batch_size=8, lr=5e-3, seed=seed, device="cpu"),
    )


def run(dataset, method, path, **changes):
    return execute_run(plan_for(dataset, method, **changes), dataset, path)


def rows_of(folder):
    with (folder.path / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def probabilities_of(folder):
    return np.array([[float(row[name]) for name in CLASSES] for row in rows_of(folder)])


def weights_of(folder):
    return load_file(folder.path / "model.safetensors")


def same_weights(a, b):
    one, other = weights_of(a), weights_of(b)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def runs(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    done = {}

    def get(method):
        if method not in done:
            done[method] = run(dataset, method, folder / method)
        return done[method]

    return get


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_result_other_seed_other_result(dataset, runs, method, tmp_path):
    again = run(dataset, method, tmp_path / "again")
    other = run(dataset, method, tmp_path / "other", seed=1)
    assert same_weights(runs(method), again)
    assert (runs(method).path / "predictions.csv").read_bytes() == (
        again.path / "predictions.csv"
    ).read_bytes()
    assert runs(method).metrics == again.metrics
    assert not same_weights(runs(method), other)


@pytest.mark.parametrize("method", METHODS)
def test_labels_of_test_images_are_never_seen(dataset, runs, method, tmp_path):
    wrong = dataclasses.replace(dataset.test, labels=(dataset.test.labels + 1) % 3)
    blinded = dataclasses.replace(dataset, test=wrong)
    blind = run(blinded, method, tmp_path / "blind")
    assert same_weights(runs(method), blind)
    assert np.array_equal(probabilities_of(runs(method)), probabilities_of(blind))
    assert blind.metrics["test"] != runs(method).metrics["test"]


@pytest.mark.parametrize("method", METHODS)
def test_images_and_labels_are_left_as_they_were(dataset, runs, method):
    before = dataset.fingerprint
    copies = [(split.images.copy(), split.labels.copy()) for split in (dataset.train, dataset.test)]
    runs(method)
    for (images, labels), split in zip(copies, (dataset.train, dataset.test), strict=True):
        assert np.array_equal(images, split.images)
        assert np.array_equal(labels, split.labels)
    assert dataset.fingerprint == before


@pytest.mark.parametrize("method", METHODS)
def test_the_folder_is_whole_and_its_model_gives_its_predictions(dataset, runs, method):
    folder = runs(method)
    kept = {p.name for p in folder.path.iterdir()} - {".lock"}
    assert kept == FILES | {"model.safetensors", "manifest.json"}
    assert RunFolder.open(folder.path).record["method"] == method
    again = predict_probabilities(RunFolder.open(folder.path), dataset.test, device="cpu")
    assert probabilities_of(folder) == pytest.approx(again, rel=1e-5, abs=1e-9)
    predicted = [row["predicted"] for row in rows_of(folder)]
    assert predicted == [CLASSES[i] for i in again.argmax(axis=1)]
    hits = np.mean([row["true"] == row["predicted"] for row in rows_of(folder)])
    assert folder.metrics["test"]["all"]["accuracy"] == pytest.approx(hits)


@pytest.mark.parametrize("method", METHODS)
def test_the_method_learns(runs, method):
    assert runs(method).metrics["test"]["all"]["accuracy"] > 0.5


@pytest.mark.parametrize("method", [name for name, record in all_methods().items() if record.features])
def test_the_map_shows_originals_and_synthetic_points(runs, method):
    points = read_json(runs(method).path / "embedding.json")
    kinds = set(zip(points["label"], points["kind"], strict=True))
    assert (2, "synthetic") in kinds
    assert (2, "original") in kinds
    assert (0, "synthetic") not in kinds


def what_makes_the_network(record):
    pieces = {place: piece for place, piece in record.places.items() if place != "adjust"}
    options = [(place, piece.name, sorted(piece.defaults().items())) for place, piece in pieces.items()]
    return repr((record.head_layer, record.schedule, options))


def test_methods_that_act_in_different_places_give_different_models(runs):
    """Methods that differ only in what they do after training share their network, and no two all predictions."""
    records = {method: all_methods()[method] for method in METHODS}
    networks = {}
    for method, record in records.items():
        tensors = sorted(weights_of(runs(method)).items())
        weights = b"".join(tensor.numpy().tobytes() for _, tensor in tensors)
        networks.setdefault(what_makes_the_network(record), set()).add(weights)
    assert {len(found) for found in networks.values()} == {1}
    assert len(set.union(*networks.values())) == len(networks)
    predictions = {probabilities_of(runs(method)).tobytes() for method in METHODS}
    assert len(predictions) == len(METHODS)
